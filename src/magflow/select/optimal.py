r"""The batch that lowers the expected squared error over a domain most, chosen greedily (I-optimality).

With the posterior covariance C of the unknowns in whitened coordinates (C = 1 before the batch), the rows A_f of a
frame f and the rows A_t of the frames t of the domain, the expected squared error is tr(C T), T = sum_t A_t^T A_t. A
label of f takes away

.. math:: g_f = \mathrm{tr}\big[(1 + A_f C A_f^T)^{-1} A_f C\, T\, C A_f^T\big]

of it. The frame that takes most away, per core-second where the costs differ, joins the batch, and C becomes
C - U U^T with U = C A_f^T L^{-T}, L L^T = 1 + A_f C A_f^T: of rank no larger than the rows of f, so that what is kept
of every other frame - K = A C A^T and Y = A C S, S S^T = T - is brought up to date exactly by products with U.
Expected errors need no labels: the whole batch is chosen before any of it is computed. (Optimal designs for prediction:
Cohn, Neural Netw. 9, 1071 (1996); Yu, Bi, Tresp, ICML 2006.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, eigh, solve_triangular

from magflow.core.types import FloatArray, IntArray
from magflow.core.undecided import Rows

MOST_DIRECTIONS = 200
"""Directions in the space of the unknowns that are looked at: those the domain varies most along.

Fits to labels of two atoms have 100 to 180 effective unknowns of 500 to 1300.
"""
NEGLIGIBLE = 1e-6
"""Squared length, in units of the noise, below which a principal row of a frame tells nothing."""


@dataclass(frozen=True, eq=False)
class Aim:
    """What is to be known: T along its principal directions.

    Parameters
    ----------
    directions
        (P, Q) orthonormal, the largest first.
    sizes
        (Q,) eigenvalues of T.
    """

    directions: FloatArray
    sizes: FloatArray

    @classmethod
    def of(cls, gram: FloatArray) -> Aim:
        """The leading directions of T = `gram` (P, P)."""
        p = len(gram)
        sizes, directions = eigh(gram, subset_by_index=(max(0, p - MOST_DIRECTIONS), p - 1), check_finite=False)
        return cls(np.ascontiguousarray(directions[:, ::-1]), np.maximum(sizes[::-1], 0.0))


@dataclass(frozen=True, eq=False)
class Batch:
    """What was chosen.

    Parameters
    ----------
    chosen
        Indices of the frames, the first choice first.
    gains
        What each took off the expected squared error when it was chosen.
    before
        The expected squared error before.
    """

    chosen: IntArray
    gains: FloatArray
    before: float


@dataclass(eq=False)
class _Group:
    """Frames with equally many rows, and what is kept of them as the batch grows.

    Parameters
    ----------
    members
        (n,) their indices.
    rows
        (n, r, Q) A.
    seen, spread
        (n, r, Q) Y = A C S and (n, r, r) K = A C A^T.
    """

    members: IntArray
    rows: FloatArray
    seen: FloatArray
    spread: FloatArray

    def gains(self) -> FloatArray:
        """(n,) see the module."""
        lower = np.linalg.cholesky(self.spread + np.eye(self.rows.shape[1]))
        found: FloatArray = ((np.linalg.inv(lower) @ self.seen) ** 2).sum(axis=(1, 2))
        return found

    def know(self, update: FloatArray, of_aim: FloatArray) -> None:
        """Take away U U^T, `update` = U (Q, k); `of_aim` = U^T S (k, Q)."""
        along = self.rows @ update
        self.seen -= along @ of_aim
        self.spread -= along @ along.transpose(0, 2, 1)


def optimal_batch(
    rows: Rows,
    sizes: FloatArray,
    number: int,
    *,
    costs: FloatArray | None = None,
    strata: Sequence[str] | None = None,
    quotas: dict[str, int] | None = None,
) -> Batch:
    """Choose up to `number` frames.

    Parameters
    ----------
    rows
        Of n frames, along the directions of an :class:`Aim`.
    sizes
        (Q,) of that aim.
    costs
        (n,) core-seconds of a label; None: all the same.
    strata, quotas
        (n,) stratum of each frame, and how many of each stratum may be chosen; None: any.
    """
    root = np.sqrt(sizes)
    groups = _groups(rows, root)
    price = np.ones(len(rows)) if costs is None else np.asarray(costs, dtype=float)
    left = dict(quotas) if quotas is not None else {}
    names = list(strata) if strata is not None else []
    open_ = np.array([quotas is None or left[names[f]] > 0 for f in range(len(rows))], dtype=bool)
    known: FloatArray = np.zeros((len(root), 0))  # all U so far, side by side: C = 1 - known known^T
    chosen: list[int] = []
    taken: list[float] = []
    while len(chosen) < number and open_.any():
        gains = np.full(len(rows), -np.inf)
        for group in groups:
            gains[group.members] = group.gains()
        best = int(np.argmax(np.where(open_, gains / price, -np.inf)))
        chosen.append(best)
        taken.append(float(gains[best]))
        open_[best] = False
        if quotas is not None:
            left[names[best]] -= 1
            if not left[names[best]]:
                open_ &= np.array([name != names[best] for name in names])
        update = _update(rows.values[rows.begin[best] : rows.begin[best + 1]], known)
        known = np.concatenate([known, update], axis=1)
        for group in groups:
            group.know(update, update.T * root)
    return Batch(np.array(chosen, dtype=np.int64), np.array(taken), float(sizes.sum()))


def _update(rows: FloatArray, known: FloatArray) -> FloatArray:
    """(Q, r) U of a frame with these rows (r, Q)."""
    seen = rows.T - known @ (known.T @ rows.T)
    lower = cholesky(np.eye(len(rows)) + rows @ seen, lower=True, check_finite=False)
    update: FloatArray = solve_triangular(lower, seen.T, lower=True, check_finite=False).T
    return update


def _groups(rows: Rows, root: FloatArray) -> list[_Group]:
    heights = np.diff(rows.begin)
    groups = []
    for height in np.unique(heights).tolist():
        members = np.flatnonzero(heights == height)
        mine = rows.values[rows.begin[members][:, None] + np.arange(height)]
        groups.append(_Group(members, mine, mine * root, mine @ mine.transpose(0, 2, 1)))
    return groups


def compressed(rows: Rows) -> Rows:
    """Rows with the same A_f^T A_f of every frame but for what is :data:`NEGLIGIBLE`, and no more than that needs.

    A frame of 64 atoms has 263 rows, most of which repeat each other.
    """
    parts = []
    for a, b in zip(rows.begin[:-1], rows.begin[1:], strict=True):
        _, lengths, turned = np.linalg.svd(rows.values[a:b], full_matrices=False)
        # A multiple of eight, so that frames come in few heights, which are worked on together.
        keep = -(-int((lengths**2 > NEGLIGIBLE).sum()) // 8) * 8
        parts.append(lengths[:keep, None] * turned[:keep])
    begin = np.concatenate([[0], np.cumsum([len(p) for p in parts], dtype=np.int64)])
    return Rows(np.concatenate(parts) if parts else rows.values, begin)
