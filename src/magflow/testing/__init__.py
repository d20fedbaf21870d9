"""What a plug-in has to do, as suites that an outside package can run: ``docs/testing-a-plugin.md``.

A contract is made of clauses. Each says in one sentence what has to hold, can be checked by itself, and raises
:class:`ContractError` with what was found. No test framework is needed; with pytest a suite is three lines.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from magflow.testing.contract import Contract, ContractError
    from magflow.testing.engines import LabelEngineContract
    from magflow.testing.families import PotentialFamilyContract
    from magflow.testing.potentials import PotentialContract
    from magflow.testing.properties import PropertyContract
    from magflow.testing.stores import JobStoreContract

_HOME = {
    "Contract": "contract",
    "ContractError": "contract",
    "JobStoreContract": "stores",
    "LabelEngineContract": "engines",
    "PotentialContract": "potentials",
    "PotentialFamilyContract": "families",
    "PropertyContract": "properties",
}

__all__ = [
    "Contract",
    "ContractError",
    "JobStoreContract",
    "LabelEngineContract",
    "PotentialContract",
    "PotentialFamilyContract",
    "PropertyContract",
]


def __getattr__(name: str) -> Any:
    """Import a contract when it is asked for: one of engines needs no jobflow."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
