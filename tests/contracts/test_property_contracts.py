"""The properties keep the contract. A new property adds one line to PROPERTIES."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from exact_potentials import IdealMixture, ModelPotential, alone, bcc, fcc
from magflow.properties.bain_path import BainPath
from magflow.properties.composition import Composition
from magflow.properties.elastic import Elastic
from magflow.properties.equation_of_state import EquationOfState
from magflow.properties.magnetic_energy import MagneticEnergy
from magflow.properties.measurement import Moments
from magflow.properties.phonons import Phonons
from magflow.properties.quasi_harmonic import QuasiHarmonic
from magflow.properties.stability import Stability
from magflow.properties.structure import Structure
from magflow.properties.subject import Subject
from magflow.properties.surfaces import Surfaces
from magflow.properties.thermal import Thermal
from magflow.properties.thermal_conductivity import ThermalConductivity
from magflow.properties.third_order import missing
from magflow.properties.vacancy import Vacancy
from magflow.properties.viscosity import Viscosity
from magflow.testing import PropertyContract
from mmtp_iron import iron_ensemble
from pair_potential import ShortLennardJones


def iron() -> Subject:
    """Ferromagnetic bcc iron on the model Hamiltonian."""
    return Subject(alone(ModelPotential()), "bcc-Fe", bcc(2.84, moment=2.2))


def mixture() -> Subject:
    """Iron that takes up aluminium as an ideal mixture does."""
    return Subject(alone(IdealMixture(unlike=-0.02)), "bcc-Fe", bcc(2.84, moment=2.2))


def argon() -> Subject:
    """A crystal that melts at some 80 K, in cells of 32 atoms."""
    return Subject(alone(ShortLennardJones()), "fcc-Ar", fcc(5.5, "Ar"))


LIQUID = {"atoms": 32, "timestep": 10.0, "runs": 12, "equilibration": 0.5}


def trained() -> Subject:
    """The same on small mMTPs."""
    return Subject(iron_ensemble(2), "bcc-Fe", bcc(2.84, moment=2.2), Moments.RELAXED_ONCE, {"Fe": 3.0})


PROPERTIES: dict[str, tuple[Any, Callable[[], Subject]]] = {
    "bain-path": (BainPath(points=5), iron),
    "composition": (Composition(fractions=(0.0, 0.25), atoms=8, decorations=2), mixture),
    "elastic": (Elastic(points=2), iron),
    "equation-of-state": (EquationOfState(points=5), iron),
    "magnetic-energy": (MagneticEnergy(volumes=(0.97, 1.0), points=9), iron),
    "phonons": (Phonons(supercell=(2, 2, 2), mesh=20.0), iron),
    "quasi-harmonic": (
        QuasiHarmonic(volumes=5, width=0.05, temperatures=(100.0,), phonons=Phonons(supercell=(2, 2, 2), mesh=20.0)),
        iron,
    ),
    "viscosity": (Viscosity(temperatures=(200.0,), density=1.35, picoseconds=10.0, **LIQUID), argon),
    "stability": (Stability(atoms=16, temperatures=(100.0,), picoseconds=0.1), trained),
    "structure": (
        Structure(atoms=16, temperatures=(100.0,), runs=1, equilibration=0.1, picoseconds=0.2, look_every=2),
        trained,
    ),
    "surfaces": (Surfaces(planes=((1, 1, 0),), thicknesses=(6.0, 8.0), vacuum=6.0), iron),
    "thermal": (Thermal(atoms=16, temperatures=(100.0, 200.0), runs=1, picoseconds=0.1), trained),
    "thermal-conductivity": (
        ThermalConductivity(cutoffs=1.0, mesh=10.0, pairs=3.0, phonons=Phonons(supercell=(2, 2, 2), mesh=10.0)),
        iron,
    ),
    "vacancy": (Vacancy(atoms=16), iron),
}


SLOW = {"viscosity"}
"""Those that need molecular dynamics of some length."""


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in sorted(PROPERTIES)],
)
def contract(request) -> PropertyContract:
    if request.param == "thermal-conductivity" and missing():
        pytest.skip(missing())
    made, subject = PROPERTIES[request.param]
    return PropertyContract(made, subject())


@pytest.mark.parametrize("clause", PropertyContract.clauses())
def test_contract(contract, clause):
    contract.check(clause)
