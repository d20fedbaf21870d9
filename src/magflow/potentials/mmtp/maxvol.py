"""Square submatrices of large volume.

Goreinov, Oseledets, Savostyanov, Tyrtyshnikov and Zamarashkin, "How to find a good submatrix" (2010): with A the
chosen rows and C = rows A^-1, swapping row i in for the j-th chosen one multiplies |det A| by |C_ij|. Swap the largest
entry in until none exceeds the tolerance; each swap is a rank-one update of C.
"""

from __future__ import annotations

import numpy as np

from magflow.core.types import FloatArray

TOLERANCE = 1.001
"""MLIP's ``threshold_select``."""
_IN_CACHE = 1 << 16
"""Entries of C updated and searched at a time."""
_ROUNDS = 50
"""Fresh computations of C; one or two are enough unless the rows are nearly dependent."""


def independent_rows(rows: FloatArray) -> np.ndarray:
    """(r,) indices of well-conditioned rows of an (n, r) matrix of rank r, by pivoted QR."""
    from scipy.linalg import qr  # late: who reads a campaign needs none of it

    _, _, pivots = qr(rows.T, pivoting=True, mode="economic")
    return np.array(pivots[: rows.shape[1]])


def maxvol(rows: FloatArray, start: np.ndarray | None = None) -> np.ndarray:
    """Row indices of a square submatrix of (locally) largest volume.

    Parameters
    ----------
    rows
        (n, r) of rank r, n >= r.
    start
        (r,) rows to start from, independent; None: :func:`independent_rows`.

    Returns
    -------
    (r,) indices; no entry of ``rows @ inv(rows[indices])`` exceeds 1.001 in size.
    """
    chosen = independent_rows(rows) if start is None else np.array(start)
    for _ in range(_ROUNDS):
        if not _swap(rows @ np.linalg.inv(rows[chosen]), chosen):
            break
    return chosen


def _swap(c: FloatArray, chosen: np.ndarray) -> int:
    """Swap rows into `chosen` until none gains volume, updating `c` (n, r) in place; number of swaps."""
    step = max(1, _IN_CACHE // c.shape[1])
    blocks = [c[a : a + step] for a in range(0, len(c), step)]
    largest = [_largest(block) for block in blocks]
    scratch = np.empty((step, c.shape[1]))
    swaps = 0
    while True:
        b = int(np.argmax(largest))
        if largest[b] <= TOLERANCE:
            return swaps
        i, j = divmod(int(np.abs(blocks[b]).argmax()), c.shape[1])
        pivot, row = blocks[b][i, j], blocks[b][i].copy()
        row[j] -= 1.0
        for k, block in enumerate(blocks):
            change = scratch[: len(block)]
            np.multiply.outer(block[:, j] / pivot, row, out=change)
            block -= change
            largest[k] = _largest(block)
        chosen[j] = b * step + i
        swaps += 1


def _largest(block: FloatArray) -> float:
    return max(float(block.max()), -float(block.min()))
