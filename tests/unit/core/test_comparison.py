"""Predictions beside labels: every component beside its own, and nothing beside what no label says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from magflow.core.comparison import compare, rmse
from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame
from magflow.core.prediction import EnsemblePrediction, Prediction
from strategies import LEVEL

COUNTS = np.array([1, 3, 2])


def labelled(n: int, start: float) -> LabeledFrame:
    """Forces start, start + 1, ...; magnetic forces ten times as large."""
    frame = Frame(("Fe",) * n, 5 * np.eye(3), np.arange(3 * n).reshape(n, 3) / 2, np.full(n, 2.0))
    forces = start + np.arange(3.0 * n).reshape(n, 3)
    label = Label(
        frame.frame_id,
        LEVEL,
        frame.orientation,
        energy=start * n,
        forces=forces,
        stress=start + np.arange(6.0),
        magmoms=frame.magmoms,
        magnetic_forces=10 * forces,
    )
    return LabeledFrame(frame, label)


ITEMS = [labelled(1, 0.0), labelled(3, 100.0), labelled(2, 200.0)]


def prediction(items) -> EnsemblePrediction:
    """One more than the labels, with the deviation 1, 2, 3, ..."""

    def flat(name):
        return np.concatenate([np.atleast_1d(getattr(i.label, name)) for i in items])

    mean = Prediction(
        COUNTS,
        flat("energy") + COUNTS,
        flat("forces") + 1,
        np.stack([i.label.stress for i in items]) + 1,
        flat("magnetic_forces") + 1,
    )
    spread = Prediction(COUNTS, *(1.0 + np.arange(x.size).reshape(x.shape) for x in
                                  (mean.energy, mean.forces, mean.stress, mean.magnetic_forces)))  # fmt: skip
    return EnsemblePrediction(mean, spread)


def test_the_deviation_of_a_frame_is_per_atom_or_that_of_its_worst_atom():
    spread = prediction(ITEMS).deviation
    found = {q: prediction(ITEMS).frame_deviation(q) for q in ("energy", "forces", "stress", "magnetic_forces")}
    np.testing.assert_allclose(found["energy"], np.array([1.0, 2.0, 3.0]) / COUNTS)
    np.testing.assert_allclose(found["stress"], [6.0, 12.0, 18.0])
    worst = np.cumsum(COUNTS) - 1  # deviations rise from atom to atom
    for quantity in ("forces", "magnetic_forces"):
        np.testing.assert_allclose(found[quantity], np.linalg.norm(getattr(spread, quantity)[worst], axis=1))


def test_every_component_beside_its_own_and_its_label():
    found = prediction(ITEMS)
    for quantity, width in (("energy", 1), ("stress", 6), ("forces", None), ("magnetic_forces", None)):
        pairs = compare(found, ITEMS, quantity)
        np.testing.assert_allclose(pairs.error, 1.0)
        per_label = np.full(3, width) if width else COUNTS * (3 if quantity == "forces" else 1)
        assert pairs.owner.tolist() == np.repeat(np.arange(3), per_label).tolist(), quantity
    energies = compare(found, ITEMS, "energy")
    assert energies.true.tolist() == [0.0, 100.0, 200.0], "per atom"
    np.testing.assert_allclose(energies.deviation, [1.0, 2 / 3, 3 / 2])


def test_magnetic_forces_of_collinear_frames_are_z_alone():
    pairs = compare(prediction(ITEMS), ITEMS, "magnetic_forces")
    assert pairs.true.tolist() == [20.0, 1020.0, 1050.0, 1080.0, 2020.0, 2050.0]
    assert pairs.deviation.tolist() == [3.0, 6.0, 9.0, 12.0, 15.0, 18.0]


def test_errors_are_those_of_what_labels_and_prediction_both_have():
    assert rmse(prediction(ITEMS), ITEMS) == {
        name: pytest.approx(1.0) for name in ("energy", "forces", "stress", "magnetic_forces")
    }
    found = prediction(ITEMS)
    blind = EnsemblePrediction(*(replace(part, magnetic_forces=None) for part in (found.mean, found.deviation)))
    unstressed = [LabeledFrame(item.frame, replace(item.label, stress=None)) for item in ITEMS]
    assert list(rmse(blind, unstressed)) == ["energy", "forces"]


def test_deviation_of_a_frame_is_per_atom_or_that_of_its_worst_atom_or_component():
    found = prediction(ITEMS)
    np.testing.assert_allclose(found.frame_deviation("energy"), [1.0, 2 / 3, 3 / 2])
    np.testing.assert_allclose(found.frame_deviation("stress"), [6.0, 12.0, 18.0])
    worst = [np.linalg.norm([k - 2, k - 1, k]) for k in (3, 12, 18)]
    np.testing.assert_allclose(found.frame_deviation("forces"), worst)
    blind = EnsemblePrediction(*(replace(part, magnetic_forces=None) for part in (found.mean, found.deviation)))
    assert blind.frame_deviation("magnetic_forces").tolist() == [0.0, 0.0, 0.0]


def test_what_a_label_does_not_say_is_left_out():
    holes = [ITEMS[0], labelled(3, 100.0), ITEMS[2]]
    forces = holes[1].label.magnetic_forces.copy()
    forces[1] = np.nan
    frame = holes[1].frame
    holes[1] = LabeledFrame(frame, replace(holes[1].label, magnetic_forces=forces, stress=None))
    found = prediction(ITEMS)
    assert compare(found, holes, "magnetic_forces").owner.tolist() == [0, 1, 1, 2, 2]
    assert set(compare(found, holes, "stress").owner.tolist()) == {0, 2}
    assert not compare(found, [], "forces").true.size
    silent = EnsemblePrediction(replace(found.mean, magnetic_forces=None), found.deviation)
    assert not compare(silent, ITEMS, "magnetic_forces").true.size
