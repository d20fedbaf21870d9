"""The label engines keep the contract. A new engine adds one line to CASES."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import replay_vasp
from magflow.core import plugins
from magflow.testing import LabelEngineContract


@dataclass(frozen=True)
class Case:
    """One engine under test, with the tolerance of its derivatives (eV/A, eV/muB).

    `needs` is a program on PATH; `prepare` sets up what else the engine finds on a machine.
    """

    name: str
    settings: dict = field(default_factory=dict)
    step: float = 1e-3
    tolerance: float = 1e-5
    needs: str | None = None
    prepare: Callable[[pytest.MonkeyPatch, Path], None] | None = None


def stand_in_potcars(patch: pytest.MonkeyPatch, folder: Path) -> None:
    from pymatgen.core import SETTINGS

    patch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(replay_vasp.write_potcars(folder)))


def replayed_vasp(constraint: dict, tolerance: float) -> Case:
    """VASP's formats with the numbers of the model Hamiltonian; a penalty misses its target by F / (2 LAMBDA)."""
    command = f"{sys.executable} {replay_vasp.__file__}"
    settings = {"version": replay_vasp.VERSION, "command": command, "overlap_limit": 1, "constraint": constraint}
    return Case("vasp", settings, step=0.02, tolerance=tolerance, prepare=stand_in_potcars)


CASES = [
    pytest.param(Case("spin-lattice"), id="spin-lattice"),
    pytest.param(
        # Coarse, to be fast. The tolerance is what plane waves on a grid leave: the grid does not move with the
        # atoms, which is why the displacements below are opposite ones.
        Case(
            "abinit",
            {"kpoints": (2, 2, 2), "ecut_ha": 8, "pawecutdg_ha": 12, "bands_per_electron": 0.8},
            step=0.02,
            tolerance=4e-3,
            needs="abinit",
        ),
        id="abinit",
        marks=pytest.mark.abinit,
    ),
    pytest.param(replayed_vasp({"method": "penalty", "ladder": [2000]}, 4e-3), id="vasp-penalty"),
    pytest.param(replayed_vasp({"method": "deltaspin"}, 2e-3), id="vasp-deltaspin"),
]


@pytest.fixture(params=CASES, scope="module")
def case(request, tmp_path_factory):
    case = request.param
    if case.needs and shutil.which(case.needs) is None:
        pytest.skip(f"{case.needs} is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAGFLOW_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        if case.prepare:
            case.prepare(patch, tmp_path_factory.mktemp("installation"))
        yield case


@pytest.fixture(scope="module")
def contract(case):
    engine = plugins.load(plugins.LABEL_ENGINES, case.name)(**case.settings)
    return LabelEngineContract(engine, step=case.step, tolerance=case.tolerance)


@pytest.mark.parametrize("clause", LabelEngineContract.clauses())
def test_contract(contract, clause):
    contract.check(clause)
