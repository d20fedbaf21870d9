"""Frames to and from pymatgen ``Structure``: moments as the site property ``magmom``, lossless.

Not through ``AseAtomsAdaptor``, which drops ``Species(spin=)``, files moments of a calculator under another name and,
in some versions, turns a vector moment into its norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.moments import as_vectors, is_collinear
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.io.quantities import MOMENTS, spelled
from magflow.io.records import check_periodic

if TYPE_CHECKING:
    from pymatgen.core import Structure

_CARTESIAN = "cartesian_position"
_INDEX = "frame_index"


def to_structure(frame: Frame) -> Structure:
    """The structure of `frame`, sites in the same order.

    Collinear moments become numbers, others lists of three; without moments there is no site property. The exact
    Cartesian positions travel along as a site property because a round trip through fractional coordinates
    changes the last digits.
    """
    from pymatgen.core import Lattice, Structure

    properties: dict[str, list[Any]] = {_CARTESIAN: frame.positions.tolist()}
    if frame.magmoms is not None:
        flat = is_collinear(frame.magmoms)
        properties["magmom"] = (frame.magmoms[:, 2] if flat else frame.magmoms).tolist()
    if frame.constrained is not None:
        properties["constrained"] = frame.constrained.tolist()
    return Structure(
        Lattice(frame.cell), list(frame.species), frame.positions, coords_are_cartesian=True, site_properties=properties
    )


def from_structure(structure: Structure) -> Frame:
    """The frame of an ordered structure.

    Moments come from the site property ``magmom``, or another name for them (numbers, triples or pymatgen ``Magmom``),
    or from the spins of the species.

    Raises
    ------
    InputError
        If a site is disordered, only some sites have a moment, two sources of moments disagree, or the structure is
        not periodic in all directions.
    """
    if not structure.is_ordered:
        raise InputError(
            "the structure has sites with mixed occupation",
            seen=structure.formula,
            expected="one element per site",
            hint="enumerate ordered structures first",
        )
    check_periodic(np.array(structure.lattice.pbc))
    constrained = structure.site_properties.get("constrained")
    return Frame(
        tuple(site.specie.symbol for site in structure),
        structure.lattice.matrix,
        _positions(structure),
        _moments(structure),
        None if constrained is None else np.array(constrained, dtype=bool),
    )


def site_order(frame: Frame) -> list[int]:
    """The order in which pymatgen's input sets put the atoms of `frame`: their k-th site is atom ``order[k]``.

    Species stand in blocks by electronegativity; within one the order is kept, so sorting again changes nothing.
    """
    structure = to_structure(frame)
    structure.add_site_property(_INDEX, list(range(len(frame))))
    return [site.properties[_INDEX] for site in structure.get_sorted_structure()]


def right_handed(structure: Structure) -> Structure:
    """The same crystal with a right-handed cell: pymatgen writes the POSCAR of a left-handed one inverted.

    Reversing one lattice vector changes the cell and nothing else; inversion would reverse the forces.
    """
    from pymatgen.core import Lattice, Structure

    matrix = structure.lattice.matrix
    if np.linalg.det(matrix) > 0:
        return structure
    return Structure(
        Lattice(matrix * [[1], [1], [-1]]),
        structure.species,
        structure.cart_coords,
        coords_are_cartesian=True,
        site_properties=structure.site_properties,
    )


def _positions(structure: Structure) -> FloatArray:
    """Exact positions where they were kept and the sites have not moved since."""
    kept = structure.site_properties.get(_CARTESIAN)
    if kept is not None and all(k is not None for k in kept):
        exact = np.array(kept, dtype=float)
        if exact.shape == structure.cart_coords.shape and np.allclose(exact, structure.cart_coords, rtol=0, atol=1e-9):
            return exact
    positions: FloatArray = structure.cart_coords
    return positions


def _moments(structure: Structure) -> FloatArray | None:
    """Moments by any name that stands for moments; spins of the species serve as well."""
    properties = structure.site_properties
    named = {name: values for name, values in properties.items() if _stands_for_moments(name)}
    named["the spins of the species"] = [getattr(site.specie, "spin", None) for site in structure]
    found = {name: m for name, values in named.items() if (m := _complete(values, name)) is not None}
    if not found:
        return None
    (first, moments), *others = found.items()
    for name, other in others:
        if not np.array_equal(moments, other):
            raise InputError(
                f"{first} and {name} disagree about the moments",
                seen=f"{moments.tolist()} and {other.tolist()}",
                hint="remove one of them",
            )
    return moments


def _stands_for_moments(name: str) -> bool:
    spelling = spelled(name)
    return spelling is not None and spelling.quantity in MOMENTS


def _complete(values: Sequence[Any] | None, name: str) -> FloatArray | None:
    """(N, 3) from one value per site; None if no site has one."""
    if values is None or all(v is None for v in values):
        return None
    missing = [i for i, v in enumerate(values) if v is None]
    if missing:
        raise InputError(f"only some sites have a {name}", seen=f"sites without: {missing}", expected="all or none")
    plain = [getattr(v, "global_moment", v) for v in values]
    if any(np.ndim(p) for p in plain):
        plain = [p if np.ndim(p) else (0.0, 0.0, p) for p in plain]
    return as_vectors(plain, len(plain), where=name)
