"""K-points: a fixed mesh, one from a spacing, or one set for every cell that is cut out of one crystal.

Supercells of different shapes agree in their energies only if they are sampled at the same points of the crystal's
Brillouin zone. A diagonal mesh can do that for repeats along the axes alone. For other shapes the points are those
of the plane waves that repeat in a lattice R of real space, k . R integer (P. Wisesa, K. A. McGill and T. Mueller,
Phys. Rev. B 93, 155109 (2016)): the same R for every cell that fits into it a whole number of times.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from magflow.core.frame import Frame
from magflow.core.protocols import Doubt
from magflow.core.types import FloatArray, IntArray
from magflow.errors import InputError

Mesh = tuple[PositiveInt, PositiveInt, PositiveInt]
Spacing = Annotated[float, Field(gt=0.0, le=1.0)]
"""1/A; the upper bound keeps ``kpoints: 4`` from being taken for a spacing."""

_MISFIT = 0.12  # of the cube's edge; a strain of a tenth is no misfit, a third of a lattice constant in four is


_UNEVEN = 1.9
"""Between the coarsest and the finest spacing of one mesh. Primitive and cubic cells of a metal differ by 1.4."""


class Shared(BaseModel):
    """K-points that all cells of one crystal share."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cube: PositiveFloat = Field(
        description="Edge of a cube, A, its sides along x, y and z: the k-points are those of waves that repeat in it, "
        "whatever the cell; 4 lattice constants are 4x4x4 in a cubic cell."
    )


def kpoint_lattice(cell: FloatArray, shared: Shared) -> IntArray:
    """(3, 3) integers K: the k-points are those of the waves that repeat along the rows of K @ `cell`.

    K @ `cell` is the lattice nearest to the cube. A strained cell has the integers of the ideal one, hence the same
    points in its own coordinates, and its energy is a smooth function of the strain.

    Raises
    ------
    InputError
        If the cell does not fit into the cube.
    """
    repeats: IntArray = np.rint(shared.cube * np.linalg.inv(cell)).astype(np.int64)
    if np.abs(repeats @ cell / shared.cube - np.eye(3)).max() > _MISFIT:
        edges = ", ".join(f"{edge:.2f}" for edge in np.linalg.norm(cell, axis=1))
        raise InputError(
            "the cell does not fit into the cube that the k-points are taken from",
            where="kpoints",
            seen=f"edges of {edges} A, a cube of {shared.cube:g} A",
            expected=f"whole numbers of the cell in each edge of the cube, to {100 * _MISFIT:.0f} %",
            hint="four lattice constants hold cubic, face- and body-centred cells of 1, 2 and 4 atoms in all shapes",
        )
    return repeats


def misfit(frame: Frame, kpoints: Mesh | float | Shared) -> str | None:
    """Why `frame` cannot be sampled at `kpoints`; None if it can."""
    if not isinstance(kpoints, Shared):
        return None
    try:
        kpoint_lattice(frame.cell, kpoints)
    except InputError as error:
        return str(error)
    return None


def kpoint_mesh(cell: FloatArray, kpoints: tuple[int, int, int] | float) -> tuple[int, int, int]:
    """The mesh itself, or the smallest one whose spacing |b_i| / n_i is not above `kpoints` (1/A, 2 pi included)."""
    if isinstance(kpoints, tuple):
        return kpoints
    a, b, c = (max(1, ceil(length / kpoints - 1e-8)) for length in _reciprocal_lengths(cell))
    return a, b, c


def uneven_mesh(mesh: tuple[int, int, int], frames: Sequence[Frame]) -> list[Doubt]:
    """Doubts about one mesh for cells, or edges of a cell, of such different lengths that some are sampled coarsely."""
    spacings = {frame.formula: mesh_spacings(mesh, frame.cell) for frame in frames}
    if not spacings:
        return []
    coarse = max(spacings, key=lambda name: max(spacings[name]))
    fine = min(spacings, key=lambda name: min(spacings[name]))
    most, least = max(spacings[coarse]), min(spacings[fine])
    if most <= _UNEVEN * least:
        return []
    both = f"{most:.2g} 1/A in {coarse}" + f" and {least:.2g} 1/A" + ("" if fine == coarse else f" in {fine}")
    hint = "give one spacing for all cells, or `cube`: energies from unlike meshes do not compare"
    return [Doubt("kpoints", f"the mesh {'x'.join(map(str, mesh))} is a spacing of {both}", hint)]


def mesh_spacings(mesh: tuple[int, int, int], cell: FloatArray) -> tuple[float, float, float]:
    """Between k-points along each reciprocal vector, 1/A, 2 pi included."""
    a, b, c = (float(length) / n for length, n in zip(_reciprocal_lengths(cell), mesh, strict=True))
    return a, b, c


def _reciprocal_lengths(cell: FloatArray) -> FloatArray:
    return np.asarray(2 * np.pi * np.linalg.norm(np.linalg.inv(cell), axis=0))


def kpoint_parameters(kpoints: tuple[int, int, int] | float | Shared) -> dict[str, Any]:
    """What a level of theory says about the k-points."""
    if isinstance(kpoints, Shared):
        return {"kpoint_cube_a": kpoints.cube}
    if isinstance(kpoints, tuple):
        return {"kpoint_mesh": list(kpoints)}
    return {"kpoint_spacing_per_a": kpoints}
