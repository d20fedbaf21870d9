"""Green-Kubo on iron of an embedded-atom potential, against LAMMPS."""

from __future__ import annotations

import numpy as np
import pytest
from ase.units import fs

from exact_potentials import alone, bcc
from lammps_green_kubo import correlated, hot_iron, liquid_argon
from lammps_potential import BAR, EPSILON, SIGMA, mendelev_iron
from magflow.core.units import EV_PER_A3_IN_GPA, KB
from magflow.properties.base import Work
from magflow.properties.green_kubo import autocorrelation, green_kubo, running_integral, shear_components
from magflow.properties.subject import Subject
from magflow.properties.viscosity import Viscosity, density_of


def test_correlations_and_their_integral_are_those_of_lammps():
    """The same stresses, correlated by `fix ave/correlate` while they are made: the same to rounding."""
    samples, lags = 100, 30
    found = correlated(hot_iron(3, 2.95, 2000.0, heated=100, cooled=50), samples=samples, every=3, lags=lags)
    mine = autocorrelation(shear_components(found.stress), lags)
    assert np.array_equal(found.origins, samples - np.arange(lags))
    assert mine / BAR**2 == pytest.approx(found.correlations, abs=1e-10 * np.abs(found.correlations).max())
    factor = EV_PER_A3_IN_GPA * found.volume / (KB * found.temperature)
    integral = factor * running_integral(mine.mean(axis=1), found.interval)
    assert integral == pytest.approx(found.running_integral, rel=1e-6), "constants of nature of two decades"


@pytest.mark.slow
def test_lennard_jones_liquid_moved_by_lammps(record_testsuite_property):
    """rho* 0.8442, T* 0.722: 3.2 to 3.4 (Meier et al., J. Chem. Phys. 121, 3671 (2004), and references there)."""
    found = correlated(liquid_argon(4, 0.8442, 0.722 * EPSILON / KB), samples=120_000, every=2, lags=100)
    mine = green_kubo(np.split(found.stress, 8), found.interval, found.volume, found.temperature)
    unit = np.sqrt(39.948 * EPSILON) / SIGMA**2 / fs * 1e-3 * EV_PER_A3_IN_GPA  # mPa s
    value, error, reached = mine.viscosity / unit, mine.error / unit, KB * found.temperature / EPSILON
    record_testsuite_property("Lennard-Jones moved by LAMMPS", f"{value:.2f} +- {error:.2f} at T* {reached:.3f}")
    assert reached == pytest.approx(0.722, abs=0.03)
    assert value == pytest.approx(3.3, abs=0.15 + 2 * error)
    assert error < 0.1 * value


@pytest.mark.slow
def test_viscosity_of_liquid_iron_is_that_of_lammps(tmp_path, record_testsuite_property):
    """LAMMPS moves and correlates 128 atoms for 240 ps; magflow moves as many by itself, as long in eight runs."""
    theirs = correlated(hot_iron(4, 2.97, 2000.0, heated=1500, cooled=5000), samples=60_000, every=2, lags=1500)
    pieces = np.split(theirs.stress, 8)
    known = green_kubo(pieces, theirs.interval, theirs.volume, theirs.temperature)
    crystal = bcc(2.97)
    asked = Viscosity(
        temperatures=(theirs.temperature,),
        density=density_of(crystal, crystal.volume),
        atoms=128,
        runs=8,
        picoseconds=30.0,
        equilibration=4.0,
        stress_every=2,
    )
    found = asked.measure(Subject(alone(mendelev_iron()), "bcc-Fe", crystal), Work(tmp_path))
    mine = found.value("viscosity", theirs.temperature)
    by_lammps = float(np.interp(known.cutoff, known.times, theirs.running_integral))
    record_testsuite_property(
        "viscosity of liquid iron, LAMMPS", f"{theirs.temperature:.0f} K: {by_lammps:.2f} at {known.cutoff:.2f} ps"
    )
    record_testsuite_property(
        "viscosity of liquid iron, LAMMPS and the fit", f"{known.viscosity:.2f} +- {known.error:.2f} mPa s"
    )
    record_testsuite_property(
        "viscosity of liquid iron", f"{mine.value:.2f} +- {mine.error:.2f} mPa s, {found.cpu_seconds:.0f} CPU s"
    )
    assert by_lammps == pytest.approx(known.viscosity, abs=2.0 * known.error + 0.1 * known.viscosity)
    assert mine.value == pytest.approx(known.viscosity, abs=3.0 * np.hypot(mine.error, known.error))
    assert np.hypot(mine.error, known.error) < 0.12 * known.viscosity
