"""K-point meshes: fixed, or from a spacing."""

from __future__ import annotations

from math import ceil
from typing import Annotated, Any

import numpy as np
from pydantic import Field, PositiveInt

from magflow.core.types import FloatArray

Mesh = tuple[PositiveInt, PositiveInt, PositiveInt]
Spacing = Annotated[float, Field(gt=0.0, le=1.0)]
"""1/A; the upper bound keeps ``kpoints: 4`` from being taken for a spacing."""


def kpoint_mesh(cell: FloatArray, kpoints: tuple[int, int, int] | float) -> tuple[int, int, int]:
    """The mesh itself, or the smallest one whose spacing |b_i| / n_i is not above `kpoints` (1/A, 2 pi included)."""
    if isinstance(kpoints, tuple):
        return kpoints
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell), axis=0)
    a, b, c = (max(1, ceil(length / kpoints - 1e-8)) for length in lengths)
    return a, b, c


def kpoint_parameters(kpoints: tuple[int, int, int] | float) -> dict[str, Any]:
    """What a level of theory says about the mesh."""
    if isinstance(kpoints, tuple):
        return {"kpoint_mesh": list(kpoints)}
    return {"kpoint_spacing_per_a": kpoints}
