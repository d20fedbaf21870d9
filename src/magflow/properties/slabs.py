"""Slabs of a crystal, as pymatgen cuts them: planes by the indices of the conventional cell, moments taken along."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import TYPE_CHECKING, Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.types import FloatArray
from magflow.explore.symmetry import SYMPREC, spglib_cell
from magflow.properties.at_rest import decorated, kinds

if TYPE_CHECKING:
    from pymatgen.core.surface import Slab

Plane = tuple[int, int, int]
_FINEST = 12
"""Largest denominator of an index in the vectors of another cell."""


def in_own_vectors(crystal: Frame, plane: Plane) -> Plane:
    """`plane` of the conventional cell (moments left aside) by its indices in the vectors of `crystal`."""
    import spglib

    found = spglib.get_symmetry_dataset(spglib_cell(crystal), symprec=SYMPREC)
    turn = np.eye(3) if found is None else np.asarray(found.transformation_matrix)
    return _coprime(turn.T @ np.array(plane))


def cuts(crystal: Frame, plane: Plane, thickness: float, vacuum: float) -> list[Frame]:
    """Every slab parallel to `plane` that no symmetry carries into another: several, where unlike layers alternate.

    A slab holds whole cells of the crystal: it is of its composition, and the two faces are those of one cut. Its third
    vector stands upright on the faces.

    Parameters
    ----------
    plane
        By the vectors of `crystal`.
    thickness, vacuum
        At least, A.
    """
    from pymatgen.core.surface import SlabGenerator

    primitive = _primitive(crystal)
    index = _coprime(primitive.cell @ np.linalg.solve(crystal.cell, np.array(plane, dtype=float)))
    structure = decorated(primitive)
    sites = {str(site.specie): k for k, site in reversed(list(enumerate(structure)))}
    made = SlabGenerator(structure, index, thickness, vacuum, center_slab=True)
    return [_frame(slab, primitive, sites) for slab in made.get_slabs()]


def heights(slab: Frame) -> FloatArray:
    """(N,) of the atoms above the plane of the first two vectors, A."""
    normal = np.cross(slab.cell[0], slab.cell[1])
    found: FloatArray = slab.positions @ normal / np.linalg.norm(normal)
    return found


def depths(slab: Frame) -> FloatArray:
    """(N,) how far each atom lies below the outermost one of the nearer face, A."""
    height = heights(slab)
    found: FloatArray = np.minimum(height - height.min(), height.max() - height)
    return found


def area(slab: Frame) -> float:
    """Of one face, A^2."""
    return float(np.linalg.norm(np.cross(slab.cell[0], slab.cell[1])))


def _primitive(crystal: Frame) -> Frame:
    """The smallest cell that repeats elements and moments, in the orientation of `crystal`."""
    import spglib

    kind = kinds(crystal)
    told: Any = (*spglib_cell(crystal)[:2], kind + 1)
    found: Any = spglib.standardize_cell(told, to_primitive=True, no_idealize=True, symprec=SYMPREC)
    if found is None:
        return crystal
    vectors, places, types = found
    first = [int(np.flatnonzero(kind == t - 1)[0]) for t in types]
    magmoms = None if crystal.magmoms is None else crystal.magmoms[first]
    return Frame(tuple(crystal.species[k] for k in first), vectors, places @ vectors, magmoms)


def _frame(slab: Slab, crystal: Frame, sites: dict[str, int]) -> Frame:
    """`slab` with the moments of the atoms of `crystal` that it repeats; `sites`: one of each kind."""
    upright = slab.get_orthogonal_c_slab()
    atoms = [sites[str(site.specie)] for site in upright]
    magmoms = None if crystal.magmoms is None else crystal.magmoms[atoms]
    return Frame(tuple(crystal.species[k] for k in atoms), upright.lattice.matrix, upright.cart_coords, magmoms)


def _coprime(indices: Sequence[float] | np.ndarray) -> Plane:
    """The smallest integers in the proportion of `indices`."""
    parts = [Fraction(float(x)).limit_denominator(_FINEST) for x in indices]
    factor = lcm(*(p.denominator for p in parts))
    whole = [int(p * factor) for p in parts]
    h, k, l = (x // gcd(*whole) for x in whole)  # noqa: E741
    return h, k, l
