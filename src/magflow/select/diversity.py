"""Farthest-point sampling: each pick is as far as can be from everything picked or known before."""

from __future__ import annotations

import numpy as np

from magflow.core.types import FloatArray, IntArray

_SAME = 1e-9
"""Squared distance, in units of the columns' variance, below which two descriptors are one."""


def standardise(descriptors: FloatArray, known: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both arrays in units of the standard deviation of both together; columns that do not vary are dropped."""
    both = np.concatenate([np.asarray(descriptors, dtype=float), np.asarray(known, dtype=float)])
    mean, spread = both.mean(axis=0), both.std(axis=0)
    keep = spread > 1e-8 * np.maximum(1.0, np.abs(mean))
    both = (both[:, keep] - mean[keep]) / spread[keep]
    return both[: len(descriptors)], both[len(descriptors) :]


def farthest(points: FloatArray, taken: FloatArray, count: int) -> IntArray:
    """Indices of up to `count` rows of `points`, in the order of picking.

    Parameters
    ----------
    points
        (n, d) standardised descriptors of the candidates.
    taken
        (m, d) what is there already; no pick coincides with a row of it. With none, the first pick is the candidate
        nearest to the mean.

    Returns
    -------
    IntArray
        Fewer than `count` if the rest coincides with what is taken.
    """
    from skmatter.sample_selection import FPS

    n, m = len(points), len(taken)
    count = min(count, n)
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    if points.shape[1] == 0:
        return np.arange(0 if m else 1)
    if m:
        start = list(range(m))
    else:
        start = [int(((points - points.mean(axis=0)) ** 2).sum(axis=1).argmin())]
        if count == 1:
            return np.array(start)
    everything = np.concatenate([taken, points])
    if everything.shape[1] == 1:  # the sampler refuses a single column
        everything = np.column_stack([everything, np.zeros(m + n)])
    sampler = FPS(initialize=start, n_to_select=(m + count) if m else count).fit(everything)
    picks = np.asarray(sampler.selected_idx_, dtype=np.int64)
    distances = sampler.hausdorff_at_select_[picks]
    fresh = distances > _SAME * everything.shape[1]
    if m:
        fresh[:m] = False
    among: IntArray = picks[fresh] - m
    return among
