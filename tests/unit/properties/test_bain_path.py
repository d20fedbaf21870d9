"""The Bain path on potentials whose bcc and fcc are known by themselves."""

from __future__ import annotations

import numpy as np
import pytest
from ase.calculators.emt import EMT

from exact_potentials import AsePotential, ModelPotential, alone, bcc, fcc
from magflow.core.frame import Frame
from magflow.errors import InputError
from magflow.properties.bain_path import CURVE, ENERGY, FCC, RATIO, BainPath
from magflow.properties.base import Work
from magflow.properties.subject import Subject

COPPER = alone(AsePotential(EMT, ["Cu"], 6.0))
FCC_ABOVE_BCC = "energy of fcc above bcc, one volume"


def measured(frame, tmp_path, ensemble=COPPER, **settings):
    return BainPath(**settings).measure(Subject(ensemble, "bcc", frame), Work(tmp_path))


def turned(frame: Frame) -> Frame:
    """The primitive cell of bcc, in an orientation of its own."""
    a = frame.cell[0, 0]
    cell = a / 2 * np.array([[-1.0, 1, 1], [1, -1, 1], [1, 1, -1]])
    turn = np.linalg.qr(np.array([[1.0, 2, 3], [0, 1, 4], [5, 6, 0]]))[0]
    turn *= np.sign(np.linalg.det(turn))
    return Frame(frame.species[:1], cell @ turn.T, [[0, 0, 0]])


def test_it_ends_at_fcc_of_the_same_volume(tmp_path):
    frames = BainPath().frames(Subject(COPPER, "bcc", bcc(2.87, "Cu")))
    volume = frames[0].volume / 2
    assert np.allclose([f.volume / 2 for f in frames], volume)
    start = bcc((2 * volume) ** (1 / 3), "Cu")
    end = fcc((4 * volume) ** (1 / 3), "Cu")
    low, high = COPPER.predict([start, end]).mean.energy_per_atom
    found = measured(bcc(2.87, "Cu"), tmp_path)
    assert found.value(FCC_ABOVE_BCC).value == pytest.approx(1e3 * (high - low), abs=1e-6)
    curve = found.curves[CURVE]
    assert curve[ENERGY][np.argmin(np.abs(curve[RATIO] - 1.0))] == 0.0
    assert curve[RATIO][np.argmin(curve[ENERGY])] == pytest.approx(FCC)  # copper is fcc


def test_cell_and_orientation_do_not_matter(tmp_path):
    one, two = (measured(f, tmp_path).curves[CURVE][ENERGY] for f in (bcc(2.87, "Cu"), turned(bcc(2.87, "Cu"))))
    assert np.allclose(one, two, atol=1e-7)


def test_moments_are_at_rest_along_the_path(tmp_path):
    iron = alone(ModelPotential())
    frames = BainPath(points=4).frames(Subject(iron, "bcc-Fe", bcc(2.84, moment=2.0)))
    assert np.abs(iron.predict(frames).mean.magnetic_forces).max() < 1e-3
    found = measured(bcc(2.84, moment=2.0), tmp_path, iron, points=4)
    assert found.value("moment", at="bcc").value != pytest.approx(found.value("moment", at="fcc").value, abs=1e-3)


def test_it_starts_from_bcc(tmp_path):
    with pytest.raises(InputError, match="bcc lattice"):
        measured(fcc(3.6, "Cu"), tmp_path)
