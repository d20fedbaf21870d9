"""What moments do while atoms are displaced; imports nothing, so that the command line can name it at once."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """What the moments do while an atom is displaced."""

    CLAMPED = "clamped"
    """They stay."""
    RELAXED = "relaxed"
    """They are brought to rest in each supercell."""
    ADIABATIC = "adiabatic"
    """They follow by algebra: the same in the limit of small displacements."""

    @property
    def told(self) -> str:
        """As a remark of a measurement."""
        return {
            Mode.CLAMPED: "moments clamped: force constants E_rr",
            Mode.RELAXED: "moments relaxed: at rest on the potential at each displacement",
            Mode.ADIABATIC: "moments adiabatic: they follow the atoms, force constants E_rr - E_rm E_mm^-1 E_mr",
        }[self]
