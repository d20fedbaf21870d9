"""Units of the house (eV, A, muB): the constants that lead to them, and tensors in Voigt form."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from magflow.core.constants import (
    BOHR,
    EV_PER_A2_IN_J_PER_M2,
    EV_PER_A3_IN_GPA,
    G_PER_CM3,
    HARTREE,
    HARTREE_PER_BOHR,
    HARTREE_PER_BOHR3,
    KB,
)
from magflow.core.types import FloatArray

__all__ = [
    "BOHR",
    "EV_PER_A2_IN_J_PER_M2",
    "EV_PER_A3_IN_GPA",
    "G_PER_CM3",
    "HARTREE",
    "HARTREE_PER_BOHR",
    "HARTREE_PER_BOHR3",
    "KB",
    "tensor",
    "voigt",
]

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
