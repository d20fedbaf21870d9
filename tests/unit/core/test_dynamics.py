"""Temperature, pressure and conserved energy of a state of molecular dynamics, against the formulas they stand for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from magflow.core.dynamics import Integration, Motion, Observation, Pistons, at_rest, masses, piston_mass
from magflow.core.frame import Frame
from magflow.core.units import KB

FRAME = Frame(("Fe", "Al", "Al"), 4.0 * np.eye(3), [[0, 0, 0], [2.0, 2.0, 0], [0, 2.0, 2.0]], [2.0, 0.0, 0.0])
VELOCITIES = np.random.default_rng(1).normal(0.0, 0.02, (3, 3))


def moving(**how) -> Motion:
    return Motion(FRAME, VELOCITIES, Integration(timestep=0.1, **how))


def test_without_baths_the_centre_of_mass_has_no_temperature():
    kinetic = 0.5 * float((masses(FRAME) * VELOCITIES**2).sum())
    assert moving().temperature == pytest.approx(2.0 * kinetic / (6 * KB))
    assert moving(friction=0.1, temperature=300.0).temperature == pytest.approx(2.0 * kinetic / (9 * KB))


def test_the_pressure_is_that_of_a_gas_less_the_stress():
    stress = np.array([0.01, 0.02, 0.06, 9.0, 9.0, 9.0])
    seen = Observation(moving(), -1.0, np.zeros((3, 3)), stress, 0.0, 0.0)
    assert seen.pressure == pytest.approx(2.0 * seen.motion.kinetic / (3.0 * 64.0) - 0.03)


def test_what_is_conserved_counts_pistons_and_takes_off_the_heat():
    how = Integration(0.1, pressure=0.02, pistons=Pistons.LENGTHS, piston_mass=4.0)
    motion = Motion(FRAME, VELOCITIES, how, piston=np.array([1.0, 2.0, 2.0]), heat=0.5)
    seen = Observation(motion, -1.0, np.zeros((3, 3)), np.zeros(6), 0.0, 0.0)
    assert seen.conserved == pytest.approx(-1.0 + motion.kinetic - 0.5 + 0.02 * 64.0 + 9.0 / 8.0)
    fixed = replace(seen, motion=replace(motion, integration=Integration(0.1, pressure=0.02)))
    assert fixed.conserved == pytest.approx(-1.0 + motion.kinetic - 0.5)


def test_at_rest_no_momentum_is_left_and_the_temperature_is_made_up_for():
    weights = masses(FRAME)
    still = at_rest(VELOCITIES, weights)
    assert (weights * still).sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-12)
    drift = (weights * VELOCITIES).sum(axis=0) / weights.sum()
    assert still == pytest.approx((VELOCITIES - drift) * np.sqrt(3 / 2))
    assert not at_rest(VELOCITIES[:1], weights[:1]).any()


def test_pistons_of_the_volume_and_of_lengths_weigh_as_their_logarithms():
    """W d(ln L)^2 with L = V^(1/3): of the volume a ninth of three, over V^2; of one length, over L^2."""
    unit = 3 * KB * 300.0 * 2.0**2
    assert piston_mass(FRAME, 300.0, 2.0, Pistons.VOLUME) == pytest.approx(unit / (3 * 64.0**2))
    assert piston_mass(FRAME, 300.0, 2.0, Pistons.LENGTHS) == pytest.approx(unit / 4.0**2)
