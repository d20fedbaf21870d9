"""A training is followed, stopped, explained and continued; deepmd-kit is played by a script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from magflow.errors import CampaignError, InputError, MissingToolError, StoreError
from magflow.potentials.deepmd import training
from magflow.potentials.deepmd.curve import read_curve
from magflow.potentials.deepmd.program import DEEPMD_KIT
from magflow.potentials.outside import following, process

FAKE = Path(__file__).with_name("fake_deepmd.py")


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Sets how the stand-in behaves; returns the setter."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("MAGFLOW_DEEPMD_PYTHON", str(python))
    monkeypatch.setattr(following, "_POLL_S", 0.01)
    process._versions.cache_clear()
    yield lambda mode: monkeypatch.setenv("FAKE_DEEPMD", mode)
    process._versions.cache_clear()


@pytest.fixture
def directory(tmp_path) -> Path:
    path = tmp_path / "training"
    path.mkdir()
    return path


def calls(directory: Path) -> list[list[str]]:
    return [json.loads(line) for line in (directory / "calls.jsonl").read_text().splitlines()]


def test_whole_training(fake, directory):
    fake("")
    told = []
    trained = training.train(directory, steps=100, patience=5, progress=lambda f, text: told.append((f, text)))
    assert trained.step == 100 and trained.checkpoint.name == "best.ckpt-100.t-1.pt" and not trained.stopped_early
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)
    assert "meV/atom" in told[-1][1] and "meV/A" not in told[-1][1].replace("meV/atom", "")  # forces are NaN: no labels
    assert trained.cost.cpu_seconds > 0.0 and trained.cost.wall_seconds >= 0.2
    last = trained.curve.history()[-1]
    assert last["step"] == 100 and last["train_energy"] == pytest.approx(0.1)
    assert last["validation_energy"] == pytest.approx(0.1) and last["validation_forces"] == pytest.approx(0.2)
    assert "validation_stress" not in last


def test_it_stops_when_the_validation_gets_no_better(fake, directory):
    fake("plateau")
    trained = training.train(directory, steps=100, patience=3)
    assert trained.stopped_early and trained.step == 30
    assert 60 <= trained.curve.step < 100
    again = training.train(directory, steps=100, patience=3)  # nothing is left to do
    assert again.step == 30 and len(calls(directory)) == 1


def test_a_killed_training_goes_on(fake, directory):
    fake("slow")
    program = (
        "import sys; from pathlib import Path; from magflow.potentials.deepmd import training;"
        "training.train(Path(sys.argv[1]), steps=100, patience=9)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(directory)], env=dict(os.environ)) as killed:
        deadline = time.monotonic() + 30
        while read_curve(directory).step < 50 or not (directory / "spent.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)
        killed.send_signal(signal.SIGKILL)
    spent = json.loads((directory / "spent.json").read_text())["wall_seconds"]
    fake("")
    trained = training.train(directory, steps=100, patience=9)
    first, second = calls(directory)
    assert "--restart" not in first
    assert second[second.index("--restart") + 1] == "model.ckpt-50.pt"
    assert trained.step == 100
    assert trained.cost.wall_seconds > spent > 0.0  # the attempt that was killed is charged too


def test_a_start_is_read_once(fake, directory):
    fake("crash")
    with pytest.raises(CampaignError, match=r"exit status 1.*RuntimeError: something else"):
        training.train(directory, steps=100, patience=9, start="--finetune")
    fake("")
    training.train(directory, steps=100, patience=9, start="--finetune")
    first, second = calls(directory)
    assert first[-2:] == ["--finetune", "start.pt"] and "--finetune" not in second and "--restart" in second


def test_full_disk(fake, directory):
    fake("full")
    with pytest.raises(StoreError, match=r"disk is full.*free some space"):
        training.train(directory, steps=100, patience=9)
    fake("")
    assert training.train(directory, steps=100, patience=9).step == 100
    assert calls(directory)[1][-1] == "model.ckpt-40.pt"  # the one that was cut short is not used


def test_divergence(fake, directory):
    fake("nan")
    with pytest.raises(InputError, match=r"diverged.*learning_rate"):
        training.train(directory, steps=100, patience=9)


@pytest.mark.parametrize(("mode", "said"), [("absent", "No module named 'deepmd'"), ("torch", "undefined symbol")])
def test_an_installation_that_does_not_work(fake, directory, mode, said):
    fake(mode)
    assert not DEEPMD_KIT.probe().ok and said in DEEPMD_KIT.probe().detail
    with pytest.raises(MissingToolError, match=r"magflow\[deepmd\]"):
        training.train(directory, steps=100, patience=9)
    with pytest.raises(MissingToolError):
        process.Server(DEEPMD_KIT).ask(op="evaluate", model="none")


def test_no_such_python(monkeypatch):
    monkeypatch.setenv("MAGFLOW_DEEPMD_PYTHON", "/nowhere/python")
    found = DEEPMD_KIT.probe()
    assert not found.ok and "deepmd_python" in found.hint


def test_one_training_at_a_time(directory):
    with following.locked(directory), pytest.raises(StoreError, match="another process"), following.locked(directory):
        pass
