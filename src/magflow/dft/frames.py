"""What a kind of label asks of a frame, and whether what was computed is that frame."""

from __future__ import annotations

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import LabelKind
from magflow.core.types import BoolArray, FloatArray

_SAME = 1e-3
"""A; positions that differ by less are the same, however many digits a program writes."""


def held_atoms(frame: Frame) -> BoolArray:
    """(N,) which atoms a constrained label holds at their moment."""
    return np.ones(len(frame), bool) if frame.constrained is None else frame.constrained


def lacks_moments(frame: Frame, kind: LabelKind) -> str | None:
    """Why there is no label of `kind` without moments; None if `frame` has them or none are needed."""
    if frame.magmoms is not None or kind == LabelKind.NON_MAGNETIC:
        return None
    return f"a {kind} label needs moments and the frame has none"


def foreign_structure(frame: Frame, species: tuple[str, ...], cell: FloatArray, fractions: FloatArray) -> str | None:
    """How the structure that a program says it computed differs from `frame`; None if it is the same.

    Parameters
    ----------
    species
        (N,) chemical symbols, in the order of the frame.
    cell
        (3, 3) A, rows are lattice vectors.
    fractions
        (N, 3) positions in units of the lattice vectors; whole ones do not matter.
    """
    if species != frame.species:
        return f"it computed {' '.join(species)} instead of {' '.join(frame.species)}"
    if not np.abs(cell - frame.cell).max() < _SAME:
        return f"it computed another cell, off by {np.abs(cell - frame.cell).max():.3g} A"
    apart = fractions - frame.positions @ np.linalg.inv(frame.cell)
    distance = np.linalg.norm((apart - np.rint(apart)) @ frame.cell, axis=1)
    if not distance.max() < _SAME:
        return f"it computed another structure: atom {int(distance.argmax()) + 1} is {distance.max():.3g} A away"
    return None
