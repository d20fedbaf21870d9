from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from mmtp_toy import label, random_frames, toy_labels

from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.prediction import EnsemblePrediction, Prediction
from magflow.potentials.mmtp import MmtpFamily
from magflow.potentials.strata import (
    MAX_COMPOSITIONS,
    OTHERS,
    WORST,
    UsualVolume,
    VolumeClass,
    residual_report,
)


def predicted(items: list[LabeledFrame], energy_error: np.ndarray, force_error: float = 0.0) -> EnsemblePrediction:
    """What the labels say, off by known amounts (eV per cell, eV/A on every component)."""
    return EnsemblePrediction.from_members(
        [
            Prediction(
                np.array([len(i.frame) for i in items]),
                np.array([i.label.energy for i in items]) + energy_error,
                np.concatenate([i.label.forces for i in items]) + force_error,
                np.array([i.label.stress for i in items]),
                np.concatenate([i.label.magnetic_forces for i in items]),
            )
        ]
    )


@pytest.fixture(scope="module")
def items():
    return toy_labels(12, seed=3)


def report(items, *args):
    return residual_report(items, predicted(items, *args), UsualVolume.of([i.frame for i in items]))


def test_known_errors_come_back(items):
    off = np.zeros(12)
    off[4] = 0.6
    found = report(items, off, 0.01)
    assert found["labels"] == 12
    assert found["errors"]["energy"] == {"n": 12, "rmse": float(f"{0.3 / 12**0.5:.4g}"), "mae": 0.025, "max": 0.3}
    assert found["errors"]["forces"] == {"n": 72, "rmse": 0.01, "mae": 0.01, "max": 0.01}
    assert found["errors"]["magnetic_forces"]["n"] == 24 and found["errors"]["stress"]["max"] == 0.0
    worst = found["worst"]["energy"]
    assert len(worst) == WORST and worst[0]["label_id"] == items[4].label_id and worst[0]["rmse"] == 0.3
    mine = [s for s in found["strata"]["composition"].values() if s["errors"]["energy"]["max"] > 0]
    assert len(mine) == 1 and mine[0]["errors"]["energy"]["max"] == 0.3
    assert json.loads(json.dumps(found)) == found


def test_every_kind_of_stratum_parts_the_labels(items):
    found = report(items, np.zeros(12))
    assert set(found["strata"]) == {"composition", "ordering", "volume"}
    for kind in found["strata"].values():
        assert sum(s["labels"] for s in kind.values()) == 12
        assert sum(s["errors"]["forces"]["n"] for s in kind.values()) == found["errors"]["forces"]["n"]
    for name, stratum in found["strata"]["ordering"].items():
        assert stratum["labels"] == sum(i.configuration.ordering == name for i in items)


def test_what_a_label_lacks_is_left_out(items):
    bare = [LabeledFrame(i.frame, replace(i.label, stress=None, magnetic_forces=None)) for i in items]
    found = residual_report(bare, predicted(items, np.zeros(12)), UsualVolume.of([i.frame for i in items]))
    assert set(found["errors"]) == {"energy", "forces"} == set(found["worst"])


def test_volume_classes():
    frames = [f.non_magnetic() for f in random_frames(30, seed=2)]
    usual = UsualVolume.of(frames)

    def scaled(frame: Frame, factor: float) -> Frame:
        size = (factor * sum(usual.of_species[s] for s in frame.species) / frame.volume) ** (1 / 3)
        return frame.replace(cell=size * frame.cell, positions=size * frame.positions)

    for frame in frames:
        assert usual.classify(scaled(frame, 1.0)) is VolumeClass.EQUILIBRIUM
        assert usual.classify(scaled(frame, 0.97)) is VolumeClass.COMPRESSED
        assert usual.classify(scaled(frame, 1.03)) is VolumeClass.EXPANDED


def test_rare_compositions_share_one_stratum():
    cell = 3.0 * np.eye(3)
    frames = [
        Frame(("Fe",) * k, np.diag([3.0 * k, 3.0, 3.0]), np.array([[3.0 * a, 0, 0] for a in range(k)]) + 0.0 * cell[0],
              np.ones(k))
        for k in range(1, MAX_COMPOSITIONS + 4)
    ]  # fmt: skip
    items = [label(f) for f in frames]
    found = report(items, np.zeros(len(items)))
    composition = found["strata"]["composition"]
    assert len(composition) == MAX_COMPOSITIONS + 1 and composition[OTHERS]["labels"] == 3


def test_a_fit_reports_training_and_validation_labels(items):
    labels = toy_labels(40, seed=1)
    family = MmtpFamily(level=4, cutoff=4.5, n_radial=4, max_iterations=4)
    potential, fitted = family.fit(labels[:30], elements=("Al", "Fe"), seed=0, validation=labels[30:])
    found = fitted.details["residuals"]
    assert set(found) == {"train", "validation"}
    assert found["validation"]["labels"] == 10
    for part, rmse in fitted.rmse.items():
        for quantity, value in rmse.items():
            assert found[part]["errors"][quantity]["rmse"] == pytest.approx(value, rel=1e-3)
    assert len(json.dumps(fitted.details)) < 20_000
    assert potential.species == ("Al", "Fe")
