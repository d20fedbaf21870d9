"""Fits that are killed, stale checkpoints, and warm starts with other ranges."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mmtp_models import random_frame, random_potential
from mmtp_toy import label, random_frames, toy_labels

from magflow.core.label import Cost, LabeledFrame
from magflow.core.versions import NewerFormatError
from magflow.errors import InputError, StoreError
from magflow.potentials.mmtp import MmtpFamily, checkpoint
from magflow.potentials.mmtp.checkpoint import NAME
from magflow.potentials.mmtp.fit import _key
from magflow.potentials.mmtp.model import Form
from magflow.potentials.mmtp.objective import Objective
from magflow.potentials.mmtp.ranges import widened
from magflow.potentials.mmtp.state import State
from magflow.potentials.mmtp.task import FitTask, prepare

ELEMENTS = ("Al", "Fe")
SETTINGS = {
    "newton": {"level": 6, "cutoff": 4.5, "n_radial": 6, "max_iterations": 12, "tolerance": 0.0, "starts": 1},
    "bfgs": {
        "level": 2,
        "cutoff": 4.5,
        "n_radial": 3,
        "max_iterations": 30,
        "tolerance": 0.0,
        "patience": 99,
        "starts": 1,
    },
}
LABELS = {"newton": 30, "bfgs": 120}

CHILD = """
import json, sys
from pathlib import Path
from mmtp_toy import toy_labels
from magflow.potentials.mmtp import MmtpFamily

def slow(fraction, text):
    import time
    print(text, flush=True)
    time.sleep(0.05)

settings, n, workdir = json.loads(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
labels = toy_labels(n, seed=1)
MmtpFamily(**settings).fit(labels[:-10], elements=("Al", "Fe"), seed=3, validation=labels[-10:], progress=slow,
                           workdir=workdir)
"""


class Stop(Exception):
    """Ends a fit in its tracks."""


def fit(kind: str, workdir: Path | None, progress=None):
    labels = toy_labels(LABELS[kind], seed=1)
    return MmtpFamily(**SETTINGS[kind]).fit(
        labels[:-10], elements=ELEMENTS, seed=3, validation=labels[-10:], progress=progress, workdir=workdir
    )


def stop_at(iteration: int):
    def progress(fraction: float, text: str) -> None:
        if text.startswith(f"iteration {iteration}:"):
            raise Stop

    return progress


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_killed_fit_ends_as_if_it_had_not_been(tmp_path, kind):
    import json

    expected, report = fit(kind, None)
    command = [sys.executable, "-c", CHILD, json.dumps(SETTINGS[kind]), str(LABELS[kind]), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    wanted = 7
    for line in child.stdout:
        if line.startswith(f"iteration {wanted}:"):
            break
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert (tmp_path / NAME).is_file()
    seen: list[str] = []
    potential, again = fit(kind, tmp_path, lambda fraction, text: seen.append(text))
    assert not seen[0].startswith("iteration 1:")
    assert potential.to_bytes() == expected.to_bytes()
    assert again.history == report.history and again.rmse == report.rmse


@pytest.mark.parametrize("iteration", [1, 4, 6, 11])
def test_stopped_anywhere(tmp_path, iteration):
    """Before, at and after BFGS takes over; twice."""
    expected, _ = fit("bfgs", None)
    for at in (iteration, iteration + 2):
        with pytest.raises(Stop):
            fit("bfgs", tmp_path, stop_at(at))
    potential, report = fit("bfgs", tmp_path)
    assert potential.to_bytes() == expected.to_bytes()
    assert report.cost.cpu_seconds > 0


@pytest.mark.parametrize("kind", SETTINGS)
def test_the_two_kinds_are_what_they_are_called(tmp_path, monkeypatch, kind):
    """The one is in the stage of BFGS when the tests kill it."""
    monkeypatch.setattr(checkpoint, "SHARE", 1e9)  # after every iteration
    with pytest.raises(Stop):
        fit(kind, tmp_path, stop_at(10))
    with np.load(tmp_path / NAME, allow_pickle=False) as file:
        assert ("inverse_hessian" in file.files) == (kind == "bfgs")


def test_a_checkpoint_of_the_first_format_is_read(tmp_path):
    """It had no stages: the search goes on with all labels, from where it was."""
    expected, report = fit("newton", tmp_path)
    path = tmp_path / NAME
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(arrays.pop("header").tobytes())
    state = {k: v for k, v in header["state"].items() if k not in ("stage", "ending", "promise")}
    header |= {"format": "magflow-mmtp-checkpoint-1", "state": state | {"converged": False}}
    np.savez(path, header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8), **arrays)
    again, told = fit("newton", tmp_path)
    assert again.to_bytes() == expected.to_bytes()
    assert told.history == report.history and told.details["ending"] == report.details["ending"] == "max_iterations"


def test_a_finished_fit_is_not_done_again(tmp_path, monkeypatch):
    steps = []

    def counted(self, parameters, of=Objective.normal):
        steps.append(1)
        return of(self, parameters)

    monkeypatch.setattr(Objective, "normal", counted)
    first, report = fit("newton", tmp_path)
    assert len(steps) >= report.iterations > 0
    steps.clear()
    again, second = fit("newton", tmp_path)
    assert not steps
    assert again.to_bytes() == first.to_bytes()
    assert second.iterations == report.iterations and second.cost.cpu_seconds >= report.cost.cpu_seconds


@pytest.mark.parametrize("change", ["settings", "seed", "labels", "validation", "start"])
def test_a_checkpoint_of_another_fit_is_refused(tmp_path, change):
    labels = toy_labels(30, seed=1)
    family = MmtpFamily(**SETTINGS["newton"])
    given = {"elements": ELEMENTS, "seed": 3, "validation": labels[20:], "workdir": tmp_path}
    first, _ = family.fit(labels[:20], **given)
    train = labels[:20]
    if change == "settings":
        family = family.model_copy(update={"radial_ridge": 0.1})
    elif change == "seed":
        given["seed"] = 4
    elif change == "labels":
        train = [LabeledFrame(labels[0].frame, replace(labels[0].label, energy=0.0)), *labels[1:20]]
    elif change == "validation":
        given["validation"] = labels[21:]
    else:
        given["start"] = first
    with pytest.raises(InputError, match="other labels or settings") as caught:
        family.fit(train, **given)
    assert NAME in caught.value.where and caught.value.hint


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b"PK" + bytes(100)])
def test_a_damaged_checkpoint_is_an_input_error(tmp_path, damage):
    fit("newton", tmp_path)
    path = tmp_path / NAME
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match="damaged"):
        fit("newton", tmp_path)


def test_a_checkpoint_of_a_newer_magflow_is_told(tmp_path):
    fit("newton", tmp_path)
    path = tmp_path / NAME
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(arrays.pop("header").tobytes()) | {"format": "magflow-mmtp-checkpoint-3", "magflow": "9.1"}
    np.savez(path, header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8), **arrays)
    with pytest.raises(NewerFormatError, match=r"written by magflow 9\.1") as caught:
        fit("newton", tmp_path)
    assert caught.value.where == str(path)


def test_a_checkpoint_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((StoreError, InputError)):
        fit("newton", tmp_path / "file" / "below")


@pytest.mark.parametrize("form", list(Form))
def test_wider_ranges_do_not_change_the_potential(form):
    """Inside the old ranges; the frames it is widened for have larger moments and shorter distances."""
    potential = random_potential(form, n_psi=3 if form is Form.EVEN else 2)
    frames = [random_frame(seed) for seed in range(6)]
    outside = [f.replace(magmoms=1.6 * f.magmoms, cell=0.7 * f.cell, positions=0.7 * f.positions) for f in frames]
    model = widened(potential.model, [*frames, *outside])
    assert model.r_min < potential.model.r_min and (model.max_moment > potential.model.max_moment).all()
    before, after = potential.predict(frames), replace(potential, model=model).predict(frames)
    np.testing.assert_allclose(after.energy, before.energy, rtol=1e-10)
    np.testing.assert_allclose(after.forces, before.forces, atol=1e-10)
    np.testing.assert_allclose(after.magnetic_forces, before.magnetic_forces, atol=1e-10)


def test_ranges_that_hold_the_labels_stay():
    potential = random_potential()
    assert widened(potential.model, [random_frame(seed) for seed in range(6)]) is potential.model


def test_an_update_with_labels_outside_the_old_ranges():
    family = MmtpFamily(level=6, cutoff=4.5, n_radial=6, radial_growth=2.0, magnetic_growth=4.0, max_iterations=25)
    old = toy_labels(60, seed=1)
    start, _ = family.fit(old, elements=ELEMENTS, seed=0)
    new = [label(f.replace(magmoms=1.3 * f.magmoms)) for f in random_frames(20, seed=7)]
    short = family.model_copy(update={"max_iterations": 4})
    updated, report = short.fit([*old, *new], elements=ELEMENTS, seed=0, start=start)
    assert (updated.model.max_moment >= start.model.max_moment).all()
    assert updated.model.max_moment[1] > start.model.max_moment[1]
    _, fresh = short.fit([*old, *new], elements=ELEMENTS, seed=0)
    assert report.history[-1]["objective"] < 0.5 * fresh.history[-1]["objective"]


def test_an_update_with_another_element_is_refused():
    family = MmtpFamily(level=4, cutoff=4.5, n_radial=4, max_iterations=2)
    start, _ = family.fit(toy_labels(10, seed=1), elements=ELEMENTS, seed=0)
    with pytest.raises(InputError, match="species") as caught:
        family.fit(toy_labels(10, seed=1), elements=("Al", "Fe", "Ni"), seed=0, start=start)
    assert "afresh" in caught.value.hint
    with pytest.raises(InputError, match="n_psi"):
        family.fit(toy_labels(10, seed=1, magnetic=False), elements=ELEMENTS, seed=0, start=start)


def test_a_warm_start_with_another_seed_is_another_fit():
    """Its first numbers are the same; the sample of the labels that guides it is not."""
    family, labels = MmtpFamily(**SETTINGS["bfgs"] | {"max_iterations": 1}), toy_labels(12, seed=1)
    start, _ = family.fit(labels, elements=ELEMENTS, seed=3)
    tasks = [FitTask(labels, (), start.species, seed, start) for seed in (3, 3, 4)]
    one, same, other = (_key(family, task, prepare(family, task)) for task in tasks)
    assert one == same and one != other


def test_checkpoints_take_their_share_of_the_time_and_no_more(tmp_path, monkeypatch):
    clock = [100.0]
    written = []

    def slow(path, data):
        written.append(clock[0])
        clock[0] += 1.0

    monkeypatch.setattr(checkpoint, "replace_file", slow)
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock[0])
    state = State.at(np.zeros(1))
    held = checkpoint.Checkpoint(tmp_path, "key")
    held.save(state, Cost())  # ends at 101, and took 2 % of the next 50 s
    for clock[0], count in ((102.0, 1), (150.9, 1), (151.0, 2)):
        held.save(state, Cost())
        assert len(written) == count
    held.save(state, Cost(), now=True)
    assert len(written) == 3
