"""Labels of elements for the benchmark of metals, on the model Hamiltonian: drawn, kept, never paid twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from magflow.api.generation import generate_tm
from magflow.api.metals import Metal
from magflow.cli.app import app
from magflow.core.label import LabelKind
from magflow.dft.abinit.engine import AbinitEngine
from magflow.errors import InputError
from magflow.io.findings import Findings
from magflow.io.gather import gather
from magflow.io.sources import Wish
from magflow.studies.tm.rows import sort_records

KNOWN = {"engine": "spin-lattice", "crystals": 3, "melts": 1}


def read(path):
    return gather([path], Wish(), Findings())


@pytest.mark.parametrize("element", ["Cu", "Mo", "Ti", "Fe"])
def test_a_cell_has_four_atoms_near_the_volume_of_the_crystal(element):
    metal = Metal.of(element)
    assert len(metal.crystal) == 4
    frames = metal.solids(0.75, 6, 1)
    assert all(0.95 < f.volume / metal.crystal.volume < 1.08 for f in frames)
    assert all(f.magmoms is None for f in frames)
    assert bool(metal.magnetic(frames[0]).magmoms is not None) == (element == "Fe")


def test_displacements_grow_with_the_temperature():
    metal = Metal.of("Cu")

    def spread(share: float) -> float:
        off = [
            f.positions @ np.linalg.inv(f.cell) - metal.crystal.positions @ np.linalg.inv(metal.crystal.cell)
            for f in metal.solids(share, 40, 1)
        ]
        return float(np.sqrt(np.mean([np.sum((o - np.rint(o)) ** 2, axis=1) for o in off])) * metal.crystal.cell[0, 0])

    assert spread(0.25) == pytest.approx(0.141, rel=0.15)
    assert spread(1.25) / spread(0.25) == pytest.approx(5**0.5, rel=0.15)


def test_an_element_that_is_not_known_well_enough_is_asked_for(tmp_path):
    with pytest.raises(InputError, match="--debye Tc="):
        generate_tm(["Tc"], tmp_path)
    assert Metal.of("Tc", debye=420.0).debye == 420.0
    with pytest.raises(InputError, match="ASE lists no simple crystal of Mn"):
        Metal.of("Mn")
    assert len(Metal.of("Mn", structure="bcc", a=2.9, debye=410.0).crystal) == 4


def test_labels_in_a_file_say_temperature_and_group_and_more_are_added(tmp_path):
    (first,) = generate_tm(["Fe"], tmp_path, **KNOWN)
    assert (first.labels, first.computed, first.kind) == (4, 4, "spin-polarised")
    records = read(tmp_path / "Fe.extxyz")
    assert sorted(str(r.info["group"]) for r in records) == ["0.25", "0.75", "1.25", "melt"]
    assert {m.strata["temperature"] for m in sort_records(records, "Fe")} == {"453", "1358", "2264"}
    (again,) = generate_tm(["Fe"], tmp_path, **KNOWN)
    assert (again.labels, again.computed) == (4, 0)
    (more,) = generate_tm(["Fe"], tmp_path, **{**KNOWN, "crystals": 6, "melts": 2})
    assert (more.labels, more.computed) == (8, 4)
    longer = {r.frame.frame_id for r in read(tmp_path / "Fe.extxyz")}
    assert {r.frame.frame_id for r in records} < longer


def test_failed_labels_are_kept_and_not_tried_again(tmp_path):
    asked = {**KNOWN, "crystals": 9, "settings": {"failure_rate": 0.4}}
    (first,) = generate_tm(["Fe"], tmp_path, **asked)
    failed = len(first.failures["scf-unconverged"])
    assert failed > 0
    assert first.labels + failed == 10
    (again,) = generate_tm(["Fe"], tmp_path, **asked)
    assert (again.computed, again.failures, again.core_hours) == (0, first.failures, first.core_hours)


@pytest.mark.slow
def test_a_killed_run_pays_nothing_twice(tmp_path):
    """`kill -9` while a label is computed: the same command ends with every label, each computed once."""
    command = [sys.executable, "-m", "magflow", "benchmark", "generate", "Fe", "--engine", "spin-lattice"]
    command += ["--crystals", "6", "--melts", "0", "--set", "seconds=0.6", "--dir", str(tmp_path)]
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, start_new_session=True, **how)
    assert any("labels 5 to 6" in line for line in process.stdout)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "Fe.extxyz").exists()
    done = CliRunner().invoke(app, [*command[3:], "--json"])
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)["sets"]
    assert found["labels"] == 6
    assert 1 <= found["computed"] <= 2


def test_smearings_share_frames_and_mesh(monkeypatch):
    from magflow.api.generation import _engines

    engines = dict(_engines(Metal.of("Ti"), "abinit", {"kpoints": 0.9}, (0.005, 0.02)))
    cold, hot = engines["-0.005"], engines["-0.02"]
    assert isinstance(cold, AbinitEngine)
    assert (cold.kind, cold.kpoints, cold.d_band) == (LabelKind.NON_MAGNETIC, (2, 3, 2), True)
    assert hot == cold.model_copy(update={"tsmear_ha": 0.02})


def test_an_engine_without_a_smearing_is_refused(tmp_path):
    with pytest.raises(InputError, match="the engine spin-lattice has no smearing"):
        generate_tm(["Fe"], tmp_path, smearings=(0.01,), **KNOWN)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--smearing", "0.01,x"), "--smearing"),
        (("--melting", "Fe"), "expected: EL=VALUE"),
        (("--debye", "Fe=-3"), "--debye"),
        (("--debye", "Cu=300"), "elements that are not asked for"),
        (("--set", "nonsense=1"), "nonsense"),
    ],
)
def test_bad_input_is_one_clear_error(tmp_path, options, said):
    command = ["benchmark", "generate", "Fe", "--engine", "spin-lattice", "--dir", str(tmp_path), *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code != 0
    assert said in result.output + str(result.exception)
