"""The figures that ``magflow predict`` tells of all frames together."""

from __future__ import annotations

import numpy as np
import pytest

from magflow.core.prediction import EnsemblePrediction, Prediction
from magflow.io.predictions import EXTRAPOLATION, summary

COUNTS = np.array([2, 1])


def of(energy, forces) -> Prediction:
    return Prediction(COUNTS, np.array(energy), np.full((3, 3), forces), np.zeros((2, 6)), None)


def test_a_frame_extrapolates_above_the_level_and_not_at_it():
    prediction = EnsemblePrediction(of([-9.0, -4.0], 1.0), of([0.06, 0.02], 0.1))
    told = summary(prediction, np.array([EXTRAPOLATION, EXTRAPOLATION + 0.1]))
    assert (told["frames"], told["extrapolating"]) == (2, 1)
    assert told["largest_energy_deviation"] == pytest.approx(0.03)  # per atom
    assert told["largest_forces_deviation"] == pytest.approx(0.1 * np.sqrt(3))
    assert "extrapolating" not in summary(prediction, None)
