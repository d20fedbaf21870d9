"""Units of the house (eV, A, muB) and the constants that lead to them.

Constants are CODATA 2018, the set ABINIT and ASE 3.23+ agree on to 1e-9.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from magflow.core.types import FloatArray

HARTREE = 27.211386245988
"""eV"""
BOHR = 0.529177210903
"""A"""
HARTREE_PER_BOHR = HARTREE / BOHR
"""eV/A"""
HARTREE_PER_BOHR3 = HARTREE / BOHR**3
"""eV/A^3"""
EV_PER_A3_IN_GPA = 160.21766208
"""GPa; only for numbers a person reads"""
EV_PER_A2_IN_J_PER_M2 = 0.1 * EV_PER_A3_IN_GPA
"""J/m^2; the same"""
KB = 8.617333262e-5
"""eV/K"""
G_PER_CM3 = 1.66053906660
"""One atomic mass unit per cubic angstrom"""

_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def voigt(tensor: ArrayLike) -> FloatArray:
    """Symmetric (3, 3) tensor to Voigt (6,) in the order xx yy zz yz xz xy; off-diagonals averaged."""
    t = np.asarray(tensor, dtype=float)
    return np.array([0.5 * (t[i, j] + t[j, i]) for i, j in _VOIGT])


def tensor(six: ArrayLike) -> FloatArray:
    """Voigt (6,) xx yy zz yz xz xy to a symmetric (3, 3) tensor."""
    v = np.asarray(six, dtype=float)
    out = np.empty((3, 3))
    for value, (i, j) in zip(v, _VOIGT, strict=True):
        out[i, j] = out[j, i] = value
    return out
