"""The quick campaign's prototypes, and an ensemble made of perturbed copies of the model Hamiltonian."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from magflow.core.prediction import EnsemblePrediction
from magflow.dft.spin_lattice import FE_AL, SpinLatticeModel
from magflow.errors import InputError
from magflow.explore.prototypes import PrototypeSettings, build_prototypes

MOMENTS = {"Fe": (0.0, 2.8), "Al": (0.0, 0.1)}


class ModelEnsemble:
    """Copies of the spin-lattice model Hamiltonian whose repulsion and exchange differ by about `spread`."""

    def __init__(self, spread: float = 0.02, size: int = 3) -> None:
        rng = np.random.default_rng(0)
        self.members = tuple(
            SpinLatticeModel(
                FE_AL.scaled("repulsion", 1 + spread * rng.normal()).scaled("exchange", 1 + spread * rng.normal())
            )
            for _ in range(size)
        )

    def predict(self, frames):
        return EnsemblePrediction.from_members([m.predict(frames) for m in self.members])


class UngradedFamilyEnsemble(ModelEnsemble):
    """An ensemble class that has grades, of members that have none."""

    def descriptors(self, frames):
        raise InputError("no descriptors")

    def grades(self, frames):
        raise InputError("no grades")


class GradedModel(SpinLatticeModel):
    """A member that has grades."""

    def descriptors(self, frames):
        return np.array([[f.volume] for f in frames])

    def grades(self, frames):
        return np.ones(len(frames))


class GradedEnsemble(ModelEnsemble):
    """An ensemble whose grade the test gives."""

    def __init__(self, grade: Callable[[list], np.ndarray]) -> None:
        super().__init__()
        self.members = tuple(GradedModel(m.parameters) for m in self.members)
        self.grade = grade

    def descriptors(self, frames):
        return self.members[0].descriptors(frames)

    def grades(self, frames):
        return self.grade(frames)


def b2(**options):
    return PrototypeSettings(
        name="B2-FeAl", builder={"structure": "b2", "species": ["Fe", "Al"], "a": 2.884}, **options
    )


def bcc(**options):
    return PrototypeSettings(name="bcc-Fe", builder={"structure": "bcc", "species": ["Fe"], "a": 2.836}, **options)


@pytest.fixture
def moments():
    return MOMENTS


@pytest.fixture
def ensemble():
    return ModelEnsemble()


@pytest.fixture
def ungraded_family():
    return UngradedFamilyEnsemble()


@pytest.fixture
def graded():
    return GradedEnsemble


@pytest.fixture
def build():
    """Build prototypes from settings: ``build(bcc(orderings=["FM"]))``."""

    def from_settings(*settings, moments=MOMENTS, elements=("Al", "Fe"), base_dir=Path()):
        return build_prototypes(settings, elements, base_dir, moments)

    return from_settings


@pytest.fixture
def b2_feal():
    return b2


@pytest.fixture
def bcc_fe():
    return bcc


@pytest.fixture
def quick(build):
    """B2 FeAl: FM, bcc Fe: FM, bcc Fe: AFM."""
    return build(b2(), bcc(orderings=["FM", "AFM"]))
