"""``magflow compile``: what is printed, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from magflow.cli.app import app
from magflow.core.calibration import Calibration
from magflow.core.compilation import Compilation
from magflow.core.label import Cost
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.mmtp import MmtpFamily
from magflow.potentials.nequip import NequipPotential
from magflow.testing.springs import ELEMENTS, springs, two_atoms

runner = CliRunner()
FORM = {"species": ["Al", "Fe"], "cutoff": 4.0, "network": {"layers": 2}, "closest": 2.3}


def saved(members, family, folder):
    return PotentialEnsemble(tuple(members), family, Calibration()).save(folder)


@pytest.fixture
def networks(tmp_path, monkeypatch):
    """Two of them, whose compiling costs nothing."""
    made = Compilation(1e-16, 3e-15, 84.0, 21.0, Cost(60.0, 70.0))
    monkeypatch.setattr(NequipPotential, "compile", lambda self: made)
    return saved([NequipPotential(FORM, {"w": np.full(2, float(k))}) for k in range(2)], "nequip", tmp_path / "models")


def test_each_member_is_told(networks):
    found = runner.invoke(app, ["compile", str(networks)])
    assert found.exit_code == 0, found.output
    lines = found.output.splitlines()
    assert len(lines) == 2 and lines[1].startswith("member 2 of 2: 84 -> 21 us/atom, 4.0 times faster")
    assert "forces to 3.0e-15 eV/A" in lines[0] and "60 CPU s" in lines[0]


def test_json(networks):
    found = json.loads(runner.invoke(app, ["compile", str(networks), "--json"]).output)
    assert [member["after"] for member in found["members"]] == [21.0, 21.0]
    assert found["members"][0]["cost"]["cpu_seconds"] == 60.0


def test_other_potentials_are_refused(tmp_path):
    family = MmtpFamily(level=2, cutoff=4.0, n_radial=3, max_iterations=1)
    member, _ = family.fit([springs(f) for f in two_atoms(8, seed=0)], elements=ELEMENTS, seed=0)
    found = runner.invoke(app, ["compile", str(saved([member], "mmtp", tmp_path / "models"))])
    assert found.exit_code and "family mmtp are not compiled" in found.output and "allegro" in found.output
