"""D-optimal extrapolation grade (MaxVol) on the linear basis, one active set per species.

The energy of an atom is linear in its basis functions b = (1, B_1 .. B_n). Among the environments of the
training set, MaxVol picks as many rows A as b has dimensions, so that |det A| is (almost) largest; the grade of an
environment is max |b A^-1| (Podryabinkin, Shapeev, Comput. Mater. Sci. 140, 171 (2017)): at most about 1 for the
training set, larger where the energy extrapolates. Directions that the training set does not span are left out by a
truncated singular value decomposition of the scaled rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr

from magflow.core.types import FloatArray
from magflow.errors import InputError

TOLERANCE = 1.001
RANK_TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class ActiveSet:
    """`inverse[t]` (1 + n, r) takes the basis row of an atom of type t to its coefficients; None: no such atom seen."""

    inverse: tuple[FloatArray | None, ...]

    def grades(self, types: np.ndarray, values: FloatArray) -> FloatArray:
        """(N,) grades of atoms with basis functions `values` (N, n); infinite for a type never trained on."""
        out = np.full(len(types), np.inf)
        for t, inverse in enumerate(self.inverse):
            mine = types == t
            if inverse is not None and mine.any():
                out[mine] = np.abs(_rows(values[mine]) @ inverse).max(axis=1)
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        """Arrays of the model file."""
        return {f"active_{t}": a for t, a in enumerate(self.inverse) if a is not None}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], n_types: int) -> ActiveSet:
        """Inverse of :meth:`arrays`.

        Raises
        ------
        InputError
            If the arrays are not those of an active set.
        """
        known = {f"active_{t}": t for t in range(n_types)}
        if set(arrays) - set(known) or any(a.ndim != 2 or not np.isfinite(a).all() for a in arrays.values()):
            raise InputError("the active set of the model is damaged", seen=sorted(arrays))
        return cls(tuple(arrays.get(name) for name in known))


def _rows(values: FloatArray) -> FloatArray:
    return np.concatenate([np.ones((len(values), 1)), values], axis=1)


def build_active_set(types: np.ndarray, values: FloatArray, n_types: int) -> ActiveSet:
    """Active set of the environments `values` (N, n) of atoms of `types`."""
    inverse: list[FloatArray | None] = []
    for t in range(n_types):
        rows = _rows(values[types == t])
        inverse.append(_inverse(rows) if len(rows) else None)
    return ActiveSet(tuple(inverse))


def _inverse(rows: FloatArray) -> FloatArray:
    scale = np.sqrt((rows**2).mean(axis=0))
    scale[scale == 0.0] = 1.0
    _, s, vt = np.linalg.svd(rows / scale, full_matrices=False)
    keep = s > RANK_TOLERANCE * s[0]
    project = vt[keep].T / s[keep] / scale[:, None]
    reduced = rows @ project
    chosen = maxvol(reduced)
    return np.ascontiguousarray(project @ np.linalg.inv(reduced[chosen]))


def maxvol(rows: FloatArray, *, tolerance: float = TOLERANCE, max_swaps: int = 10_000) -> np.ndarray:
    """Row indices of a square submatrix of (locally) largest volume.

    Goreinov et al., "How to find a good submatrix" (2010): start from pivoted QR, then swap in the row that holds
    the largest entry of ``rows @ inv(submatrix)`` until none exceeds `tolerance`.

    Parameters
    ----------
    rows
        (n, r) of rank r, n >= r.
    """
    r = rows.shape[1]
    _, _, pivots = qr(rows.T, pivoting=True, mode="economic")
    chosen = np.array(pivots[:r])
    c = np.linalg.solve(rows[chosen].T, rows.T).T
    for _ in range(max_swaps):
        i, j = np.unravel_index(np.argmax(np.abs(c)), c.shape)
        if abs(c[i, j]) <= tolerance:
            break
        row = c[i].copy()
        row[j] -= 1.0
        c -= np.outer(c[:, j], row) / c[i, j]
        chosen[j] = i
    return chosen
