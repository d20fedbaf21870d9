"""``magflow validate`` from the shell."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from exact_potentials import bcc
from magflow.campaign.templates import template_text
from magflow.cli.app import app
from magflow.core.label import LabeledFrame
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.mmtp import MmtpFamily

IRON = """2
Lattice="2.84 0 0 0 2.84 0 0 0 2.84" Properties=species:S:1:pos:R:3:magmoms:R:1 pbc="T T T"
Fe 0 0 0 2.2
Fe 1.42 1.42 1.42 2.2
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A potential of iron and a crystal."""
    directory, engine = tmp_path_factory.mktemp("cli"), SpinLatticeEngine()
    frames = [bcc(a, moment=m) for a in (2.72, 2.78, 2.84, 2.9, 2.96) for m in (1.6, 2.0, 2.4, 2.8)]
    level = engine.level_of_theory(["Fe"])
    labels = [LabeledFrame(f, engine.label(f, level, directory)) for f in frames]
    family = MmtpFamily(level=6, cutoff=4.5, n_radial=5)
    potential, _ = family.fit(labels, elements=["Fe"], seed=1)
    PotentialEnsemble((potential,), "mmtp").save(directory / "potential")
    (directory / "fe.extxyz").write_text(IRON)
    return directory


def run(*words):
    return CliRunner().invoke(app, ["validate", *map(str, words)])


def test_validate(place, tmp_path):
    words = [place / "potential", "-s", f"bcc-Fe={place / 'fe.extxyz'}", "--properties", "equation-of-state"]
    result = run(*words, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    (found,) = said["found"]
    assert found["potential"] == "potential"
    values = {v["name"]: v["value"] for v in found["measurement"]["values"]}
    assert values["a0"] == pytest.approx(2.84, abs=0.05)
    again = run(*words, "-o", tmp_path / "out")
    assert again.exit_code == 2
    assert "--resume" in again.output
    shown = run(*words, "-o", tmp_path / "out", "--resume")
    assert shown.exit_code == 0
    assert "bulk modulus" in shown.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--properties", "elasticc"], "elasticc"),
        (["--set", "equation-of-state.points=2", "--properties", "equation-of-state"], "equation-of-state.points"),
        (["--set", "points=2"], "PROPERTY.KEY=VALUE"),
        (["--moments", "free"], "free"),
        (["--against", "dft"], "--campaign"),
    ],
)
def test_refused(place, tmp_path, words, said):
    result = run(place / "potential", "-s", f"fe={place / 'fe.extxyz'}", "-o", tmp_path / "out", *words)
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "out").exists()


def test_no_structure(place, tmp_path):
    result = run(place / "potential", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "--structure" in result.output


def test_labels_tell_potentials_apart(place, tmp_path):
    result = run(place / "potential", place / "potential", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "LABEL=PATH" in result.output


def test_against_labels_of_the_same_configurations(place, tmp_path):
    file = tmp_path / "campaign.yaml"
    file.write_text(template_text("model_hamiltonian"))
    words = ["-s", f"bcc-Fe={place / 'fe.extxyz'}", "--properties", "equation-of-state", "-o", tmp_path / "out"]
    result = run(place / "potential", *words, "--against", "dft", "--campaign", file, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    values = {f["potential"]: {v["name"]: v["value"] for v in f["measurement"]["values"]} for f in said["found"]}
    assert values["potential"]["a0"] == pytest.approx(values["DFT"]["a0"], abs=0.02)
    assert values["potential"]["a0"] != values["DFT"]["a0"]
