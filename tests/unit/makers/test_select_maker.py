"""What selection is offered by families that have no grades, descriptors or magnetic forces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.core.prediction import Prediction
from magflow.dft.spin_lattice import FE_AL, SpinLatticeModel
from magflow.makers.select import offer
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.select.pipeline import select
from magflow.select.settings import SelectSettings


class PlainPotential:
    """Test double of a family like dp: energies and forces of the model Hamiltonian, and nothing else."""

    family = "plain"
    species = ("Al", "Fe")
    cutoff = 5.0

    def __init__(self, scale: float) -> None:
        self.model = SpinLatticeModel(FE_AL.scaled("repulsion", scale))

    def predict(self, frames: list[Frame]) -> Prediction:
        return replace(self.model.predict(frames), magnetic_forces=None)


@pytest.fixture
def frames() -> list[Frame]:
    rng = np.random.default_rng(0)
    places = np.array([[0.0, 0, 0], [1.43, 1.43, 1.43]])
    return [
        Frame(("Fe", "Fe"), 2.86 * np.eye(3), places + rng.normal(0, 0.08, (2, 3)), rng.uniform(0, 2.5, 2))
        for _ in range(30)
    ]


def test_a_family_without_grades_or_magnetic_forces_selects_by_what_it_predicts(frames):
    ensemble = PotentialEnsemble(tuple(PlainPotential(s) for s in (0.98, 1.0, 1.02)), "plain")
    offered = offer(frames, ["here"] * len(frames), ensemble)
    assert offered.grades is None and offered.descriptors is None
    assert set(offered.deviations) == {"energy", "forces", "stress"} and offered.deviations["forces"].min() > 0.0
    chosen = select(
        offered,
        known=frames[:3],
        known_descriptors=None,
        settings=SelectSettings(initial=5, batch=5),
        targets={"energy": 0.001, "forces": 0.01, "magnetic_forces": 0.01},
        budget=None,
        seed=1,
    )
    assert len(chosen.selected) == 5 and not set(chosen.selected) & {0, 1, 2}
    assert set(chosen.trust) == {"energy", "forces"}
