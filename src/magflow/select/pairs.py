"""Periodic pair distances of many small frames at once.

A neighbour-list call per frame costs more than the distances of a 2-atom cell, so frames with equal numbers
of atoms and of periodic images are handled together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from magflow.core.frame import Frame
from magflow.core.types import FloatArray, IntArray

_CHUNK = 4_000_000
"""Pair distances held at once: about 100 MB with what is made from them."""


@dataclass(frozen=True)
class Pairs:
    """Every ordered pair closer than its frame's radius: frame (index in the batch), atom, neighbour, distance (A).

    An atom's own periodic images are among its neighbours, the atom itself is not.
    """

    frame: IntArray
    atom: IntArray
    neighbour: IntArray
    distance: FloatArray


def pair_batches(frames: Sequence[Frame], radii: FloatArray) -> Iterator[tuple[IntArray, Pairs]]:
    """Indices of a batch of frames with equal numbers of atoms, and their pairs within `radii` (n,), A."""
    batches: dict[tuple[int, ...], list[int]] = {}
    for index, counts in enumerate(_image_counts(frames, radii)):
        batches.setdefault((len(frames[index]), *counts), []).append(index)
    for (size, *reps), members in batches.items():
        step = max(1, _CHUNK // (size * size * int(np.prod(2 * np.array(reps) + 1))))
        for start in range(0, len(members), step):
            part = np.array(members[start : start + step])
            cells = np.array([frames[i].cell for i in part])
            positions = np.array([frames[i].positions for i in part])
            yield part, _pairs(positions, cells, radii[part], reps)


def _image_counts(frames: Sequence[Frame], radii: FloatArray) -> list[tuple[int, ...]]:
    """Periodic images needed along each axis once displacements are folded into +-1/2."""
    if not frames:
        return []
    heights = 1.0 / np.linalg.norm(np.linalg.inv(np.array([f.cell for f in frames])), axis=1)
    return [tuple(row) for row in np.floor(radii[:, None] / heights + 0.5).astype(int).tolist()]


def _pairs(positions: FloatArray, cells: FloatArray, radii: FloatArray, reps: Sequence[int]) -> Pairs:
    delta = positions[:, None, :, :] - positions[:, :, None, :]
    n, size = delta.shape[:2]
    fractional = delta.reshape(n, -1, 3) @ np.linalg.inv(cells)
    delta = (fractional - np.rint(fractional)) @ cells
    images = np.array(list(product(*(range(-r, r + 1) for r in reps))), dtype=float)
    shifts = images @ cells
    # |delta + shift|^2 through one matrix product: (n, N^2, images)
    squares = 2.0 * delta @ shifts.transpose(0, 2, 1)
    squares += (delta**2).sum(axis=2)[:, :, None]
    squares += (shifts**2).sum(axis=2)[:, None, :]
    itself = np.arange(size) * (size + 1)
    squares[:, itself, len(images) // 2] = np.inf
    f, ij, image = np.nonzero(squares < (radii**2)[:, None, None])
    return Pairs(f, ij // size, ij % size, np.sqrt(np.maximum(squares[f, ij, image], 0.0)))
