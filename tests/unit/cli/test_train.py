"""``magflow train``: what it writes, what it goes on with, what it refuses."""

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

from magflow.cli.app import app
from magflow.core.dataset import Dataset
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.io.extxyz import write_extxyz
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.members import fit_member
from magflow.potentials.mmtp import MmtpFamily

runner = CliRunner()
QUICK = ("--set", "level=4", "--set", "max_iterations=4", "--members", "2", "--jobs", "1")


def make(n: int, seed: int) -> Dataset:
    rng = np.random.default_rng(seed)
    engine = SpinLatticeEngine()
    level = engine.level_of_theory(["Al", "Fe"])
    items = []
    for k in range(n):
        frame = Frame(
            ("Fe", "Al") if k % 2 else ("Fe", "Fe"),
            2.86 * (np.eye(3) + rng.normal(0, 0.01, (3, 3))),
            np.array([[0, 0, 0], [1.43, 1.43, 1.43]]) + rng.normal(0, 0.05, (2, 3)),
            np.array([rng.uniform(1, 2.5), 0.02 if k % 2 else rng.uniform(-2.5, 2.5)]),
        )
        items.append(LabeledFrame(frame, engine.label(frame, level, Path())))
    return Dataset(items)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """labels.xyz, unseen.xyz"""
    folder = tmp_path_factory.mktemp("data")
    write_extxyz(folder / "labels.xyz", make(30, 1))
    write_extxyz(folder / "unseen.xyz", make(10, 2))
    return folder


def train(labels: Path, out: Path, *options: str):
    return runner.invoke(app, ["train", str(labels), "-o", str(out), *options], env={"COLUMNS": "160"})


def members(directory: Path) -> list[bytes]:
    return [member.to_bytes() for member in PotentialEnsemble.load(directory).members]


def test_the_ensemble_is_the_one_fit_member_makes(data, tmp_path):
    out = tmp_path / "potential"
    result = train(data / "labels.xyz", out, *QUICK, "--test", str(data / "unseen.xyz"), "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["elements"] == ["Al", "Fe"] and len(told["members"]) == 2
    assert told["errors"]["train"]["labels"] == 30 and told["errors"]["test"]["labels"] == 10
    kinds = [p.name.partition("-")[0] for p in sorted(out.iterdir())]
    assert kinds == ["ensemble.json", "member_00", "member_01", "training.json"]
    ensemble = PotentialEnsemble.load(out)
    family = MmtpFamily(level=4, max_iterations=4)
    for k, member in enumerate(ensemble.members):
        expected, _ = fit_member(family, make(30, 1), elements=("Al", "Fe"), seed=1, member=k)
        assert member.to_bytes() == expected.to_bytes()
    unseen = make(10, 2)
    error = ensemble.predict([i.configuration for i in unseen]).mean.forces - np.concatenate(
        [i.label.forces for i in unseen]
    )
    assert told["errors"]["test"]["errors"]["forces"]["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-3)
    assert json.loads((out / "training.json").read_text())["errors"] == told["errors"]
    predicted = runner.invoke(app, ["predict", str(out), str(data / "unseen.xyz"), "-o", str(tmp_path / "p.xyz")])
    assert predicted.exit_code == 0, predicted.output


def test_the_table_names_parts_and_strata(data, tmp_path):
    result = train(data / "labels.xyz", tmp_path / "p", *QUICK, "--test", str(data / "unseen.xyz"))
    assert result.exit_code == 0, result.output
    for word in ("train", "test", "Al1Fe1", "Fe2", "FM", "AFM", "equilibrium", "meV/atom", "is worst for"):
        assert word in result.stdout
    assert "member 1: fitted" in result.stderr


def test_one_fit_tells_its_deviations(data, tmp_path):
    for out, name in ((tmp_path / "one", "laplace"), (tmp_path / "bare", "ensemble")):
        done = train(data / "labels.xyz", out, *QUICK, "--members", "1", "--uncertainty", name, "--no-bagging")
        assert done.exit_code == 0, done.output
    frames = [item.configuration for item in make(3, 2)]
    told = PotentialEnsemble.load(tmp_path / "one").predict(frames).deviation
    assert np.all(told.energy > 0)
    assert np.all(told.forces > 0)
    assert members(tmp_path / "one") == members(tmp_path / "bare"), "the fit itself is the same"
    by_default = train(data / "labels.xyz", tmp_path / "two", *QUICK, "--members", "1", "--uncertainty", "laplace")
    assert by_default.exit_code == 0, by_default.output
    assert members(tmp_path / "two") == members(tmp_path / "one"), "it learns from every label"


def test_processes_side_by_side_give_the_same(data, tmp_path):
    assert train(data / "labels.xyz", tmp_path / "one", *QUICK).exit_code == 0
    result = train(data / "labels.xyz", tmp_path / "two", *QUICK[:-1], "2")
    assert result.exit_code == 0, result.output
    assert members(tmp_path / "one") == members(tmp_path / "two")


def test_a_warm_start(data, tmp_path):
    assert train(data / "labels.xyz", tmp_path / "one", *QUICK).exit_code == 0
    options = [*QUICK, "--start", str(tmp_path / "one"), "--json"]
    result = train(data / "unseen.xyz", tmp_path / "two", *options)
    assert result.exit_code == 0, result.output
    too_many = train(data / "unseen.xyz", tmp_path / "three", *options, "--members", "3")
    assert too_many.exit_code == 2 and "too few members" in too_many.stderr


@pytest.mark.parametrize("jobs", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_kill_and_resume(data, tmp_path, jobs):
    options = ["--set", "level=6", "--set", "max_iterations=25", "--set", "tolerance=0", "--members", "3"]
    assert train(data / "labels.xyz", tmp_path / "whole", *options, "--jobs", "1").exit_code == 0
    out = tmp_path / "killed"
    code = "from magflow.cli.app import main; main()"
    command = [sys.executable, "-c", code, "train", str(data / "labels.xyz"), "-o", str(out), *options, "--jobs", jobs]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(out.glob(".training/member_*/fit/checkpoint.npz")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    again = train(data / "labels.xyz", out, *options)
    assert again.exit_code == 2 and "--resume" in again.stderr
    other = train(data / "labels.xyz", out, *options, "--seed", "2", "--resume")
    assert other.exit_code == 2 and "other labels or settings" in other.stderr
    result = train(data / "labels.xyz", out, *options, "--resume", "--jobs", "1")
    assert result.exit_code == 0, result.output
    assert members(out) == members(tmp_path / "whole")
    assert not (out / ".training").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "levle=8"], "did you mean level?"),
        (["--set", "level=99"], "less than or equal"),
        (["--set", "level"], "KEY=VALUE"),
        (["--set", "weights.energy=-1"], "weights.energy"),
        (["--set", "r_min=6", "--set", "cutoff=5"], "r_min must be below"),
        (["--family", "mtmp"], "did you mean mmtp?"),
        (["--elements", "Fe"], "Al"),
        (["--elements", "Fe,Al,Xx"], "unknown element"),
        (["--validation", "1.5"], "fraction"),
        (["--start", "nowhere"], "neither an ensemble nor a campaign"),
        (["--test", "nowhere"], "no such file"),
        (["--resume"], "no unfinished training"),
        (["--uncertainty", "gauss"], "ensemble, laplace, both"),
    ],
)
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_what_it_refuses(data, tmp_path, options, message, jobs):
    result = train(data / "labels.xyz", tmp_path / "p", *options, "--members", "2", "--jobs", jobs)
    assert result.exit_code == 2, result.output
    assert message in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "p" / "ensemble.json").exists()
    assert train(data / "labels.xyz", tmp_path / "p", *QUICK).exit_code == 0


def test_labels_it_refuses(data, tmp_path):
    assert "no such file" in train(tmp_path / "absent", tmp_path / "p").stderr
    write_extxyz(tmp_path / "bare.xyz", [item.frame for item in make(2, 1)])
    assert "frames without a label" in train(tmp_path / "bare.xyz", tmp_path / "p").stderr
    items = list(make(4, 1))
    level = replace(items[0].label.level_of_theory, version="2")
    items[0] = LabeledFrame(items[0].frame, replace(items[0].label, level_of_theory=level))
    write_extxyz(tmp_path / "mixed.xyz", items)
    result = train(tmp_path / "mixed.xyz", tmp_path / "p", *QUICK)
    assert result.exit_code == 2 and "several levels of theory" in result.stderr
    assert train(tmp_path / "mixed.xyz", tmp_path / "p", *QUICK, "--mixed").exit_code == 0
    again = train(data / "labels.xyz", tmp_path / "p", *QUICK)
    assert again.exit_code == 2 and "holds an ensemble already" in again.stderr
