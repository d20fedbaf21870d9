"""Overlap of the constraint spheres, periodic images included."""

from __future__ import annotations

import numpy as np

from magflow.core.frame import Frame
from magflow.core.types import FloatArray


def overlap_fraction(distance: FloatArray, a: FloatArray, b: FloatArray) -> FloatArray:
    """Volume shared by two spheres of radii `a` and `b` at `distance`, over the volume of the smaller one.

    The lens of two spheres, V = pi (a + b - d)^2 (d^2 + 2 d (a + b) - 3 (a - b)^2) / (12 d); the ratio is the
    "voluminal overlap" that ABINIT compares with ``pawovlp``.
    """
    small = np.minimum(a, b)
    gap = a + b - distance
    with np.errstate(divide="ignore", invalid="ignore"):
        lens = np.pi * gap**2 * (distance**2 + 2 * distance * (a + b) - 3 * (a - b) ** 2) / (12 * distance)
    ratio = lens / (4 / 3 * np.pi * small**3)
    return np.where(gap <= 0, 0.0, np.where(distance <= np.abs(a - b), 1.0, ratio))


def largest_overlap(frame: Frame, radii: FloatArray) -> tuple[float, int, int, float]:
    """The worst pair of spheres: fraction shared, both atoms, their distance (A).

    Parameters
    ----------
    radii
        (N,) A.

    Returns
    -------
    tuple
        ``(0.0, 0, 0, inf)`` if no two spheres touch.
    """
    from ase.neighborlist import primitive_neighbor_list

    i, j, d = primitive_neighbor_list(
        "ijd", (True, True, True), frame.cell, frame.positions, np.asarray(radii, dtype=float), self_interaction=False
    )
    if not len(i):
        return 0.0, 0, 0, float("inf")
    fractions = overlap_fraction(d, radii[i], radii[j])
    worst = int(np.argmax(fractions))
    return float(fractions[worst]), int(i[worst]), int(j[worst]), float(d[worst])
