"""The four quantities as a person reads them: title, unit and the factor from the unit of the house."""

from __future__ import annotations

from dataclasses import dataclass

from magflow.core.constants import EV_PER_A3_IN_GPA
from magflow.core.quantities import QUANTITIES


@dataclass(frozen=True)
class Quantity:
    """How one predicted quantity is shown.

    Parameters
    ----------
    name
        The name of the house, one of :data:`magflow.core.quantities.QUANTITIES`.
    title
        For headings.
    unit, factor
        Unit in which errors are shown, and house unit to that unit.
    value_unit, value_factor
        The same for the values themselves, in parity plots.
    """

    name: str
    title: str
    unit: str
    factor: float
    value_unit: str
    value_factor: float


_SHOWN = {
    "energy": Quantity("energy", "Energy", "meV/atom", 1e3, "eV/atom", 1.0),
    "forces": Quantity("forces", "Forces", "meV/Å", 1e3, "eV/Å", 1.0),
    "stress": Quantity("stress", "Stress", "GPa", EV_PER_A3_IN_GPA, "GPa", EV_PER_A3_IN_GPA),
    "magnetic_forces": Quantity("magnetic_forces", "Magnetic forces", "meV/μB", 1e3, "eV/μB", 1.0),
}

SHOWN: tuple[Quantity, ...] = tuple(_SHOWN[name] for name in QUANTITIES)
"""All quantities, in the order they are always reported."""


def quantity(name: str) -> Quantity:
    """How `name` is shown; a quantity nobody declared is shown as it is, in house units."""
    return _SHOWN.get(name) or Quantity(name, name.replace("_", " "), "house units", 1.0, "house units", 1.0)


def shown(name: str, error: float) -> str:
    """An error of the quantity `name`, in house units, as a person reads it: ``energy 4.2 meV/atom``."""
    q = quantity(name)
    return f"{q.title.lower()} {error * q.factor:.3g} {q.unit}"
