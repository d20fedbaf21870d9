"""``magflow finetune``: phonons and forgetting before and after, resuming, what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from magflow import force_constants
from magflow.cli.app import app
from magflow.core.dataset import Dataset
from magflow.core.force_constants import ForceConstantLabel, MomentsOf
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.explore.geometry import repeated
from magflow.io.extxyz import write_extxyz
from magflow.io.force_constants import read_force_constants, write_force_constants
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.mmtp import MmtpFamily
from magflow.properties.displaced import columns_of, of_displacements
from magflow.studies.base import read_result
from magflow.studies.finetune.result import FILE, FinetuneResult
from magflow.studies.finetune.section import section

runner = CliRunner()
ENGINE = SpinLatticeEngine()
LEVEL = ENGINE.level_of_theory(["Fe"])
A = 2.86


def labelled(frame: Frame) -> LabeledFrame:
    return LabeledFrame(frame, ENGINE.label(frame, LEVEL, Path()))


def bcc(repeats=(1, 1, 1)) -> Frame:
    return repeated(Frame(("Fe", "Fe"), A * np.eye(3), [[0, 0, 0], [A / 2] * 3], [2.2, 2.2]), repeats)


def shaken(n: int, seed: int) -> Dataset:
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        strain, moments = np.eye(3) + rng.normal(0, 0.01, (3, 3)), rng.uniform(1.8, 2.6, 2)
        moved = bcc().positions @ strain + rng.normal(0, 0.04, (2, 3))
        frames.append(bcc().replace(cell=A * strain, positions=moved, magmoms=moments))
    return Dataset(labelled(frame) for frame in frames)


def displaced(frame: Frame, *along) -> Frame:
    return frame.replace(positions=frame.positions + np.eye(len(frame))[0][:, None] * np.array(along))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """labels.xyz, unseen.xyz, phonons.xyz of a cell of four atoms, held.xyz of the cubic one, and a potential."""
    folder = tmp_path_factory.mktemp("data")
    labels = shaken(12, 1)
    write_extxyz(folder / "labels.xyz", labels)
    write_extxyz(folder / "unseen.xyz", shaken(6, 2))
    long = bcc((1, 1, 2))
    write_extxyz(
        folder / "phonons.xyz", [labelled(f) for f in (long, displaced(long, 0.01, 0, 0), displaced(long, 0, 0, 0.01))]
    )
    write_extxyz(folder / "held.xyz", [labelled(f) for f in (bcc(), displaced(bcc(), 0.01, 0, 0))])
    family = MmtpFamily(level=4, max_iterations=6)
    members = tuple(family.fit(list(labels), elements=["Fe"], seed=seed)[0] for seed in (1, 2))
    PotentialEnsemble(members, "mmtp", metadata={"settings": family.model_dump(mode="json")}).save(folder / "potential")
    return folder


def write_broken_symmetry(directory: Path) -> None:
    """Files of phonopy whose displacements were made as if the moments, 2.2 and 1 muB, were equal."""
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    def cell(moments):
        return PhonopyAtoms(["Fe", "Fe"], cell=A * np.eye(3), positions=bcc().positions, magnetic_moments=moments)

    made = Phonopy(cell([2.2, 2.2]), np.eye(3), primitive_matrix=np.eye(3), log_level=0)
    made.generate_displacements(distance=0.01)
    made.forces = np.zeros((len(made.supercells_with_displacements), 2, 3))
    directory.mkdir()
    told = Phonopy(cell([2.2, 1.0]), np.eye(3), primitive_matrix=np.eye(3), log_level=0)
    told.dataset = made.dataset
    told.save(directory / "phonopy_params.yaml", settings={"force_constants": False})


def finetune(data: Path, out: Path, *options: str, phonons: str = "phonons.xyz"):
    command = [
        "finetune",
        str(data / "potential"),
        "--phonons",
        str(data / phonons),
        "--cotrain",
        str(data / "labels.xyz"),
    ]
    return runner.invoke(app, [*command, "-o", str(out), "--jobs", "1", *options], env={"COLUMNS": "200"})


def test_it_says_what_it_did_to_phonons_and_labels(data, tmp_path):
    out = tmp_path / "tuned"
    tests = ["--test", str(data / "unseen.xyz"), "--test-phonons", str(data / "held.xyz")]
    result = finetune(data, out, *tests, "--set", "weights.force_constants=30", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    learnt, held = told["crystals"]
    assert (learnt["name"], learnt["learnt"], held["name"], held["learnt"]) == ("Fe4 FM", True, "Fe2 FM", False)
    assert learnt["after"]["rmse"] < 0.7 * learnt["before"]["rmse"]
    found = read_result(out / FILE, FinetuneResult)
    assert json.loads(json.dumps(found.as_dict())) | {"output": str(out)} == told
    assert found.mean_errors(learnt=True)["rmse"][1] == pytest.approx(learnt["after"]["rmse"])
    tables = [titled.table for titled in section(found).tables]
    assert [len(table.rows) for table in tables] == [6, 10, 8]
    assert all(len(row) == len(table.columns) for table in tables for row in table.rows)
    assert set(found.forgetting("test")) == {"energy", "forces", "stress", "magnetic_forces"}
    (label,) = of_displacements([labelled(f) for f in (bcc(), displaced(bcc(), 0.01, 0, 0))])
    tuned = PotentialEnsemble.load(out)
    off = columns_of(tuned, label.frame, label.atoms) - label.columns
    assert held["after"]["rmse"] == pytest.approx(float(np.sqrt((off**2).mean())))
    vibrations = held["after"]["vibrations"]
    assert vibrations["highest"] == pytest.approx(held["labelled"]["highest"], rel=0.1)
    assert tuned.metadata["settings"]["level"] == 4
    assert tuned.metadata["settings"]["weights"]["force_constants"] == 30
    assert len(tuned.metadata["force_constants"]) == 1


@pytest.mark.slow
def test_the_tables_and_one_that_is_killed_and_goes_on(data, tmp_path):
    options = ["--set", "max_iterations=12", "--set", "tolerance=0"]
    whole = finetune(data, tmp_path / "whole", *options)
    assert whole.exit_code == 0, whole.output
    for word in ("Highest frequency", "Entropy", "Free energy", "Heat capacity", "cotrain", "learnt from", "meV/atom"):
        assert word in whole.stdout
    out = tmp_path / "killed"
    code = "from magflow.cli.app import main; main()"
    arguments = ["finetune", data / "potential", "--phonons", data / "phonons.xyz", "--cotrain", data / "labels.xyz"]
    command = [sys.executable, "-c", code, *map(str, arguments), "-o", str(out), "--jobs", "1", *options]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(out.glob(".training/member_*/fit/checkpoint.npz")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert "--resume" in finetune(data, out, *options).stderr
    other = finetune(data, out, *options, "--resume", phonons="held.xyz")
    assert other.exit_code == 2 and "other labels or settings" in other.stderr
    again = finetune(data, out, *options, "--resume")
    assert again.exit_code == 0, again.output
    first, second = (PotentialEnsemble.load(tmp_path / name) for name in ("whole", "killed"))
    assert [m.to_bytes() for m in first.members] == [m.to_bytes() for m in second.members]
    assert not (out / ".training").exists()


def test_what_it_refuses(data, tmp_path):
    (label,) = of_displacements([labelled(f) for f in (bcc(), displaced(bcc(), 0.01, 0, 0))])
    others = {
        "level": replace(label, level_of_theory=replace(LEVEL, version="0")),
        "follow": replace(label, moments=MomentsOf.RELAXED),
        "element": ForceConstantLabel(
            Frame(("Cr", "Cr"), A * np.eye(3), bcc().positions, [1, 1]), LEVEL, [0], label.array
        ),
        "bare": replace(label, frame=label.frame.non_magnetic()),
    }
    for name, one in others.items():
        write_force_constants(data / f"{name}.json", [one])
    assert read_force_constants(data / "level.json")[0].label_id == others["level"].label_id
    (data / "FORCE_CONSTANTS").write_text("2 2\n")
    away = displaced(bcc(), 0.05, 0, 0)
    write_extxyz(data / "pulled.xyz", [labelled(f) for f in (away, displaced(away, 0.01, 0, 0))])
    write_broken_symmetry(data / "broken")
    cases = [
        ("level.json", [], "another level of theory"),
        ("follow.json", [], "moments that follow the atoms"),
        ("element.json", [], "does not know an element"),
        ("bare.json", [], "needs moments"),
        ("FORCE_CONSTANTS", [], "without a supercell"),
        ("pulled.xyz", [], "not at rest; seen: a residual force of 0."),
        ("broken", [], "moments break the symmetry that phonopy used"),
        ("labels.xyz", [], "no crystal with one of its atoms displaced"),
        ("absent.xyz", [], "no such file"),
        ("held.xyz", ["--set", "weights.force_constants=0"], "learn from no force constants"),
        ("held.xyz", ["--set", "level=6"], "warm start differs in level"),
        ("held.xyz", ["--set", "levle=6"], "did you mean level?"),
        ("held.xyz", ["--resume"], "no unfinished training"),
    ]
    for k, (phonons, options, message) in enumerate(cases):
        result = finetune(data, tmp_path / str(k), *options, phonons=phonons)
        assert result.exit_code == 2, (phonons, result.output)
        assert message in result.stderr and result.stderr.count("\n") == 1, result.stderr
    mixed = finetune(data, tmp_path / "mixed", "--mixed", "--set", "max_iterations=1", phonons="level.json")
    assert mixed.exit_code == 0, mixed.output


@pytest.mark.slow
def test_a_potential_teaches_another(data, tmp_path):
    teacher = tmp_path / "teacher.json"
    label = force_constants(data / "potential", bcc(), teacher, repeat=(1, 1, 2))
    assert label.level_of_theory.functional.startswith("teacher")
    refused = finetune(data, tmp_path / "no", phonons=str(teacher))
    assert refused.exit_code == 2 and "another level of theory" in refused.stderr
    result = finetune(data, tmp_path / "yes", "--mixed", "--set", "max_iterations=1", "--json", phonons=str(teacher))
    assert result.exit_code == 0, result.output
    (crystal,) = json.loads(result.stdout)["crystals"]
    assert crystal["before"]["rmse"] < 1e-9
