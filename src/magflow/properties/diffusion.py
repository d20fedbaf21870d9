"""Mean square displacement, diffusion coefficient and pair distribution from positions of atoms.

The libraries that have these were weighed: the one that gives a diffusion coefficient its error (kinisi) brings some
150 MB of others, another (MDAnalysis) has neither that error nor a licence like ours, and each is a few lines here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from magflow.core.frame import Frame
from magflow.core.neighbours import NeighborList
from magflow.core.types import FloatArray

BLOCKS = 4
"""Parts of a run that are taken for independent of each other."""
WINDOW = 0.2, 0.5
"""Shares of a part between which its displacements are fitted: past the first collisions, and before lags that are
seen only once or twice."""

GROWTH = 0.8
"""Power of time up to which displacements do not grow as in diffusion."""


@dataclass(frozen=True)
class Diffusion:
    """A diffusion coefficient.

    Parameters
    ----------
    value, error
        A^2/ps, with its standard error.
    exponent
        Of the growth of the mean square displacement with time: 1 in diffusion, 0 in a crystal.
    bound
        What it would be, A^2/ps, if all displacements were diffusion; vibrations are in it.
    """

    value: float
    error: float
    exponent: float
    bound: float

    @property
    def seen(self) -> bool:
        """Whether atoms diffuse; else the slope is that of their vibrations."""
        return self.exponent > GROWTH


def mean_square_displacement(positions: FloatArray) -> FloatArray:
    """(m,) A^2, against the lag, over all atoms and all pairs of samples that are so far apart.

    By a Fourier transform, as Calandrini et al., Collection SFN 12, 201 (2011), write it.

    Parameters
    ----------
    positions
        (m, N, 3) A, never folded back into the cell.
    """
    m, n, _ = positions.shape
    moved = positions - positions[0]  # small numbers lose fewer digits
    power = (np.abs(np.fft.rfft(moved, 2 * m, axis=0)) ** 2).sum(axis=(1, 2))
    products = np.fft.irfft(power, 2 * m)[:m]
    squares = (moved**2).sum(axis=(1, 2))
    first, last = np.cumsum(squares)[::-1], np.cumsum(squares[::-1])[::-1]
    found: FloatArray = (first + last - 2.0 * products) / (n * np.arange(m, 0, -1))
    return np.maximum(found, 0.0)


def diffusion(runs: Sequence[FloatArray], interval: float) -> Diffusion:
    """The slope of the mean square displacement by Einstein's relation, and the scatter of that over parts of the runs.

    Parameters
    ----------
    runs
        (m, N, 3) A each, never folded back, the centre of mass at rest.
    interval
        ps from one sample to the next.
    """
    parts = [mean_square_displacement(part) for x in runs for part in np.array_split(x, BLOCKS)]
    length = min(len(p) for p in parts)
    lags = np.arange(max(1, int(WINDOW[0] * length)), max(4, int(WINDOW[1] * length) + 1))
    coefficients = [float(np.polyfit(lags * interval, p[lags], 1)[0]) / 6.0 for p in parts]
    ends = np.mean([p[lags[[0, -1]]] for p in parts], axis=0)
    growth = np.log(ends[1] / ends[0]) / np.log(lags[-1] / lags[0]) if ends[0] > 0.0 else 0.0
    error = float(np.std(coefficients, ddof=1) / np.sqrt(len(coefficients)))
    bound = float(ends[1] / (6.0 * lags[-1] * interval))
    return Diffusion(float(np.mean(coefficients)), error, float(growth), bound)


def pair_distribution(frames: Sequence[Frame], edges: FloatArray, pair: tuple[str, str]) -> FloatArray:
    """(b,) g(r) between the `edges` (b + 1,) A of the bins: 1 where the atoms do not feel each other.

    Parameters
    ----------
    frames
        Of the same atoms.
    pair
        Elements of the two atoms.
    """
    species = np.array(frames[0].species)
    one, other = species == pair[0], species == pair[1]
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    search = NeighborList(cutoff=float(edges[-1]), full_list=True, n_threads=1)
    total = np.zeros(len(edges) - 1)
    for f in frames:
        i, j, d = search.compute(points=f.positions, box=f.cell, periodic=True, quantities="ijd")
        kept = one[i.astype(int)] & other[j.astype(int)]
        total += np.histogram(d[kept], edges)[0] * f.volume / (one.sum() * other.sum() * shells)
    return np.asarray(total / len(frames))


def first_peak(r: FloatArray, g: FloatArray) -> float:
    """Where `g` has its first maximum above 1, A, by a parabola through its top."""
    above = np.flatnonzero(g > max(1.0, 0.5 * float(g.max())))
    end = above[0] + int(np.argmax(np.diff(np.append(above, len(g) + 1)) > 1)) + 1
    top = int(above[0] + np.argmax(g[above[0] : end]))
    if not 0 < top < len(g) - 1:
        return float(r[top])
    left, middle, right = g[top - 1 : top + 2]
    return float(r[top] + 0.5 * (r[1] - r[0]) * (left - right) / (left - 2.0 * middle + right))
