"""Expansion by phonons at several volumes, against free energies that are minimised here."""

from __future__ import annotations

import numpy as np
import pytest
from ase.calculators.emt import EMT

from exact_potentials import AsePotential, alone, fcc
from magflow.properties.base import Work
from magflow.properties.harmonic import CAPACITY, ENTROPY, FREE, TEMPERATURE, thermodynamics_of
from magflow.properties.phonons import Phonons, solved
from magflow.properties.quasi_harmonic import QuasiHarmonic, _expanded
from magflow.properties.subject import Subject

COPPER = Subject(alone(AsePotential(EMT, ["Cu"], 5.0)), "fcc-Cu", fcc(3.6, "Cu"))
PHONONS = Phonons(supercell=(2, 2, 2), mesh=20.0)
KJ_PER_MOLE = 96.48533
"""In one eV."""


def volume_at(temperature: float) -> float:
    """A^3/atom at which the free energy of copper is least: a polynomial through cells whose edges are given here."""
    volumes, free = [], []
    for edge in np.linspace(3.56, 3.70, 6):
        frames = PHONONS.displaced(COPPER, fcc(edge, "Cu"))
        points = COPPER.ensemble.predict(frames).mean
        phonons = solved(COPPER, frames, points)
        phonons.run_mesh(PHONONS.mesh)
        vibrations = float(thermodynamics_of(phonons, np.array([temperature]))[FREE][0]) / KJ_PER_MOLE
        volumes.append(edge**3 / 4.0)
        free.append(float(points.energy_per_atom[0]) + vibrations)
    slope = np.polynomial.Polynomial.fit(volumes, free, 4).deriv()
    (least,) = (x.real for x in slope.roots() if abs(x.imag) < 1e-9 and volumes[0] < x.real < volumes[-1])
    return float(least)


def test_expansion_is_that_of_free_energies_minimised_by_hand(tmp_path):
    found = QuasiHarmonic(temperatures=(300.0,), phonons=PHONONS).measure(COPPER, Work(tmp_path))
    assert not found.failure
    low, middle, high = (volume_at(t) for t in (280.0, 300.0, 320.0))
    assert found.value("volume", 300.0).value == pytest.approx(middle, rel=1e-4)
    expansion = 1e6 * (high - low) / (40.0 * middle) / 3.0
    assert found.value("linear thermal expansion", 300.0).value == pytest.approx(expansion, rel=0.02)


def test_a_crystal_of_einstein_oscillators_expands_as_its_free_energy_says():
    """E = B (v - v0)^2 / (2 v0) and classical oscillators with w ~ v^-g: B (v - v0) / v0 = 3 g k T / v at rest."""
    boltzmann, v0, bulk, gamma = 8.617333262e-5, 12.0, 1.0, 1.8
    temperatures = np.arange(0.0, 400.0, 10.0)
    volumes = np.linspace(11.4, 13.2, 9)
    kt = boltzmann * np.maximum(temperatures, 1e-9)
    tables = [
        {
            TEMPERATURE: temperatures,
            FREE: KJ_PER_MOLE * 3.0 * kt * np.log(0.02 * (v / v0) ** -gamma / kt),
            ENTROPY: 1e3 * KJ_PER_MOLE * 3.0 * boltzmann * (1.0 - np.log(0.02 * (v / v0) ** -gamma / kt)),
            CAPACITY: np.full(len(temperatures), 3e3 * KJ_PER_MOLE * boltzmann),
        }
        for v in volumes
    ]
    curve = _expanded(volumes, 0.5 * bulk * (volumes - v0) ** 2 / v0, tables)
    at = list(curve[TEMPERATURE]).index(300.0)
    seen = curve["volume (A^3/atom)"][at]
    assert bulk * (seen - v0) / v0 == pytest.approx(3.0 * gamma * boltzmann * 300.0 / seen, rel=0.01)


def test_a_crystal_that_leaves_the_volumes_has_no_answer(tmp_path):
    narrow = QuasiHarmonic(width=0.01, temperatures=(900.0,), phonons=PHONONS).measure(COPPER, Work(tmp_path))
    assert "leaves the volumes asked for" in narrow.failure and "a larger width" in narrow.failure
