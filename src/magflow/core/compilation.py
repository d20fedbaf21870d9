"""Potentials that can be compiled for the machine they run on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from magflow.core.label import Cost


@dataclass(frozen=True)
class Compilation:
    """What came of compiling a potential: held against itself on one frame, and timed beside itself.

    Parameters
    ----------
    energy, forces
        Largest difference from what it said before, eV/atom and eV/A.
    before, after
        CPU microseconds per atom of energy, forces and stress.
    cost
        Of compiling.
    """

    energy: float
    forces: float
    before: float
    after: float
    cost: Cost


@runtime_checkable
class CanBeCompiled(Protocol):
    """A potential that can be compiled once for a machine and is used so there from then on."""

    def compile(self) -> Compilation:
        """Compile it. What it says stays the same to rounding."""
