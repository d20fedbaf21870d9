"""What a relaxation holds, when it counts as converged, and where it gives up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from magflow.core.units import EV_PER_A3_IN_GPA
from magflow.errors import InputError
from magflow.explore.relaxation.coordinates import Residuals
from magflow.explore.relaxation.held import Held

TOLERANCE = 1e-3
"""eV/muB; moments count as relaxed when no magnetic force that is free to act exceeds it."""


@dataclass(frozen=True)
class Unmet:
    """A quantity that is not at rest: its name, what is left and what would have been allowed, in `unit`."""

    quantity: str
    left: float
    tolerance: float
    unit: str

    def __str__(self) -> str:
        return f"{self.quantity} {self.left:.3g} {self.unit}, allowed {self.tolerance:.3g}"


@dataclass(frozen=True)
class RelaxSettings:
    """Settings of :func:`magflow.explore.relaxation.joint.relax`.

    Parameters
    ----------
    held
        What stays as it is. Held atoms still follow the cell.
    pressure_gpa
        Target pressure, GPa, positive in compression.
    forces_tolerance
        Largest force left, eV/A.
    magnetic_forces_tolerance
        Largest magnetic force left, eV/muB.
    stress_tolerance_gpa
        Largest component of the stress left beyond the target, GPa.
    max_evaluations
        Predictions after which it gives up.
    min_distance
        A; two atoms closer than this end it. None: 0.7 of the shortest distance of the start.
    max_volume_change
        Relative change of the volume that ends it.
    energy_window
        Fall of energy and enthalpy that ends it, eV/atom: no metal relaxes that far, the potential has a hole.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    held: frozenset[Held] = frozenset()
    pressure_gpa: float = 0.0
    forces_tolerance: float = 1e-3
    magnetic_forces_tolerance: float = TOLERANCE
    stress_tolerance_gpa: float = 0.01
    max_evaluations: int = 1000
    min_distance: float | None = None
    max_volume_change: float = 0.4
    energy_window: float = 3.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "held", frozenset(self.held))
        if not np.isfinite(self.pressure_gpa):
            raise InputError("not a pressure", where="relaxation", seen=self.pressure_gpa, expected="a number, GPa")
        for name in (
            "forces_tolerance",
            "magnetic_forces_tolerance",
            "stress_tolerance_gpa",
            "max_evaluations",
            "min_distance",
            "max_volume_change",
            "energy_window",
        ):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise InputError(f"{name} is out of range", where="relaxation", seen=value, expected="above 0")

    @property
    def pressure(self) -> float:
        """Target pressure, eV/A^3."""
        return self.pressure_gpa / EV_PER_A3_IN_GPA

    def unmet(self, residuals: Residuals) -> tuple[Unmet, ...]:
        """The quantities above their tolerance, the worst first; what is held is not asked."""
        return tuple(u for u in self._ranked(residuals) if not u.left <= u.tolerance)

    def worst(self, residuals: Residuals) -> float:
        """Largest ratio of what is left to its tolerance; 0 if nothing is free."""
        return max((u.left / u.tolerance for u in self._ranked(residuals)), default=0.0)

    def _ranked(self, residuals: Residuals) -> list[Unmet]:
        return sorted(self._each(residuals), key=lambda u: -u.left / u.tolerance)

    def _each(self, residuals: Residuals) -> Iterator[Unmet]:
        if residuals.forces is not None:
            yield Unmet("force", residuals.forces, self.forces_tolerance, "eV/A")
        if residuals.stress is not None:
            yield Unmet("stress", residuals.stress * EV_PER_A3_IN_GPA, self.stress_tolerance_gpa, "GPa")
        if residuals.magnetic_forces is not None:
            yield Unmet("magnetic force", residuals.magnetic_forces, self.magnetic_forces_tolerance, "eV/muB")
