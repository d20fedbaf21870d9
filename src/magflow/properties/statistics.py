"""Means of correlated series: where they come to equilibrium, how much they tell, and their error.

The statistical inefficiency g is the number of samples that tell as much as one independent sample,

    g = 1 + 2 sum over lags t of (1 - t/n) C(t),

with the normalised autocorrelation C summed as long as sums of neighbouring pairs are positive and fall: the initial
monotone sequence of Geyer, Statist. Sci. 7, 473 (1992). A series is cut where the number of independent samples
behind the cut is largest: Chodera, J. Chem. Theory Comput. 12, 1799 (2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from magflow.core.types import FloatArray

CUTS = 40
"""Places where the beginning of a series may be cut, spread evenly over its first nine tenths."""
FEW = 3
"""Runs from which their scatter tells the error, if that is larger than what they say of themselves."""


@dataclass(frozen=True)
class Average:
    """A mean with its standard error and the number of independent samples behind it."""

    value: float
    error: float
    independent: float


def inefficiency(series: FloatArray) -> float:
    """Samples of `series` (n,) that tell as much as one independent one; at least 1."""
    n = len(series)
    centred = series - np.mean(series)
    variance = float(np.mean(centred**2))
    if n < 4 or variance <= 1e-24 * float(np.max(np.abs(series))) ** 2:
        return 1.0
    power = np.abs(np.fft.rfft(centred, 2 * n)) ** 2
    # the sum over pairs of samples t apart, divided by n: that is (1 - t/n) C(t) times the variance
    correlation = np.fft.irfft(power)[: n - n % 2] / (n * variance)
    pairs = correlation[0::2] + correlation[1::2]
    negative = np.flatnonzero(pairs <= 0.0)
    kept = np.minimum.accumulate(pairs[: negative[0] if len(negative) else len(pairs)])
    return max(1.0, float(2.0 * kept.sum() - 1.0))


def equilibration(*series: FloatArray) -> int:
    """Samples to leave out at the beginning, the most that any of `series` (n,) needs."""
    return max(_cut(x) for x in series)


def _cut(series: FloatArray) -> int:
    n = len(series)
    cuts = np.unique(np.linspace(0, 0.9 * n, CUTS, endpoint=False).astype(int))
    return int(max(cuts, key=lambda c: (n - c) / inefficiency(series[c:])))


def average(runs: Sequence[FloatArray]) -> Average:
    """Mean over the samples of independent runs (n,) each, which are in equilibrium.

    The error comes from the correlation within the runs, or, of three and more, from the scatter of their means where
    that is larger: slow motion that no run has seen whole.
    """
    independent = np.array([len(x) / inefficiency(x) for x in runs])
    lengths = np.array([len(x) for x in runs], float)
    weights = lengths / lengths.sum()
    means = np.array([x.mean() for x in runs])
    value = float(weights @ means)
    within = np.array([x.std() / np.sqrt(max(m - 1.0, 1.0)) for x, m in zip(runs, independent, strict=True)])
    error = float(np.sqrt(((weights * within) ** 2).sum()))
    if len(runs) >= FEW:
        error = max(error, float(means.std(ddof=1) / np.sqrt(len(runs))))
    return Average(value, error, float(independent.sum()))
