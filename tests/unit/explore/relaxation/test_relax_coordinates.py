"""The joint variables: gradient against finite differences, what is held stays, residuals mean what they say."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from relax_cases import BOUNDS, distorted

from magflow.core.units import tensor
from magflow.dft.spin_lattice import SpinLatticeModel
from magflow.explore.relaxation.coordinates import JointCoordinates
from magflow.explore.relaxation.held import Held

MODEL = SpinLatticeModel()
ALL = [frozenset(c) for k in range(5) for c in combinations(Held, k)]
FRAME = distorted(("Fe", "Al"), 1, moments=(1.5, 0.1))


def coordinates(held=frozenset(), pressure=0.0, frame=FRAME):
    return JointCoordinates.free(frame, held, BOUNDS, pressure)


def displaced(c, seed=3):
    """A point away from the reference in every variable."""
    return c.start + 0.3 * np.random.default_rng(seed).normal(size=len(c.start))


@pytest.mark.parametrize("held", ALL, ids=lambda h: "+".join(sorted(h)) or "nothing")
def test_gradient_against_finite_differences(held):
    c = coordinates(held, pressure=0.05)
    x = displaced(c)

    def enthalpy(y):
        frame = c.frame(y)
        return c.objective(frame, MODEL.predict([frame]))

    gradient = c.gradient(x, MODEL.predict([c.frame(x)]))
    assert gradient.shape == x.shape
    h = 1e-4
    steps = h * np.eye(len(x))
    numeric = np.array([(enthalpy(x + s) - enthalpy(x - s)) / (2 * h) for s in steps])
    assert gradient == pytest.approx(numeric, abs=2e-7)


@pytest.mark.parametrize("held", ALL, ids=lambda h: "+".join(sorted(h)) or "nothing")
def test_what_is_held_stays_and_the_rest_moves(held):
    c = coordinates(held)
    start, frame = c.frame(c.start), c.frame(displaced(c))
    assert start.cell == pytest.approx(FRAME.cell, abs=1e-14)
    assert start.positions == pytest.approx(FRAME.positions, abs=1e-12)
    assert start.magmoms == pytest.approx(FRAME.magmoms, abs=1e-14)
    moved = np.linalg.solve(FRAME.cell, frame.cell) - np.eye(3)
    fixed_cell = Held.CELL in held or {Held.SHAPE, Held.VOLUME} <= held
    assert (np.abs(moved).max() < 1e-12) == fixed_cell
    if Held.VOLUME in held:
        assert frame.volume == pytest.approx(FRAME.volume, rel=1e-12)
    if Held.SHAPE in held:
        assert moved == pytest.approx(moved[0, 0] * np.eye(3), abs=1e-12)
    scaled = np.linalg.solve(FRAME.cell.T, FRAME.positions.T), np.linalg.solve(frame.cell.T, frame.positions.T)
    assert np.allclose(*scaled, atol=1e-12) == (Held.ATOMS in held)
    assert np.array_equal(frame.magmoms, FRAME.magmoms) == (Held.MOMENTS in held)


def test_strains_are_an_orthonormal_basis():
    for held, count in ((set(), 6), ({Held.VOLUME}, 5), ({Held.SHAPE}, 1), ({Held.CELL}, 0)):
        strains = coordinates(frozenset(held)).strains
        assert np.einsum("kab,lab->kl", strains, strains) == pytest.approx(np.eye(count))


def test_the_cell_does_not_turn():
    c = coordinates()
    deformation = np.linalg.solve(FRAME.cell, c.frame(displaced(c)).cell)
    assert deformation == pytest.approx(deformation.T, abs=1e-12)


def test_residual_stress_leaves_out_what_cannot_relax():
    prediction = MODEL.predict([FRAME])
    pressure = -float(prediction.stress[0, :3].mean())
    excess = tensor(prediction.stress[0]) + pressure * np.eye(3)
    assert coordinates({Held.SHAPE}, pressure).residuals(FRAME, prediction).stress == pytest.approx(0.0, abs=1e-12)
    assert coordinates({Held.VOLUME}).residuals(FRAME, prediction).stress == pytest.approx(np.abs(excess).max())
    assert coordinates(set(), pressure).residuals(FRAME, prediction).stress == pytest.approx(np.abs(excess).max())
    assert coordinates({Held.CELL}).residuals(FRAME, prediction).stress is None


def test_variables_of_a_metal_are_about_equally_stiff():
    """The point of the scales: curvatures along the variables of one cell within a factor of ten of 1."""
    c = coordinates(frame=distorted(("Fe", "Fe"), 0, strain=0.0, displacement=0.0))
    h = 1e-3
    at = [c.gradient(x, MODEL.predict([c.frame(x)])) for x in (c.start + h * s for s in np.eye(len(c.start)))]
    zero = c.gradient(c.start, MODEL.predict([c.frame(c.start)]))
    curvature = (np.array(at) - zero).diagonal() / h
    assert curvature.min() > 0.1
    assert curvature.max() < 10.0


def test_moments_start_inside_their_bounds():
    c = JointCoordinates.free(FRAME, frozenset(), {"Fe": (0.0, 1.0)}, 0.0)
    assert c.reference.magmoms[:, 2] == pytest.approx([1.0, 0.0])
    assert c.sites.tolist() == [0]
