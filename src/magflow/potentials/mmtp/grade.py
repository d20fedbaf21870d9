r"""D-optimal extrapolation grades (MaxVol), as MLIP has them.

Every environment is a row b; the training set's rows hold a square submatrix A of (locally) largest volume, the active
set. The grade of an environment is max \|b A^-1\| (Podryabinkin, Shapeev, Comput. Mater. Sci. 140, 171 (2017)): at most
1.001 for the training set, larger where the energy extrapolates. What b holds is the scope:

``linear``
    (1, B_1 .. B_n) of the atom, in which the energy is linear; one active set per species. The kernel has these 1 + n
    numbers as it evaluates the energy, the active set takes a few kB, and few labels span it: it takes the radial
    functions for known. It was the default before ``posterior`` (:mod:`magflow.potentials.mmtp.leverage`).
``sites``
    dE_i/d(parameter) by every parameter, the radial ones linearised: MLIP's neighbourhood mode, with MLIP's way of
    selecting, so both choose the same set from the same rows. All species share one matrix. It sees a radial function
    go where no label held it, for a price: at level 12 in its published form a row of two species has 415 numbers
    instead of 30, and the matrix takes 1.4 MB.
``frames``
    The sum of those rows over the atoms of a frame: MLIP's configuration mode. Atoms have no grades then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.potentials.mmtp.geometry import Geometry
from magflow.potentials.mmtp.leverage import PosteriorDraws
from magflow.potentials.mmtp.maxvol import maxvol
from magflow.potentials.mmtp.model import MmtpModel
from magflow.potentials.mmtp.scope import ActiveSet, Graded, Scope
from magflow.potentials.mmtp.sites import parameter_rows

RANK_TOLERANCE = 1e-5
VIRTUAL = 1e-6
"""MLIP's ``threshold_init``: every parameter starts with a row of this size, which real ones replace."""
CHUNK = 4096
"""Atoms whose rows are held at a time."""


@dataclass(frozen=True, eq=False)
class LinearActiveSet:
    """`inverse[t]` (1 + n, r) takes the basis row of an atom of type t to its coefficients; None: no such atom seen."""

    inverse: tuple[FloatArray | None, ...]
    scope = Scope.LINEAR

    @classmethod
    def select(cls, types: np.ndarray, values: FloatArray, n_types: int) -> LinearActiveSet:
        """Active set of environments with basis functions `values` (N, n) of atoms of `types`.

        Directions that the training set does not span are left out by a truncated singular value decomposition.
        """
        mine = [values[types == t] for t in range(n_types)]
        return cls(tuple(_spanned_inverse(_with_one(v)) if len(v) else None for v in mine))

    def grades(self, types: np.ndarray, values: FloatArray) -> FloatArray:
        """(N,) grades of atoms with basis functions `values` (N, n); infinite for a type never trained on."""
        out = np.full(len(types), np.inf)
        for t, inverse in enumerate(self.inverse):
            mine = types == t
            if inverse is not None and mine.any():
                out[mine] = _grades(_with_one(values[mine]), inverse)
        return out

    def atom_grades(self, potential: Graded, geometry: Geometry) -> FloatArray:
        """(sum N,) grade of every atom."""
        return self.grades(geometry.type, potential.basis_values(geometry))

    def frame_grades(self, potential: Graded, geometry: Geometry) -> FloatArray:
        """(n,) the largest grade of each frame's atoms."""
        return _largest_of_frames(self.atom_grades(potential, geometry), geometry)

    def arrays(self) -> dict[str, np.ndarray]:
        """``active_0``, ``active_1``, .."""
        return {f"active_{t}": a for t, a in enumerate(self.inverse) if a is not None}


@dataclass(frozen=True, eq=False)
class ParameterActiveSet:
    """Active set in all parameters.

    Parameters
    ----------
    scope
        ``sites`` or ``frames``.
    inverse
        (P, P) takes the row of an atom or frame to its coefficients.
    size_power
        Rows of frames of N atoms are divided by N^(size_power / 2): MLIP's ``weight_scaling``.
    """

    scope: Scope
    inverse: FloatArray
    size_power: int = 0

    @classmethod
    def select(cls, scope: Scope, rows: FloatArray, size_power: int = 0) -> ParameterActiveSet:
        """Active set of `rows` (n, P).

        As MLIP does: A starts as 1e-6 times the identity, and whatever row gains most volume comes in. Directions no
        row reaches keep their small virtual row, so an environment that does reach them has a huge grade.
        """
        n, width = rows.shape
        padded = np.concatenate([rows, VIRTUAL * np.eye(width)])
        return cls(scope, np.linalg.inv(padded[maxvol(padded, np.arange(n, n + width))]), size_power)

    def atom_grades(self, potential: Graded, geometry: Geometry) -> FloatArray:
        """(sum N,) grade of every atom.

        Raises
        ------
        InputError
            If the scope is ``frames``.
        """
        if self.scope is Scope.FRAMES:
            raise InputError("the active set was selected from whole frames: its atoms have no grades", seen=self.scope)
        n = len(geometry.type)
        spans = [(a, min(a + CHUNK, n)) for a in range(0, n, CHUNK)]
        parts = [_grades(parameter_rows(potential.model, geometry, *span), self.inverse) for span in spans]
        return np.concatenate(parts) if parts else np.zeros(0)

    def frame_grades(self, potential: Graded, geometry: Geometry) -> FloatArray:
        """(n,) the largest grade of each frame's atoms, or that of the frame's own row."""
        if self.scope is Scope.FRAMES:
            return _grades(frame_rows(potential.model, geometry, self.size_power), self.inverse)
        return _largest_of_frames(self.atom_grades(potential, geometry), geometry)

    def arrays(self) -> dict[str, np.ndarray]:
        """``active_sites``, or ``active_frames`` and ``active_size_power``."""
        if self.scope is Scope.SITES:
            return {"active_sites": self.inverse}
        return {"active_frames": self.inverse, "active_size_power": np.array(self.size_power)}


def select_active_set(potential: Graded, geometry: Geometry, scope: Scope = Scope.LINEAR) -> ActiveSet:
    """Active set of the environments of a training set.

    Parameters
    ----------
    geometry
        Of the training frames.
    """
    model = potential.model
    match scope:
        case Scope.LINEAR:
            return LinearActiveSet.select(geometry.type, potential.basis_values(geometry), len(model.species))
        case Scope.SITES:
            return ParameterActiveSet.select(scope, parameter_rows(model, geometry))
        case Scope.FRAMES:
            return ParameterActiveSet.select(scope, frame_rows(model, geometry, 0))
        case Scope.POSTERIOR:
            raise InputError("a posterior follows from labels, not from environments", seen=scope, hint="fit")


_OF_DRAWS = {"active_directions", "active_weights", "active_noise"}


def _is_number(array: np.ndarray | None) -> bool:
    return array is None or (array.shape == () and array.dtype == np.float64 and bool(np.isfinite(array)))


def active_set_from_arrays(arrays: dict[str, np.ndarray], model: MmtpModel) -> ActiveSet:
    """Inverse of :meth:`ActiveSet.arrays`.

    Raises
    ------
    InputError
        If the arrays are not those of an active set of this model.
    """
    if {"active_directions", "active_weights"} <= arrays.keys() <= _OF_DRAWS and _is_number(arrays.get("active_noise")):
        noise = float(arrays.get("active_noise", np.nan))
        draws = PosteriorDraws(arrays["active_directions"], arrays["active_weights"], noise)
        if draws.fits(model):
            return draws
    matrices = {name: a for name, a in arrays.items() if name != "active_size_power"}
    power = arrays.get("active_size_power", np.array(0))
    per_type = {f"active_{t}": t for t in range(len(model.species))}
    whole = {"active_sites": Scope.SITES, "active_frames": Scope.FRAMES}
    height = 1 + model.basis.n_scalar if matrices.keys() <= per_type.keys() else model.spec.n_parameters
    sound = power.shape == () and power in (0, 1, 2)
    for a in matrices.values():
        sound = sound and a.dtype == np.float64 and a.ndim == 2 and len(a) == height and bool(np.isfinite(a).all())
    if sound and matrices.keys() <= per_type.keys():
        return LinearActiveSet(tuple(matrices.get(name) for name in per_type))
    if sound and len(matrices) == 1 and matrices.keys() <= whole.keys():
        name, inverse = next(iter(matrices.items()))
        return ParameterActiveSet(whole[name], inverse, int(power))
    raise InputError("the active set of the model is damaged", seen=sorted(arrays))


def frame_rows(model: MmtpModel, geometry: Geometry, size_power: int) -> FloatArray:
    """(n, P) dE/d(parameter) of every frame, divided by N^(size_power / 2)."""
    out: FloatArray = np.zeros((len(geometry.counts), model.spec.n_parameters))
    for a in range(0, len(geometry.type), CHUNK):
        b = min(a + CHUNK, len(geometry.type))
        np.add.at(out, geometry.frame[a:b], parameter_rows(model, geometry, a, b))
    return out / (geometry.counts ** (0.5 * size_power))[:, None]


def _grades(rows: FloatArray, inverse: FloatArray) -> FloatArray:
    c = rows @ inverse
    highest: FloatArray = c.max(axis=1)
    lowest: FloatArray = c.min(axis=1)
    return np.maximum(highest, -lowest)


def _largest_of_frames(atoms: FloatArray, geometry: Geometry) -> FloatArray:
    return np.maximum.reduceat(atoms, geometry.offsets[:-1]) if len(geometry.counts) else np.zeros(0)


def _with_one(values: FloatArray) -> FloatArray:
    return np.concatenate([np.ones((len(values), 1)), values], axis=1)


def _spanned_inverse(rows: FloatArray) -> FloatArray:
    scale = np.sqrt((rows**2).mean(axis=0))
    scale[scale == 0.0] = 1.0
    _, s, vt = np.linalg.svd(np.linalg.qr(rows / scale, mode="r"), full_matrices=False)
    keep = s > RANK_TOLERANCE * s[0]
    project = vt[keep].T / s[keep] / scale[:, None]
    reduced = rows @ project
    return np.ascontiguousarray(project @ np.linalg.inv(reduced[maxvol(reduced)]))
