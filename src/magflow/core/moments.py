"""Atomic moments: shapes, time reversal, collinearity, orderings.

A moment array is (N, 3) in muB; collinear moments live in the z column. ``None`` means the
frame is non-magnetic on purpose and is never the same as zero moments.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from magflow.core.types import FloatArray
from magflow.errors import InputError

GivenMoments: TypeAlias = Mapping[str, float] | ArrayLike
"""What a person gives: muB by element, or of every atom, (N,) along z or (N, 3)."""

ZERO_MOMENT = 0.1
"""muB; below it an atom counts as unpolarised when an ordering is named."""


class Ordering(StrEnum):
    """Magnetic ordering of one frame, named from its collinear moments."""

    NM = "NM"
    FM = "FM"
    AFM = "AFM"
    FIM = "FiM"
    NONCOLLINEAR = "noncollinear"


def as_vectors(moments: ArrayLike, n_atoms: int, where: str = "magmoms") -> FloatArray:
    """Moments as (N, 3), from (N,) collinear values (put in z) or (N, 3) vectors.

    Raises
    ------
    InputError
        On a wrong length, a wrong shape or a value that is not finite.
    """
    try:
        m = np.asarray(moments, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError("moments are not numbers", where=where, seen=moments) from error
    if m.shape == (n_atoms,):
        vectors = np.zeros((n_atoms, 3))
        vectors[:, 2] = m
    elif m.shape == (n_atoms, 3):
        vectors = m.copy()
    else:
        raise InputError(
            "wrong number of moments",
            where=where,
            seen=f"shape {m.shape}",
            expected=f"({n_atoms},) collinear or ({n_atoms}, 3) vectors",
        )
    if not np.isfinite(vectors).all():
        raise InputError("a moment is not finite", where=where, seen=m.tolist())
    return vectors


def is_collinear(magmoms: FloatArray) -> bool:
    """True if every moment lies along z."""
    return not magmoms[:, :2].any()


def collinear(magmoms: FloatArray) -> FloatArray:
    """(N,) z components of collinear moments, muB.

    Raises
    ------
    InputError
        If a moment has an x or y component.
    """
    if not is_collinear(magmoms):
        raise InputError(
            "moments are non-collinear",
            seen=magmoms.tolist(),
            expected="moments along z only",
        )
    return magmoms[:, 2].copy()


def common_axis(magmoms: FloatArray) -> tuple[FloatArray, float]:
    """The axis (3,) that lies closest to all moments, and the largest part of a moment across it, muB.

    It is the principal axis of the sum of m m^T, on the side of the total moment.
    """
    axis = np.linalg.eigh(magmoms.T @ magmoms)[1][:, -1]
    along = magmoms @ axis
    across = np.linalg.norm(magmoms - np.outer(along, axis), axis=1)
    return (axis if along.sum() >= 0.0 else -axis), float(across.max(initial=0.0))


def canonical_sign(quantised: np.ndarray) -> int:
    """+1 or -1, so that ``sign * moments`` is the same array for M and for -M.

    The first non-zero component of the canonical array is positive; all-zero moments give +1.
    """
    flat = quantised.ravel()
    nonzero = np.flatnonzero(flat)
    return -1 if nonzero.size and flat[nonzero[0]] < 0 else 1


def ordering(magmoms: FloatArray | None, zero: float = ZERO_MOMENT) -> Ordering:
    """Name the ordering of one frame; |m| < `zero` muB counts as unpolarised.

    FM: all polarised atoms parallel. AFM: both signs, and the total is below 5 % of sum|m|.
    FiM: both signs otherwise.
    """
    if magmoms is None:
        return Ordering.NM
    if not is_collinear(magmoms):
        return Ordering.NONCOLLINEAR
    m = magmoms[:, 2]
    m = m[np.abs(m) >= zero]
    if not m.size:
        return Ordering.NM
    if (m > 0).all() or (m < 0).all():
        return Ordering.FM
    return Ordering.AFM if abs(m.sum()) < 0.05 * np.abs(m).sum() else Ordering.FIM
