"""Crystal or liquid: a phase test on the bond order about each atom.

The order of an atom is Steinhardt's q6 (Phys. Rev. B 28, 784 (1983)), its components averaged over the atom and its
neighbours first, which tells crystal from liquid even near melting (Lechner, Dellago, J. Chem. Phys. 129, 114707
(2008)). What counts as crystal is not guessed: the test is calibrated on both phases of the potential at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from magflow.core.frame import Frame
from magflow.core.neighbours import NeighborList
from magflow.core.types import FloatArray
from magflow.properties.subject import UnmeasurableError

DEGREE = 6
SHELL = 1.45
"""Reach of the neighbours in units of the cube root of the volume of an atom: two shells of bcc, one of fcc and hcp."""
SEPARATED = 0.9
"""Share of the atoms of each phase that must fall on its own side."""


def local_order(frame: Frame) -> FloatArray:
    """(N,) averaged q6 of each atom; about 0.1 to 0.25 in a liquid, 0.3 to 0.57 in a crystal."""
    from scipy.special import sph_harm_y

    search = NeighborList(cutoff=SHELL * float(np.cbrt(frame.volume / len(frame))), full_list=True, n_threads=1)
    i, j, bonds = search.compute(points=frame.positions, box=frame.cell, periodic=True, quantities="ijD")
    i, j, n = i.astype(int), j.astype(int), len(frame)
    polar = np.arccos(np.clip(bonds[:, 2] / np.linalg.norm(bonds, axis=1), -1.0, 1.0))
    azimuth = np.arctan2(bonds[:, 1], bonds[:, 0])
    neighbours = np.maximum(np.bincount(i, minlength=n), 1)
    total = np.zeros(n)
    for m in range(DEGREE + 1):
        q = _summed(i, sph_harm_y(DEGREE, m, polar, azimuth), n) / neighbours
        mean = (q + _summed(i, q[j], n)) / (neighbours + 1)
        total += (1.0 if m == 0 else 2.0) * np.abs(mean) ** 2  # m and -m are of one magnitude
    order: FloatArray = np.sqrt(4.0 * np.pi / (2 * DEGREE + 1) * total)
    return order


def _summed(owner: FloatArray, values: FloatArray, n: int) -> FloatArray:
    """(n,) complex sum of `values` by `owner`."""
    return np.bincount(owner, values.real, n) + 1j * np.bincount(owner, values.imag, n)


@dataclass(frozen=True)
class PhaseTest:
    """Tells crystal from liquid.

    Parameters
    ----------
    threshold
        Order above which an atom counts as crystal.
    liquid, crystal
        Share of the atoms above it in either phase.
    """

    threshold: float
    liquid: float
    crystal: float

    @classmethod
    def calibrated(cls, crystal: Sequence[Frame], liquid: Sequence[Frame]) -> PhaseTest:
        """With the threshold half-way between the mean orders of the two phases.

        Raises
        ------
        UnmeasurableError
            If the two cannot be told apart.
        """
        high, low = (np.concatenate([local_order(f) for f in frames]) for frames in (crystal, liquid))
        threshold = 0.5 * float(high.mean() + low.mean())
        test = cls(threshold, float((low > threshold).mean()), float((high > threshold).mean()))
        if test.crystal < SEPARATED or test.liquid > 1.0 - SEPARATED:
            raise UnmeasurableError(
                "crystal and liquid cannot be told apart",
                seen=f"mean bond order {high.mean():.2f} and {low.mean():.2f}",
                hint="did the crystal melt, or the liquid freeze?",
            )
        return test

    def crystalline(self, frame: Frame) -> float:
        """Share of the frame that is crystal; noise takes it a little below 0 and above 1."""
        above = float((local_order(frame) > self.threshold).mean())
        return (above - self.liquid) / (self.crystal - self.liquid)
