"""The four predicted quantities: their names, and how their values are laid out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Layout:
    """How a predicted quantity lies in the arrays of many frames.

    Parameters
    ----------
    components
        Shape of one value: () is a number, (6,) a tensor in Voigt form, (3,) a vector.
    per_atom
        One value per atom, (sum N, ...), instead of one per frame, (n, ...).
    extensive
        It grows with the frame, and is compared per atom.
    """

    components: tuple[int, ...] = ()
    per_atom: bool = False
    extensive: bool = False

    def values(self, n_atoms: int) -> int:
        """How many values a frame has."""
        return n_atoms if self.per_atom else 1


LAYOUTS = {
    "energy": Layout(extensive=True),
    "forces": Layout((3,), per_atom=True),
    "stress": Layout((6,)),
    "magnetic_forces": Layout((3,), per_atom=True),
}
"""The four predicted quantities, in the order they are always reported."""

QUANTITIES = tuple(LAYOUTS)
"""Their names."""


def scales_of_old(stored: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Error models by quantity (:class:`magflow.core.calibration.Calibration`) as they are stored now.

    A number in place of one is its scale, as in magflow 0.1.
    """
    return {
        key: {"scale": value["scale"], "floor": value["floor"]}
        if isinstance(value, Mapping)
        else {"scale": value, "floor": 0.0}
        for key, value in stored.items()
        if not key.startswith("@")
    }
