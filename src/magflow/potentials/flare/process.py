"""A sparse Gaussian process: the mean and the variances of one frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular

from magflow.core.types import FloatArray
from magflow.potentials.flare.environments import Environments
from magflow.potentials.flare.sparse import SparseSet
from magflow.potentials.flare.variance import prior_variances


@dataclass(frozen=True, eq=False)
class Process:
    """What a fit knows.

    Parameters
    ----------
    sparse
        M atoms of T species that others are compared with.
    coefficients
        (T + M,) eV: an energy per species, and the weights of the features.
    root
        (T + M, T + M) lower triangular L: L L^T is the precision of the coefficients.
    signal
        sigma, eV.
    noise
        (4,) standard deviations of the labels, eV/atom, eV/A, eV/atom (stress times volume per atom) and NaN; NaN of a
        quantity that none held.
    """

    sparse: SparseSet
    coefficients: FloatArray
    root: FloatArray
    signal: float
    noise: FloatArray

    @cached_property
    def alpha(self) -> list[FloatArray]:
        """Per species, (M_t,) weights of the kernel with each sparse atom, eV."""
        features = self.coefficients[len(self.sparse.units) :]
        parts = zip(self.sparse.roots, self.sparse.spans, strict=True)
        return [solve_triangular(root, features[span], lower=True, trans="T") for root, span in parts]

    @cached_property
    def quadratic(self) -> list[FloatArray | None]:
        """Per species, (D, D) beta of E_i = u beta u, eV: the sum over sparse atoms, done once.

        See Vandermause et al., Nat. Commun. 13, 5183 (2022). None where the sum is less work, or the power is not two.
        """
        parts = zip(self.sparse.units, self.alpha, strict=True)
        return [(u.T * a) @ u if self.sparse.power == 2 and u.shape[1] <= 2 * len(u) else None for u, a in parts]

    def atoms(self, frame: Environments, *, mapped: bool = True) -> tuple[FloatArray, FloatArray]:
        """(N,) energies, eV, and (N, D) their derivatives by the unit descriptors.

        Parameters
        ----------
        mapped
            Use :attr:`quadratic` where there is one.
        """
        energy, slope = self.coefficients[frame.types], np.zeros_like(frame.unit)
        for t, beta in enumerate(self.quadratic):
            mine = frame.types == t
            units = frame.unit[mine]
            if beta is None or not mapped:
                cosine, power = units @ self.sparse.units[t].T, self.sparse.power
                energy[mine] += cosine**power @ self.alpha[t]
                slope[mine] = (power * cosine ** (power - 1) * self.alpha[t]) @ self.sparse.units[t]
            else:
                half = units @ beta
                energy[mine] += (half * units).sum(axis=1)
                slope[mine] = 2.0 * half
        return energy, slope

    def variances(self, frame: Environments) -> tuple[FloatArray, FloatArray]:
        """(1 + 3 N + 6,) SOR and DTC variances of the energy, dE/dr and dE/d(strain), without the labels' noise."""
        rows = rows_of(self.sparse, frame)
        undecided = solve_triangular(self.root, rows.T, lower=True, check_finite=False)
        sor = (undecided**2).sum(axis=0)
        seen = (rows[:, len(self.sparse.units) :] ** 2).sum(axis=1)
        unseen = np.maximum(prior_variances(frame, self.sparse.power) - seen, 0.0)
        return sor, sor + self.signal**2 * unseen

    def local_variances(self, frame: Environments) -> FloatArray:
        """(N,) of the energy of each atom, eV^2: how unlike all sparse atoms it is, at most sigma^2."""
        seen = (self.sparse.features(frame.unit, frame.types) ** 2).sum(axis=1)
        unseen: FloatArray = np.maximum((frame.unit**2).sum(axis=1) - seen, 0.0)
        return self.signal**2 * unseen


def rows_of(sparse: SparseSet, frame: Environments) -> FloatArray:
    """(1 + 3 N + 6, T + M) derivatives of the energy, dE/dr and dE/d(strain) by the coefficients."""
    atoms = np.zeros((3 * len(frame) + 7, len(sparse.units)))
    atoms[0] = np.bincount(frame.types, minlength=len(sparse.units))
    return np.concatenate([atoms, sparse.rows(frame)], axis=1)
