"""Viscosity on a small Lennard-Jones liquid; against published values where that takes longer."""

from __future__ import annotations

import numpy as np
import pytest
from ase.units import fs

from exact_potentials import alone, fcc
from lammps_potential import EPSILON, SIGMA, lennard_jones_argon
from magflow.core.units import EV_PER_A3_IN_GPA, KB
from magflow.properties.base import Work
from magflow.properties.measurement import Measurement
from magflow.properties.phase import PhaseTest
from magflow.properties.subject import Subject
from magflow.properties.viscosity import Viscosity
from pair_potential import ShortLennardJones

SMALL = {"atoms": 32, "runs": 2, "picoseconds": 0.5, "equilibration": 0.5, "timestep": 10.0, "density": 1.35}


def argon(potential=None) -> Subject:
    return Subject(alone(potential or ShortLennardJones()), "fcc-Ar", fcc(5.5, "Ar"))


@pytest.fixture(scope="module")
def molten(tmp_path_factory):
    """A directory in which argon has been heated: the runs of others go on from there."""
    directory = tmp_path_factory.mktemp("viscosity")
    Viscosity(temperatures=(150.0,), **SMALL).measure(argon(), Work(directory))
    return directory


def measured(directory, subject=None, **settings) -> Measurement:
    return Viscosity(**SMALL | {"temperatures": (150.0,)} | settings).measure(subject or argon(), Work(directory))


def test_too_short_a_run_is_told_with_its_temperature(molten):
    found = measured(molten)
    assert found.failure.startswith("150 K: ")
    assert "longer runs" in found.failure
    assert found.value("density", 150.0).value == 1.35
    assert not found.curves


def test_a_liquid_that_froze_has_no_viscosity(molten, monkeypatch):
    monkeypatch.setattr(PhaseTest, "crystalline", lambda self, frame: 0.9)
    assert measured(molten).failure == "150 K: the liquid froze"


def test_what_boils_is_no_liquid(molten):
    found = measured(molten, density=None, temperatures=(1000.0, 150.0), equilibration=5.0)
    assert "1000 K: the liquid boils" in found.failure


def test_a_crystal_only_potential_is_no_answer_to_a_liquid(tmp_path):
    class Narrow(ShortLennardJones):
        """Knows crystals alone: what is disordered is foreign to it."""

        def descriptors(self, frames):
            return np.zeros((len(frames), 1))

        def grades(self, frames):
            return np.array([9.0 if len(f) == 32 and np.ptp(f.positions) > 0.0 else 0.5 for f in frames])

    found = measured(tmp_path, argon(Narrow()))
    assert "outside the training domain" in found.failure
    assert found.outside == pytest.approx(1.0)


def test_a_run_that_comes_to_grief_is_a_result(tmp_path):
    class Holed(ShortLennardJones):
        """Deep wells open as soon as atoms come closer than in the hot crystal."""

        def _pair(self, r2):
            energy, slope = super()._pair(r2)
            return np.where(r2 < 3.2**2, -50.0, energy), slope

    found = measured(tmp_path, argon(Holed()))
    assert "unstable at" in found.failure and "energy" in found.failure
    assert len(found.frames) == 1 and len(found.frames[0]) == 32


@pytest.mark.slow
def test_lennard_jones_liquid_near_its_triple_point(tmp_path, record_testsuite_property):
    """rho* 0.8442, T* 0.722: 3.2 to 3.4 (Meier et al., J. Chem. Phys. 121, 3671 (2004), and references there)."""
    kelvin, density = 0.722 * EPSILON / KB, 0.8442 / SIGMA**3 * 39.948 * 1.66053906660
    asked = Viscosity(
        temperatures=(kelvin,), density=density, atoms=108, runs=6, picoseconds=250.0, equilibration=10.0, timestep=8.0
    )
    found = asked.measure(argon(lennard_jones_argon()), Work(tmp_path))
    unit = np.sqrt(39.948 * EPSILON) / SIGMA**2 / fs * 1e-3 * EV_PER_A3_IN_GPA  # mPa s
    viscosity = found.value("viscosity", kelvin)
    assert viscosity.error is not None
    reduced = f"{viscosity.value / unit:.2f} +- {viscosity.error / unit:.2f}"
    record_testsuite_property("reduced viscosity of Lennard-Jones", f"{reduced}, {found.cpu_seconds:.0f} CPU s")
    assert viscosity.value / unit == pytest.approx(3.3, abs=0.15 + 2 * viscosity.error / unit)
    assert viscosity.error < 0.12 * viscosity.value
