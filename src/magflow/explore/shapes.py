"""All the shapes a supercell of so many unit cells can have.

A phonon of wave vector q fits into a cell of det S unit cells when S q is a vector of integers. Cells along the axes
reach few wave vectors for many atoms; cells of every shape reach all that a mesh of n points has along any direction
with n unit cells (J. H. Lloyd-Williams and B. Monserrat, Phys. Rev. B 92, 184301 (2015)), so that a few atoms show
what the interactions beyond the first neighbours do.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from magflow.core.frame import Frame
from magflow.core.types import IntArray
from magflow.explore.geometry import stacked


def cells_of(frame: Frame, size: int) -> list[Frame]:
    """Every supercell of `size` copies of `frame` that no symmetry of the crystal carries into another.

    Sublattices are told apart by their Hermite normal forms and the rotations of the space group (G. L. W. Hart and
    R. W. Forcade, Phys. Rev. B 77, 224115 (2008)); the vectors of each are the shortest it has. The most compact cell
    comes first.
    """
    from ase.geometry import minkowski_reduce

    rotations = _rotations(frame)
    found: list[IntArray] = []
    for matrix in _hermite_forms(size):
        images = matrix @ rotations
        if not any(_same_lattice(images, other) for other in found):
            found.append(matrix)
    out = []
    for matrix in found:
        steps = np.array(list(product(*(range(n) for n in np.diag(matrix)))))
        cell, _ = minkowski_reduce(matrix @ frame.cell)
        cell *= np.sign(np.linalg.det(cell))
        out.append(stacked(frame, steps @ frame.cell, cell))
    return sorted(out, key=lambda f: tuple(np.round(np.sort(np.linalg.norm(f.cell, axis=1))[::-1], 6)))


def _hermite_forms(determinant: int) -> Iterator[IntArray]:
    """All upper-triangular integer matrices of a determinant whose rows span different lattices."""
    divisors = [n for n in range(1, determinant + 1) if determinant % n == 0]
    for a, c in product(divisors, repeat=2):
        if determinant % (a * c):
            continue
        f = determinant // (a * c)
        for b, d, e in product(range(c), range(f), range(f)):
            yield np.array([[a, b, d], [0, c, e], [0, 0, f]])


def _rotations(frame: Frame) -> IntArray:
    """(G, 3, 3) what the point group of the crystal does to lattice vectors written as rows of integers."""
    import spglib

    fractional = np.asarray(np.linalg.solve(frame.cell.T, frame.positions.T).T, dtype=float)
    symmetry = spglib.get_symmetry((frame.cell.tolist(), fractional.tolist(), frame.numbers.tolist()), symprec=1e-3)
    if symmetry is None:
        return np.eye(3, dtype=np.int64)[None]
    return np.unique(np.asarray(symmetry["rotations"], dtype=np.int64).transpose(0, 2, 1), axis=0)


def _same_lattice(images: IntArray, other: IntArray) -> bool:
    """Whether the rows of any of `images` (G, 3, 3) span the lattice that those of `other` span."""
    steps = images @ np.linalg.inv(other)
    return bool((np.abs(steps - np.rint(steps)).max(axis=(1, 2)) < 1e-6).any())
