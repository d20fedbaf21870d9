"""How much the magnetic states of one structure differ in energy, of the equations of state that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from magflow.properties.equation_of_state import EquationOfState
from magflow.properties.measurement import Measurement, Value

_ENERGY = "energy"


@dataclass(frozen=True)
class EnergyDifference:
    """A state above the lowest one of its structure, each at its own volume at rest.

    Parameters
    ----------
    structure, state
        Which.
    lowest
        The state it is above of.
    energy
        meV/atom.
    spread
        Of the energies of both states over the members, as if they were independent, meV/atom: an upper bound, for the
        members err alike. None: not known.
    """

    structure: str
    state: str
    lowest: str
    energy: float
    spread: float | None


def energy_differences(measurements: Sequence[Measurement]) -> list[EnergyDifference]:
    """Of all equations of state of one potential, structure by structure, rising; none where only one state has one."""
    states: dict[tuple[str, str], dict[str, Value]] = {}
    for m in measurements:
        if m.property != EquationOfState.name:
            continue
        of_structure = states.setdefault((m.structure, m.formula), {})
        for energy in (v for v in m.values if v.name == _ENERGY):
            kept = of_structure.setdefault(m.magnetic_state, energy)
            if energy.value < kept.value:  # of the patterns of one order the lowest
                of_structure[m.magnetic_state] = energy
    return [d for (structure, _), found in states.items() if len(found) > 1 for d in _above_lowest(structure, found)]


def _above_lowest(structure: str, energies: dict[str, Value]) -> list[EnergyDifference]:
    lowest, *others = sorted(energies, key=lambda state: energies[state].value)
    return [
        EnergyDifference(
            structure,
            state,
            lowest,
            1e3 * (energies[state].value - energies[lowest].value),
            _together(energies[state].spread, energies[lowest].spread),
        )
        for state in others
    ]


def _together(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else 1e3 * float(np.hypot(one, other))
