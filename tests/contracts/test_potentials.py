"""The potential families keep the contract. A new family adds one line to FAMILIES."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from magflow.core.protocols import NeedsStart, Potential, PotentialFamily
from magflow.potentials.chgnet import ChgnetFamily
from magflow.potentials.deepmd import DpFamily, DpSpinFamily
from magflow.potentials.difference import DifferenceFamily
from magflow.potentials.flare import FlareFamily
from magflow.potentials.mmtp import MmtpFamily
from magflow.potentials.nequip import AllegroFamily, NequipFamily, NequipSpinFamily
from magflow.potentials.sgp import SgpFamily
from magflow.testing import PotentialFamilyContract
from magflow.testing.springs import ELEMENTS, springs, two_atoms, without_moments

DEEPMD = {
    "cutoff": 3.5,
    "descriptor_neurons": (8, 16),
    "fitting_neurons": (32, 32),
    "batch_atoms": 8,
    "learning_rate": (5e-3, 1e-4),
    "interval": 100,
}

DPA3 = {"descriptor": "dpa3", "dpa3": {"layers": 1, "node": 16, "edge": 8, "angle": 8, "angle_cutoff": 3.0}}
DPA4 = {"descriptor": "dpa4", "dpa4": {"blocks": 1, "channels": 8, "l_max": 1, "radial_functions": 8}}

NEQUIP = {
    "cutoff": 3.5,
    "features": 8,
    "radial_functions": 6,
    "batch_frames": 8,
    "learning_rate": (2e-2, 1e-4),
    "finetuning": {"turns": 60, "learning_rate": (3e-3, 1e-5), "average": 0.95},
}

QUICK = {"level": 6, "cutoff": 4.5, "n_radial": 5, "max_iterations": 12}

CHGNET = {
    "batch_frames": 4,
    "finetuning": {"turns": 16, "label_steps": 1, "learning_rate": (2e-3, 1e-5), "average": 0.9},
}

FAMILIES: dict[str, Callable[[], PotentialFamily]] = {
    "mmtp": lambda: MmtpFamily(**QUICK),
    "mmtp-paper": lambda: MmtpFamily(form="paper", **QUICK),
    "sgp": lambda: SgpFamily(mmtp=QUICK),
    "difference": lambda: DifferenceFamily(settings={**QUICK, "level": 4, "max_iterations": 6}),
    # fewer atoms than the labels of a contract have to tell apart: with all of them the seed decides nothing
    "flare": lambda: FlareFamily(cutoff=4.5, n_max=5, l_max=2, environments=8),
    "flare-b3": lambda: FlareFamily(descriptor="B3", cutoff=4.5, n_max=3, l_max=2, environments=8),
    "dp": lambda: DpFamily(steps=200, **DEEPMD),
    "dp-spin": lambda: DpSpinFamily(steps=500, **DEEPMD),
    "dp-dpa3": lambda: DpFamily(steps=300, **DEEPMD, **DPA3),
    "dp-dpa4": lambda: DpFamily(steps=200, **DEEPMD, **DPA4),
    "dp-spin-dpa4": lambda: DpSpinFamily(steps=300, **DEEPMD, **DPA4),
    "nequip": lambda: NequipFamily(epochs=20, radial_neurons=16, **NEQUIP),
    "nequip-spin": lambda: NequipSpinFamily(epochs=40, radial_neurons=16, **NEQUIP),
    "allegro": lambda: AllegroFamily(epochs=20, tensor_features=4, neurons=16, **NEQUIP),
    "chgnet": lambda: ChgnetFamily(**CHGNET),
}
OUTSIDE = {"dp": "deepmd", "chgnet": "chgnet", "nequip": "nequip", "allegro": "nequip", "flare": "flare"}
"""First word of a family's name to the marker of its program, whose every fit starts PyTorch and takes seconds."""
FIXTURES = {"deepmd": "deepmd_kit", "nequip": "nequip", "chgnet": "chgnet", "flare": "flare_core"}


def _program(name: str) -> str | None:
    return OUTSIDE.get(name.partition("-")[0])


def _param(name: str):
    program = _program(name)
    return pytest.param(name, marks=[getattr(pytest.mark, program), pytest.mark.slow] if program else [])


@pytest.fixture(scope="module", params=map(_param, sorted(FAMILIES)))
def contract(request) -> PotentialFamilyContract:
    if program := _program(request.param):
        request.getfixturevalue(FIXTURES[program])
    family = FAMILIES[request.param]()
    return PotentialFamilyContract(family, start=_kept() if isinstance(family, NeedsStart) else None)


def _kept() -> Potential:
    """A potential without moments, to which another adds what moments do."""
    plain = without_moments([springs(frame) for frame in two_atoms(40, seed=0)])
    return MmtpFamily(**QUICK).fit(plain, elements=ELEMENTS, seed=1)[0]


@pytest.mark.parametrize("clause", PotentialFamilyContract.clauses())
def test_contract(contract, clause):
    contract.check(clause)
