"""Deviations as errors to expect."""

from __future__ import annotations

import json

import numpy as np
import pytest

from magflow.core.calibration import Calibration, ErrorModel
from magflow.core.frame import Frame
from magflow.core.prediction import EnsemblePrediction, Prediction
from magflow.errors import InputError

CELL = 3.0 * np.eye(3)
PLACES = np.array([[0.0, 0.0, 0.0], [1.5, 1.5, 1.5]])
ALONG_Z = Frame(("Fe", "Al"), CELL, PLACES, np.array([2.0, 0.1]))
TURNED = Frame(("Al", "Fe"), CELL, PLACES, np.array([[0.0, 0.1, 0.0], [1.0, 0.0, 2.0]]))


def predicted(deviation: float) -> EnsemblePrediction:
    def of(value: float) -> Prediction:
        shapes = ((2,), (4, 3), (2, 6), (4, 3))
        return Prediction(np.array([2, 2]), *(np.full(shape, value) for shape in shapes))

    return EnsemblePrediction(of(7.0), of(deviation))


def test_scale_and_floor_add_in_quadrature_and_the_energy_is_that_of_an_atom():
    known = Calibration({"energy": ErrorModel(2.0, 3.0), "forces": ErrorModel(0.5, 0.0)})
    found = known.expected(predicted(4.0), [ALONG_Z, TURNED])
    np.testing.assert_allclose(found.deviation.energy, 2 * np.hypot(2.0 * 4.0 / 2, 3.0))
    np.testing.assert_allclose(found.deviation.forces, 2.0)
    np.testing.assert_array_equal(found.deviation.stress, 4.0)
    np.testing.assert_array_equal(found.mean.forces, 7.0)


def test_each_element_has_its_own_magnetic_forces_and_collinear_moments_none_across():
    known = Calibration({"magnetic_forces": ErrorModel(1.0, 3.0), "magnetic_forces Fe": ErrorModel(2.0, 6.0)})
    found = known.expected(predicted(4.0), [ALONG_Z, TURNED]).deviation.magnetic_forces
    iron, others = np.hypot(8.0, 6.0), np.hypot(4.0, 3.0)
    np.testing.assert_allclose(found, [[8.0, 8.0, iron], [4.0, 4.0, others], [others] * 3, [iron] * 3])


def test_a_potential_without_moments_has_nothing_to_calibrate_there():
    known = Calibration({"magnetic_forces": ErrorModel(1.0, 3.0)})
    bare = Prediction(np.array([1]), np.ones(1), np.ones((1, 3)), np.ones((1, 6)))
    assert known.expected(EnsemblePrediction(bare, bare), [ALONG_Z]).deviation.magnetic_forces is None


def test_json_and_the_factors_of_older_formats():
    known = Calibration({"energy": ErrorModel(1.5, 0.1), "magnetic_forces Al": ErrorModel(0.2, 0.3)})
    assert Calibration.from_dict(json.loads(json.dumps(known.as_dict() | {"@version": "1"}))) == known
    assert Calibration.from_dict({"forces": 2.0}) == Calibration({"forces": ErrorModel(2.0, 0.0)})
    assert not Calibration() and known


@pytest.mark.parametrize(
    "bad",
    [
        {"energies": 1.0},
        {"forces Fe": 1.0},
        {"energy": 0.0},
        {"forces": float("nan")},
        {"stress": {"scale": 1, "floor": -1}},
    ],
)
def test_what_cannot_be_is_refused(bad):
    with pytest.raises(InputError, match="calibration"):
        Calibration.from_dict(bad)
