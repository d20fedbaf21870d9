"""Geometry of frames: shortest distances and supercells."""

from __future__ import annotations

import numpy as np

from magflow.core.frame import Frame
from magflow.core.neighbours import NeighborList
from magflow.core.types import BoolArray, FloatArray


def too_close(cells: FloatArray, positions: FloatArray, shortest: float) -> BoolArray:
    """(n,) whether any two atoms (images included) are closer than `shortest` A.

    `cells` (n, 3, 3) and `positions` (n, N, 3), A.
    """
    search = NeighborList(cutoff=shortest, full_list=False, n_threads=1)
    return np.array(
        [
            search.compute(points=x, box=c, periodic=True, quantities="d", copy=False)[0].size > 0
            for c, x in zip(cells, positions, strict=True)
        ],
        dtype=bool,
    )


def nearest_distance(frame: Frame) -> float:
    """Shortest distance between two atoms of a frame, images included, A."""
    # every atom has an image at the shortest lattice vector, so nothing nearest lies beyond it; most are far nearer
    farthest = float(np.linalg.norm(frame.cell, axis=1).min()) * 1.001
    reach = min(1.5 * float(np.cbrt(frame.volume / len(frame))), farthest)
    while True:
        search = NeighborList(cutoff=reach, full_list=False, n_threads=1)
        (distances,) = search.compute(points=frame.positions, box=frame.cell, periodic=True, quantities="d")
        if distances.size:
            return float(distances.min())
        reach = min(2.0 * reach, farthest)


def repeated(frame: Frame, repeats: tuple[int, int, int]) -> Frame:
    """The supercell, moments and constraint flags repeated with the atoms; unit cells follow one another."""
    if repeats == (1, 1, 1):
        return frame
    steps = np.array([(i, j, k) for i in range(repeats[0]) for j in range(repeats[1]) for k in range(repeats[2])])
    return stacked(frame, steps @ frame.cell, frame.cell * np.array(repeats)[:, None])


def stacked(frame: Frame, shifts: FloatArray, cell: FloatArray) -> Frame:
    """Copies of the frame, moved by `shifts` (n, 3), A, in a larger cell, one after another."""
    n = len(shifts)
    return Frame(
        frame.species * n,
        cell,
        (frame.positions[None] + shifts[:, None]).reshape(-1, 3),
        None if frame.magmoms is None else np.tile(frame.magmoms, (n, 1)),
        None if frame.constrained is None else np.tile(frame.constrained, n),
    )
