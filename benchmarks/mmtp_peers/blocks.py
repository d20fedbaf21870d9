"""Neighbour lists as dense blocks of atoms, the layout of the JAX route.

The last block is filled up with atoms that have no neighbours, and neighbours with pairs at the cutoff, where the
potential and its derivatives vanish.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from magflow.potentials.mmtp.geometry import Geometry


@dataclass(frozen=True, eq=False)
class Blocks:
    """B blocks of K atoms, in order, with up to M neighbours.

    Parameters
    ----------
    type, moment, present
        (B, K), and muB; `present` is 1.0 for an atom and 0.0 for none.
    neighbour
        (B, K, M) which atom; B K where there is none.
    neighbour_type
        (B, K, M)
    vector
        (B, 3, K, M) A, from the atom to its neighbour.
    """

    type: np.ndarray
    moment: np.ndarray
    present: np.ndarray
    neighbour: np.ndarray
    neighbour_type: np.ndarray
    vector: np.ndarray


def blocks_of(geometry: Geometry, size: int, cutoff: float) -> Blocks:
    """The neighbour lists of `geometry` in blocks of `size` atoms."""
    n, counts = len(geometry.type), np.diff(geometry.first)
    n_blocks, width = -(-n // size), int(counts.max(initial=1))

    def padded(values: np.ndarray) -> np.ndarray:
        out = np.zeros(n_blocks * size, dtype=values.dtype)
        out[:n] = values
        return out.reshape(n_blocks, size)

    atom = np.repeat(np.arange(n), counts)
    slot = np.arange(len(atom)) - np.repeat(geometry.first[:-1], counts)
    block, row = np.divmod(atom, size)
    neighbour = np.full((n_blocks, size, width), n_blocks * size, dtype=np.int32)
    neighbour[block, row, slot] = geometry.neighbour
    neighbour_type = np.zeros((n_blocks, size, width), dtype=np.int32)
    neighbour_type[block, row, slot] = geometry.type[geometry.neighbour]
    vector = np.zeros((n_blocks, 3, size, width))
    vector[:, 0] = cutoff
    vector[block, :, row, slot] = geometry.vector
    present = padded(np.ones(n))
    return Blocks(padded(geometry.type), padded(geometry.moment), present, neighbour, neighbour_type, vector)
