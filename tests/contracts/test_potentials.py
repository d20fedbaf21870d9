"""The potential families keep the contract. A new family adds one line to FAMILIES."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from magflow.core.protocols import PotentialFamily
from magflow.potentials.deepmd import DpFamily, DpSpinFamily
from magflow.potentials.mmtp import MmtpFamily
from magflow.potentials.sgp import SgpFamily
from magflow.testing import PotentialFamilyContract

DEEPMD = {
    "cutoff": 3.5,
    "descriptor_neurons": (8, 16),
    "fitting_neurons": (32, 32),
    "batch_atoms": 8,
    "learning_rate": (5e-3, 1e-4),
    "interval": 100,
}

FAMILIES: dict[str, Callable[[], PotentialFamily]] = {
    "mmtp": lambda: MmtpFamily(level=6, cutoff=4.5, n_radial=5, max_iterations=12),
    "mmtp-paper": lambda: MmtpFamily(form="paper", level=6, cutoff=4.5, n_radial=5, max_iterations=12),
    "sgp": lambda: SgpFamily(mmtp={"level": 6, "cutoff": 4.5, "n_radial": 5, "max_iterations": 12}),
    "dp": lambda: DpFamily(steps=200, **DEEPMD),
    "dp-spin": lambda: DpSpinFamily(steps=500, **DEEPMD),
}


def _param(name: str):
    # Each fit of deepmd-kit starts PyTorch and trains for seconds.
    return pytest.param(name, marks=[pytest.mark.deepmd, pytest.mark.slow] if name.startswith("dp") else [])


@pytest.fixture(scope="module", params=map(_param, sorted(FAMILIES)))
def contract(request) -> PotentialFamilyContract:
    if request.param.startswith("dp"):
        request.getfixturevalue("deepmd_kit")
    return PotentialFamilyContract(FAMILIES[request.param]())


@pytest.mark.parametrize("clause", PotentialFamilyContract.clauses())
def test_contract(contract, clause):
    contract.check(clause)
