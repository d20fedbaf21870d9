"""A NequIP training is followed, stopped, explained and continued; nequip is played by a script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from magflow.errors import InputError, MissingToolError, StoreError
from magflow.potentials.nequip import training
from magflow.potentials.nequip.program import ALLEGRO, NEQUIP
from magflow.potentials.outside.curve import read_curve
from magflow.potentials.outside.trained import tune


@pytest.fixture
def directory(tmp_path) -> Path:
    path = tmp_path / "training"
    path.mkdir()
    return path


def calls(directory: Path) -> list[list[str]]:
    return [json.loads(line) for line in (directory / "calls.jsonl").read_text().splitlines()]


def run(directory: Path, *, patience: int = 99, validated: bool = True, **options) -> training.Trained:
    return training.train(directory, epochs=20, patience=patience, validated=validated, **options)


def test_whole_training(fake_nequip, directory):
    fake_nequip("")
    told = []
    trained = run(directory, progress=lambda f, text: told.append((f, text)))
    assert trained.epoch == 20 and not trained.stopped_early and trained.parameters["weights"].tolist() == [20.0] * 3
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)
    assert told[-1][1].startswith("epoch 20: 20 meV/atom, 40 meV/A")
    assert trained.versions == {"nequip": "0.19.1", "torch": "2.13.0"}
    assert trained.cost.cpu_seconds > 0.0 and trained.cost.wall_seconds >= 0.4
    last = trained.curve.history()[-1]
    assert last["step"] == 20 and last["validation_energy"] == pytest.approx(0.02)
    assert run(directory).epoch == 20 and len(calls(directory)) == 1, "it was trained twice"


def test_the_best_epoch_is_kept_and_the_last_one_without_validation(fake_nequip, directory):
    fake_nequip("plateau")
    trained = run(directory)
    assert trained.epoch == 6 and trained.parameters["weights"].tolist() == [6.0] * 3
    assert run(directory, validated=False).parameters["weights"].tolist() == [20.0] * 3


def test_it_stops_when_the_validation_gets_no_better(fake_nequip, directory):
    fake_nequip("plateau")
    trained = run(directory, patience=3)
    assert trained.stopped_early and trained.epoch == 6 and 9 <= trained.curve.step < 20
    assert run(directory, patience=3).epoch == 6 and len(calls(directory)) == 1  # nothing is left to do


def test_a_killed_training_goes_on(fake_nequip, directory):
    fake_nequip("slow")
    program = (
        "import sys; from pathlib import Path; from magflow.potentials.nequip import training;"
        "training.train(Path(sys.argv[1]), epochs=20, patience=99, validated=True)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(directory)], env=dict(os.environ)) as killed:
        deadline = time.monotonic() + 60
        while read_curve(directory).step < 5 or not (directory / "spent.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)
        killed.send_signal(signal.SIGKILL)
    spent = json.loads((directory / "spent.json").read_text())["wall_seconds"]
    fake_nequip("")
    trained = run(directory)
    assert calls(directory) == [[], ["++ckpt_path=epoch-5.ckpt"]]
    assert trained.epoch == 20 and trained.cost.wall_seconds > spent > 0.0


def test_full_disk(fake_nequip, directory):
    fake_nequip("full")
    with pytest.raises(StoreError, match=r"disk is full.*free some space"):
        run(directory)
    assert read_curve(directory).step == 5, "the line that was cut short counts"
    fake_nequip("")
    assert run(directory).epoch == 20
    assert calls(directory)[1] == ["++ckpt_path=epoch-4.ckpt"]  # the one that was cut short is not used


@pytest.mark.parametrize("mode", ["nan", "silent", "poisoned"])
def test_divergence(fake_nequip, directory, mode):
    """A loss that is not finite, also where the training ends with exit status 0, or parameters that are not."""
    fake_nequip(mode)
    with pytest.raises(InputError, match=r"diverged.*learning_rate"):
        run(directory)


@pytest.mark.parametrize(
    ("mode", "said"),
    [("absent", "No module named 'nequip'"), ("old", "0.18.1 is installed"), ("torch", "undefined symbol")],
)
def test_an_installation_that_does_not_work(fake_nequip, directory, mode, said):
    fake_nequip(mode)
    assert not NEQUIP.probe().ok and said in NEQUIP.probe().detail
    with pytest.raises(MissingToolError, match=r"magflow\[nequip\]"):
        run(directory)


def test_an_extension_that_is_lacking_is_named_and_matters_to_its_own_family_alone(fake_nequip, directory):
    fake_nequip("extension")
    assert NEQUIP.probe().ok and not ALLEGRO.probe().ok
    with pytest.raises(MissingToolError, match=r"nequip-allegro does not start.*named 'allegro'.*magflow\[nequip\]"):
        run(directory, program=ALLEGRO)


def test_no_such_python(monkeypatch):
    monkeypatch.setenv("MAGFLOW_NEQUIP_PYTHON", "/nowhere/python")
    found = NEQUIP.probe()
    assert not found.ok and "nequip_python" in found.hint


def test_a_fine_tuning_is_followed_and_done_once(fake_nequip, directory):
    fake_nequip("")
    told = []
    for _ in range(2):
        tuned = tune(NEQUIP, directory, turns=20, progress=lambda f, text: told.append(text))
    assert tuned.parameters["weights"].tolist() == [20.0] * 3 and calls(directory) == [["finetune.json"]]
    assert tuned.epoch == 20 and not tuned.stopped_early
    assert told[-1] == "turn 20: force constants 2 eV/A^2, 40 meV/A"
    assert tuned.curve.history()[-1] == {
        "step": 20.0, "learning_rate": 1e-3, "loss": 20.0, "train_force_constants": 2.0, "train_forces": 0.04,
    }  # fmt: skip


@pytest.mark.parametrize("mode", ["nan", "poisoned"])
def test_a_fine_tuning_that_diverges_says_so(fake_nequip, directory, mode):
    fake_nequip(mode)
    with pytest.raises(InputError, match=r"diverged.*learning_rate"):
        tune(NEQUIP, directory, turns=20)


def test_of_an_epoch_made_twice_the_second_counts(directory):
    lines = [{"epoch": 1, "loss": 5.0}, {"epoch": 2, "loss": float("nan")}, {"epoch": 2, "loss": 3.0}]
    (directory / "curve.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n\n{"epoch": 3')
    curve = read_curve(directory)
    assert curve.step == 2 and curve.epochs[2]["loss"] == 3.0 and not curve.diverged
    assert np.isnan(json.loads(json.dumps(lines[1]))["loss"])
