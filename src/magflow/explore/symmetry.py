"""What crystal a frame is: its composition and the symmetry of its atoms, their moments left aside (spglib)."""

from __future__ import annotations

from math import gcd
from typing import Any

import numpy as np

from magflow.core.frame import Frame

SYMPREC = 1e-3
"""A."""
FIRST_CUBIC = 195
"""Number of the first cubic space group."""


def spglib_cell(frame: Frame) -> Any:
    """Lattice, fractional positions and atomic numbers, as spglib takes them."""
    return frame.cell, np.linalg.solve(frame.cell.T, frame.positions.T).T, frame.numbers


def reduced_formula(frame: Frame) -> str:
    """``Fe``, ``AlFe3``: elements in alphabetical order, counts without their common divisor."""
    counts = {s: frame.species.count(s) for s in sorted(set(frame.species))}
    divisor = gcd(*counts.values())
    return "".join(f"{s}{n // divisor if n > divisor else ''}" for s, n in counts.items())


def space_group(frame: Frame) -> int:
    """Number of the space group; 1 if spglib finds none."""
    import spglib

    found = spglib.get_symmetry_dataset(spglib_cell(frame), symprec=SYMPREC)
    return 1 if found is None else int(found.number)


def atoms_of_conventional_cell(frame: Frame) -> int:
    """Atoms in the conventional cell of the crystal; those of `frame` if spglib finds no symmetry."""
    import spglib

    cell = spglib.standardize_cell(spglib_cell(frame), to_primitive=False, symprec=SYMPREC)
    return len(frame) if cell is None else len(cell[2])
