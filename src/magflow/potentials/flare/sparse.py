r"""The atoms that all others are compared with, and features whose products are the kernel between any two.

Two atoms of one species with descriptors u, u' of unit length have k = (u . u')^xi, atoms of different species zero.
With the sparse atoms s and K_uu = L L^T the process is a linear function of the features phi = L^-1 k_u, with
independent coefficients of variance sigma^2: k is replaced by phi . phi', exactly so between sparse atoms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from magflow.core.types import FloatArray, IntArray
from magflow.potentials.flare.environments import Environments

JITTER = 1e-10
"""Added to the diagonal of K_uu, which is one."""


@dataclass(frozen=True, eq=False)
class SparseSet:
    """Sparse atoms, by species.

    Parameters
    ----------
    units
        Per species (M_t, D) descriptors of unit length.
    power
        xi.
    """

    units: tuple[FloatArray, ...]
    power: int

    @cached_property
    def size(self) -> int:
        """M."""
        return sum(len(u) for u in self.units)

    @cached_property
    def spans(self) -> list[slice]:
        """Per species, its columns among the M."""
        ends = np.cumsum([0, *(len(u) for u in self.units)]).tolist()
        return [slice(a, b) for a, b in pairwise(ends)]

    @cached_property
    def roots(self) -> list[FloatArray]:
        """Per species, lower triangular L.

        Raises
        ------
        scipy.linalg.LinAlgError
            If an atom is there twice.
        """
        return [cholesky((u @ u.T) ** self.power + JITTER * np.eye(len(u)), lower=True) for u in self.units]

    def compared(self, units: FloatArray, species: int) -> FloatArray:
        """(n, M_t) kernel of atoms of one species, descriptors (n, D), with its sparse atoms."""
        return np.asarray((units @ self.units[species].T) ** self.power)

    def features(self, units: FloatArray, types: np.ndarray) -> FloatArray:
        """(n, M) features of single atoms."""
        out = np.zeros((len(units), self.size))
        for t, span in enumerate(self.spans):
            mine = types == t
            out[mine, span] = solve_triangular(self.roots[t], self.compared(units[mine], t).T, lower=True).T
        return out

    def rows(self, frame: Environments) -> FloatArray:
        """(1 + 3 N + 6, M) features of the energy of a frame, of dE/dr and of dE/d(strain)."""
        out = np.zeros((3 * len(frame) + 7, self.size))
        out[0] = self.features(frame.unit, frame.types).sum(axis=0)
        counts = np.diff(frame.first)
        for t, span in enumerate(self.spans):
            mine = frame.types == t
            bonds = np.flatnonzero(np.repeat(mine, 3 * counts))
            slope = self.power * (frame.unit[mine] @ self.units[t].T) ** (self.power - 1)
            every = len(bonds) == 3 * len(frame.neighbour)
            by_vector = (frame.gradients if every else frame.gradients[:, bonds]).T @ self.units[t].T
            by_vector *= np.repeat(slope, 3 * counts[mine], axis=0)
            summed = frame.sums @ by_vector if every else frame.sums[:, bonds] @ by_vector
            out[1:, span] = solve_triangular(self.roots[t], summed.T, lower=True).T
        return out

    def joined(self, units: FloatArray, types: np.ndarray) -> SparseSet:
        """With further atoms, descriptors (n, D)."""
        parts = [np.concatenate([mine, units[types == t]]) for t, mine in enumerate(self.units)]
        return SparseSet(tuple(parts), self.power)


def most_uncertain(known: SparseSet, units: FloatArray, types: np.ndarray, limit: int, tolerance: float) -> IntArray:
    """Indices of atoms to add, one after another the one whose energy the others leave most uncertain.

    That is the pivoted Cholesky decomposition of their kernel; of equals the first is taken.

    Parameters
    ----------
    known
        Atoms that are there already.
    units, types
        (n, D) descriptors and (n,) species of those to choose from.
    limit
        How many at most.
    tolerance
        Deviation, over that of an atom unlike all others, below which none is added.
    """
    features = np.zeros((len(units), limit))
    # equal to the last digit, so that the first of all is the first given
    left = np.where(units.any(axis=1), 1.0, 0.0)
    if known.size:
        have = known.features(units, types)
        left = left - (have**2).sum(axis=1)
    chosen: list[int] = []
    for k in range(min(limit, len(units))):
        best = int(np.argmax(left))
        if left[best] <= max(tolerance**2, JITTER):
            break
        kernel = np.where(types == types[best], (units @ units[best]) ** known.power, 0.0)
        if known.size:
            kernel -= have @ have[best]
        kernel -= features[:, :k] @ features[best, :k]
        features[:, k] = kernel / np.sqrt(left[best])
        left = left - features[:, k] ** 2
        left[best] = 0.0
        chosen.append(best)
    return np.array(chosen, dtype=np.int64)
