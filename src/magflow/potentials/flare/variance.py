r"""Variances of a sparse Gaussian process as FLARE has them, of every predicted number.

With a row x of features and the kernel k between predicted numbers, each with itself,

    SOR   x A^-1 x^T                              A the precision of the coefficients: what labels leave undecided
    DTC   x A^-1 x^T + sigma^2 (k - phi phi^T)    phi the features of sparse atoms in x: and what features do not see

(Quinonero-Candela, Rasmussen, J. Mach. Learn. Res. 6, 1939 (2005)); the local one, sigma^2 (1 - phi phi^T), is that of
the energy of one atom by the second term alone, by which FLARE finds atoms unlike all it knows. k of a force is a sum
over all pairs i, j of atoms that feel the displaced one, whose descriptors change by g_i:

    xi c^(xi - 1) g_i.g_j + xi (xi - 1) c^(xi - 2) (g_i.u_j) (g_j.u_i),    c = u_i.u_j.
"""

from __future__ import annotations

import numpy as np

from magflow.core.types import FloatArray, IntArray
from magflow.potentials.flare.environments import VOIGT, Environments


def prior_variances(frame: Environments, power: int) -> FloatArray:
    """(1 + 3 N + 6,) k of the energy, dE/dr and dE/d(strain), of unit signal."""
    n = len(frame)
    out, alike = np.empty(3 * n + 7), _alike(frame.types)
    out[0] = (alike * (frame.unit @ frame.unit.T) ** power).sum()
    own = np.empty((n, 3, frame.unit.shape[1]))
    strained = np.empty((n, 6, frame.unit.shape[1]))
    for i in range(n):
        pairs = slice(frame.first[i], frame.first[i + 1])
        g = frame.gradients[:, 3 * pairs.start : 3 * pairs.stop].T.reshape(-1, 3, frame.unit.shape[1])
        own[i] = -g.sum(axis=0)
        tensor = np.einsum("pad,pb->abd", g, frame.vectors[pairs])
        strained[i] = [0.5 * (tensor[a, b] + tensor[b, a]) for a, b in VOIGT]
    by_neighbour = np.argsort(frame.neighbour, kind="stable")
    ends = np.searchsorted(frame.neighbour[by_neighbour], np.arange(n + 1))
    for i in range(n):
        atoms, g = _feel(frame, i, by_neighbour[ends[i] : ends[i + 1]], own[i])
        out[1 + 3 * i : 4 + 3 * i] = _variances(frame.unit[atoms], g, alike[np.ix_(atoms, atoms)], power)
    out[3 * n + 1 :] = _variances(frame.unit, strained, alike, power)
    return out


def _alike(types: np.ndarray) -> FloatArray:
    return np.asarray(types[:, None] == types, dtype=np.float64)


def _feel(frame: Environments, i: int, bonds: IntArray, own: FloatArray) -> tuple[IntArray, FloatArray]:
    """The n atoms whose descriptors change with the position of atom i, itself among them; how much, (n, 3, D)."""
    atoms, where = np.unique(np.append(frame.centre[bonds], i), return_inverse=True)
    columns = (3 * bonds[:, None] + np.arange(3)).ravel()
    g = frame.gradients[:, columns].T.reshape(len(bonds), *own.shape)
    out = np.zeros((len(atoms), *own.shape))
    np.add.at(out, where[:-1], g)
    out[where[-1]] += own
    return atoms, out


def _variances(units: FloatArray, gradients: FloatArray, alike: FloatArray, power: int) -> FloatArray:
    """(q,) k of q derivatives: `gradients` (n, q, D) of the descriptors `units` (n, D) of n atoms."""
    c = units @ units.T
    first, second = alike * power * c ** (power - 1), alike * power * (power - 1) * c ** max(power - 2, 0)
    out = np.empty(gradients.shape[1])
    for q in range(len(out)):
        g = gradients[:, q]
        across = g @ units.T
        out[q] = (first * (g @ g.T)).sum() + (second * across * across.T).sum()
    return out
