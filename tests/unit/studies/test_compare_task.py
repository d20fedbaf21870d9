"""Families side by side on the model Hamiltonian: errors, costs, failures, resume."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import psutil
import pytest

from magflow.core.dataset import Dataset
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.prediction import Prediction
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.errors import InputError
from magflow.potentials.mmtp import MmtpFamily
from magflow.studies.compare import timing
from magflow.studies.compare.result import RESULTS, ComparedFit, Comparison, read_comparison
from magflow.studies.compare.task import FIT, ComparisonTask, Entry
from magflow.studies.compare.task import parts as divided
from magflow.studies.compare.timing import _processor_seconds, inference_cost

SMALL = MmtpFamily(level=4, cutoff=4.5, n_radial=4, max_iterations=2)
LARGE = MmtpFamily(level=8, cutoff=4.5, n_radial=6, max_iterations=40)


@pytest.fixture(autouse=True, scope="module")
def short_timing():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(timing, "ENOUGH_CPU_S", 0.02)
        yield


class FailingFamily(MmtpFamily):
    """Test double: its fits break down with an error no house class describes."""

    def fit(self, train: Any, **kwargs: Any) -> Any:
        raise RuntimeError("the optimiser\nexploded")


class BlindPotential:
    """Test double: an mMTP that is shown no moments and returns no magnetic forces."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        plain = [frame.replace(magmoms=np.zeros(len(frame))) for frame in frames]
        return replace(self.inner.predict(plain), magnetic_forces=None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class BlindFamily(MmtpFamily):
    """Test double of a family without moments."""

    magnetic: ClassVar[bool] = False

    def fit(self, train: Any, **kwargs: Any) -> Any:
        potential, report = super().fit(train, **kwargs)
        return BlindPotential(potential), report

    def load(self, data: bytes) -> Any:
        return BlindPotential(super().load(data))


class BrokenFamily(MmtpFamily):
    """Test double: what it predicts is not finite."""

    def load(self, data: bytes) -> Any:
        inner = super().load(data)

        class Nan(BlindPotential):
            def predict(self, frames: Sequence[Frame]) -> Prediction:
                found = self.inner.predict(frames)
                return replace(found, energy=found.energy * np.nan)

        return Nan(inner)


def labels(n: int, seed: int) -> Dataset:
    rng = np.random.default_rng(seed)
    engine = SpinLatticeEngine()
    level = engine.level_of_theory(["Al", "Fe"])
    items = []
    for k in range(n):
        cell = 2.86 * (np.eye(3) + rng.normal(0, 0.01, (3, 3)))
        positions = np.array([[0, 0, 0], [0.5, 0.5, 0.5]]) @ cell + rng.normal(0, 0.05, (2, 3))
        moments = np.array([rng.uniform(0, 2.5), rng.uniform(-0.1, 0.1) if k % 2 else rng.uniform(-2.5, 2.5)])
        frame = Frame(("Fe", "Al" if k % 2 else "Fe"), cell, positions, moments)
        items.append(LabeledFrame(frame, engine.label(frame, level, Path())))
    return Dataset(items)


@pytest.fixture(scope="module")
def parts() -> dict[str, Dataset]:
    return {"train": labels(30, 1), "test": labels(15, 2)}


def entries(*named: tuple[str, Any]) -> tuple[Entry, ...]:
    return tuple(Entry(name, family) for name, family in named)


def test_labels_are_split_or_those_of_the_test_are_left_out(parts):
    known = parts["train"]
    learnt, held = divided(known, None, 0.8)
    assert len(learnt) > len(held) > 0 and len(learnt) + len(held) == len(known)
    both = known.merge(parts["test"])
    learnt, held = divided(both, parts["test"], 0.8)
    assert held is parts["test"] and {i.label_id for i in learnt} == {i.label_id for i in known}
    with pytest.raises(InputError, match="share"):
        divided(known, None, 1.0)


@pytest.fixture(scope="module")
def finished(parts, tmp_path_factory) -> tuple[Comparison, Path]:
    """Two settings of mMTP, one without moments and two that fail, with two seeds."""
    wanted = entries(
        ("small", SMALL),
        ("broken", BrokenFamily(**SMALL.model_dump())),
        ("failing", FailingFamily()),
        ("large", LARGE),
        ("blind", BlindFamily(**LARGE.model_dump())),
    )
    work = tmp_path_factory.mktemp("compared")
    return ComparisonTask(wanted, **parts, seeds=(1, 2), workdir=work).run(), work


def test_errors_and_costs_of_every_fit(finished, parts):
    comparison, _ = finished
    assert [(f.entry, f.seed) for f in comparison.fits[:2]] == [("small", 1), ("broken", 1)]
    assert len(comparison.fits) == 10
    for fit in comparison.fits:
        if fit.ok:
            assert fit.fit_cpu_seconds > 0 and fit.inference.single_us_per_atom > 0
            assert fit.errors["forces"]["n"] == 15 * 2 * 3 and fit.train_errors["forces"]["n"] == 30 * 2 * 3
            assert sum(s["labels"] for s in fit.strata["composition"].values()) == 15
            assert set(fit.strata) == {"composition", "ordering", "volume"}
    assert comparison.about["labels"]["test"]["fingerprint"] == parts["test"].fingerprint
    assert comparison.quantities == ("energy", "forces", "stress", "magnetic_forces")


def test_the_errors_are_those_of_the_kept_potential(finished, parts):
    from magflow.potentials.ensemble import PotentialEnsemble

    comparison, work = finished
    fit = comparison.of("large")[0]
    (directory,) = work.glob("large_1_*")
    potential = PotentialEnsemble.load(directory / "potential").members[0]
    found = potential.predict([item.configuration for item in parts["test"]])
    error = found.forces - np.concatenate([item.label.forces for item in parts["test"]])
    assert fit.errors["forces"]["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-3)
    assert not (directory / "training").exists()


def test_the_standing_puts_the_better_first_and_those_without_results_last(finished):
    comparison, _ = finished
    order = [s.entry for s in comparison.standings()]
    assert order[0] == "large" and set(order[-2:]) == {"broken", "failing"}
    assert [s.entry for s in comparison.standings("magnetic_forces")][:2] == ["large", "small"]
    large = comparison.standings()[0]
    median, low, high = large.rmse["forces"]
    assert low <= median <= high and sorted(f.errors["forces"]["rmse"] for f in comparison.of("large")) == [low, high]
    assert large.train_cpu_seconds == np.median([f.fit_cpu_seconds for f in comparison.of("large")])


def test_remarks_tell_what_a_family_cannot_learn_and_what_failed(finished):
    comparison, _ = finished
    remarks = {s.entry: " | ".join(s.remarks) for s in comparison.standings()}
    assert not remarks["large"] and not remarks["small"]
    assert "reads no moments: of the 15 of 15 test labels" in remarks["blind"]
    assert "predicts no magnetic forces" in remarks["blind"]
    assert remarks["failing"] == "seed 1, 2 failed: RuntimeError: the optimiser exploded"
    assert "predictions are not finite" in remarks["broken"]
    failing = next(s for s in comparison.standings() if s.entry == "failing")
    assert failing.failed == 2 and not failing.rmse and failing.train_cpu_seconds is None


def test_finished_fits_are_kept_and_seeds_may_be_added(finished, parts, tmp_path, monkeypatch):
    fitted = []
    original = MmtpFamily.fit

    def counted(self, train, **kwargs):
        fitted.append(self.level)
        return original(self, train, **kwargs)

    monkeypatch.setattr(MmtpFamily, "fit", counted)
    first = ComparisonTask(entries(("a", SMALL)), **parts, seeds=(1,), workdir=tmp_path).run()
    told: list[tuple[float, str]] = []

    def progress(fraction: float, text: str, *, milestone: bool = False) -> None:
        if milestone:
            told.append((fraction, text))

    more = entries(("a", SMALL), ("b", SMALL.model_copy(update={"level": 6})))
    again = ComparisonTask(more, **parts, seeds=(1, 2), workdir=tmp_path).run(progress)
    assert fitted == [4, 6, 4, 6] and again.fits[0] == first.fits[0]
    assert told[0] == (0.0, "0/4: a, seed 1") and told[-1] == (1.0, "4/4: b, seed 2")
    others = parts["train"][:0].merge(labels(5, 9))
    ComparisonTask(entries(("a", SMALL)), parts["train"], others, (1,), tmp_path).run()
    assert len(fitted) == 5, "other test labels, other fits"


def test_a_failed_fit_is_tried_again(parts, tmp_path, monkeypatch):
    task = ComparisonTask(entries(("a", SMALL)), **parts, seeds=(1,), workdir=tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(MmtpFamily, "fit", FailingFamily.fit)
        assert not task.run().fits[0].ok
    assert task.run().fits[0].ok


def test_json_round_trip_and_damage(finished, tmp_path):
    comparison, work = finished
    text = json.dumps(comparison.as_dict())
    assert "NaN" not in text
    back = Comparison.from_dict(json.loads(text))
    assert back.as_dict() == comparison.as_dict() and back.standings() == comparison.standings()
    assert ComparedFit.from_dict(back.fits[0].as_dict()) == back.fits[0]
    assert read_comparison(tmp_path) is None
    (tmp_path / RESULTS).write_text(text)
    assert read_comparison(tmp_path).as_dict() == comparison.as_dict()
    for damage in (text[:-20], "[]", "{}", '{"format": "magflow-comparison-1"}'):
        (tmp_path / RESULTS).write_text(damage)
        with pytest.raises(InputError):
            read_comparison(tmp_path)
    assert len(list(work.glob(f"*/{FIT}"))) == 6


def test_what_cannot_be_compared_is_refused(parts, tmp_path):
    with pytest.raises(InputError, match="the same name"):
        ComparisonTask(entries(("a", SMALL), ("a", LARGE)), **parts, seeds=(1,), workdir=tmp_path)
    with pytest.raises(InputError, match="to be tested on"):
        ComparisonTask(entries(("a", SMALL)), parts["train"], parts["train"][:3], (1,), tmp_path)
    with pytest.raises(InputError, match="nothing to work with"):
        ComparisonTask(entries(("a", SMALL)), **parts, seeds=(), workdir=tmp_path)
    iron = parts["train"].filter(lambda item: "Al" not in item.frame.species)
    with pytest.raises(InputError, match="in the test labels only"):
        ComparisonTask(entries(("a", SMALL)), iron, parts["test"], (1,), tmp_path)
    with pytest.raises(InputError, match="not a name"):
        Entry("a/b", SMALL)


def test_inference_cost_counts_atoms(parts, monkeypatch):
    monkeypatch.setattr("psutil.Process.children", lambda *_, **__: [])  # servers of other tests are none of it

    class Busy(BlindPotential):
        """Test double: takes a millisecond of processor time per atom, and waits twice as long for nothing."""

        def predict(self, frames):
            atoms = sum(len(frame) for frame in frames)
            end = time.process_time() + 1e-3 * atoms
            while time.process_time() < end:
                pass
            time.sleep(2e-3 * atoms)
            return None

    cost = inference_cost(Busy(None), [item.frame for item in parts["test"]])
    assert cost.frames == 15 and cost.atoms == 30
    for found in (cost.single_us_per_atom, cost.batch_us_per_atom):
        assert 1000 <= found < 2000
    with pytest.raises(InputError, match="no frames"):
        inference_cost(Busy(None), [])


def test_processor_time_of_child_processes_is_counted():
    spin = "import sys, time\nsys.stdin.readline()\nwhile time.process_time() < 0.5: pass\nprint(1, flush=True)\n"
    with subprocess.Popen(
        [sys.executable, "-c", spin + "sys.stdin.read()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        watched = [psutil.Process(child.pid)]
        start = _processor_seconds(watched)
        child.stdin.write(b"go\n")
        child.stdin.flush()
        child.stdout.readline()
        assert 0.25 < _processor_seconds(watched) - start < 2.0
        child.stdin.close()
