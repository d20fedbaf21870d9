"""Averages and fluctuations of the native loop: what each statistical ensemble promises."""

from __future__ import annotations

import numpy as np
import pytest

from magflow.core.dynamics import Integration, Motion, Pistons, in_ase_time, piston_mass
from magflow.core.units import KB
from magflow.potentials.mmtp.dynamics import MmtpPropagator
from mmtp_iron import iron, iron_ensemble

TEMPERATURE = 300.0
BATHS = 20.0 / in_ase_time(1000.0)
RUNS = 32


def observed(pistons, pressure, steps, *, pause=1000, interval=20, temperature=TEMPERATURE):
    """(samples, runs) temperature, pressure and volume of two-atom cells, after `pause` steps."""
    frame = iron(0, displacement=0.0)
    mass = piston_mass(frame, temperature, in_ase_time(300.0), pistons) if pistons else 0.0
    motions = [
        Motion.start(frame, Integration(in_ase_time(2.0), BATHS, temperature, pressure, pistons, mass, key))
        for key in range(RUNS)
    ]
    propagator = MmtpPropagator([iron_ensemble().members[0].model], motions)
    samples = []
    for step in range(pause, steps + 1, interval):
        propagator.advance(step)
        seen = [propagator.observe(k) for k in range(RUNS)]
        samples.append([(s.motion.temperature, s.pressure, s.motion.frame.volume) for s in seen])
    return np.moveaxis(np.array(samples), -1, 0)


def of_runs(values):
    """Mean over all samples, and its standard error from the spread of the independent runs."""
    means = values.mean(axis=0)
    return means.mean(), means.std(ddof=1) / np.sqrt(len(means))


@pytest.mark.parametrize("pistons", list(Pistons))
def test_kinetic_temperature_and_its_fluctuation(pistons):
    temperature, _, _ = observed(pistons, 0.0, 3000)
    mean, error = of_runs(temperature)
    assert mean == pytest.approx(TEMPERATURE, abs=4 * error + 2.0)
    spread, error = of_runs((temperature - TEMPERATURE) ** 2)
    degrees = 6
    assert spread == pytest.approx(2 * TEMPERATURE**2 / degrees, abs=4 * error + 300.0)


@pytest.mark.parametrize("pistons", [Pistons.VOLUME, Pistons.LENGTHS])
def test_pressure_is_held(pistons):
    _, pressure, _ = observed(pistons, 0.03, 4000)
    mean, error = of_runs(pressure)
    assert mean == pytest.approx(0.03, abs=4 * error)
    assert error < 1e-3


@pytest.mark.slow
def test_volume_fluctuates_as_it_yields():
    """<dV^2> = -kT d<V>/dp, with the derivative from two pressures."""
    (low, _), (high, _) = (of_runs(observed(Pistons.VOLUME, p, 5000)[2]) for p in (0.02, 0.04))
    _, _, volume = observed(Pistons.VOLUME, 0.03, 5000)
    variance, error = of_runs((volume - volume.mean()) ** 2)
    assert variance == pytest.approx(KB * TEMPERATURE * (low - high) / 0.02, abs=4 * error + 0.1 * variance)
    assert error < 0.05 * variance
