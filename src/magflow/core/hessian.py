"""Second derivatives of the energy of one frame by positions and moments together.

A vector in this space is (N, 4): x, y and z of every atom, A, and its moment along z, muB.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from magflow.core.frame import Frame
from magflow.core.prediction import Prediction
from magflow.core.types import BoolArray, FloatArray
from magflow.errors import InputError

LITTLE = 1e-3
"""Derivatives of this size and less count as none, in eV, A and muB."""
STEP = 0.01
"""A and muB, the larger of the two steps of central differences."""
BATCH = 2**21
"""Numbers in the vectors that are multiplied at once: bounds the memory."""


@runtime_checkable
class GivesHessian(Protocol):
    """A potential, or an ensemble, that differentiates its energy twice."""

    def hessian_vector_product(self, frame: Frame, vectors: ArrayLike) -> FloatArray:
        """(k, N, 4) products of the Hessian d2E/d(r, m)2 of one frame with each of `vectors` (k, N, 4).

        Components as in :mod:`magflow.core.hessian`, energies in eV. Where moments are not read, those of the vectors
        do not count and those of the products are zero. Raises InputError on what `predict` refuses and on vectors of
        another shape or that are not finite.
        """


@dataclass(frozen=True, eq=False)
class Hessian:
    """The Hessian of one frame.

    Parameters
    ----------
    array
        (N, 4, N, 4), as the products gave it: symmetric to rounding.
    """

    array: FloatArray

    @property
    def positions(self) -> FloatArray:
        """(3N, 3N) eV/A^2, E_rr: the force constants at clamped moments."""
        return self._block(slice(3), slice(3))

    @property
    def coupling(self) -> FloatArray:
        """(3N, N) eV/(A muB), E_rm: spin-lattice coupling, how forces change with moments (with the sign of dE/dr)."""
        return self._block(slice(3), slice(3, 4))

    @property
    def stiffness(self) -> FloatArray:
        """(N, N) eV/muB^2, E_mm: stiffness of the lengths of the local moments."""
        return self._block(slice(3, 4), slice(3, 4))

    def _block(self, rows: slice, columns: slice) -> FloatArray:
        n = len(self.array)
        block = self.array[:, rows, :, columns].reshape(n * len(range(4)[rows]), n * len(range(4)[columns]))
        other = self.array[:, columns, :, rows].reshape(block.shape[::-1])
        return np.asarray(0.5 * (block + other.T))

    def adiabatic(self, free: BoolArray | None = None) -> FloatArray:
        """(3N, 3N) eV/A^2, E_rr - E_rm E_mm^-1 E_mr: the force constants where the moments follow the atoms.

        The derivative of the forces along dm = -E_mm^-1 E_mr dr, which keeps dE/dm. It is what displacements give
        whose moments are brought to rest.

        Parameters
        ----------
        free
            (N,) atoms whose moments follow; None: all. The others keep theirs, as those of elements that carry none.

        Raises
        ------
        InputError
            If E_mm is not positive definite: the moments are at no minimum, and would not follow but leave.
        """
        chosen = np.ones(len(self.array), dtype=bool) if free is None else free
        if not chosen.any():
            return self.positions
        values, vectors = np.linalg.eigh(self.stiffness[np.ix_(chosen, chosen)])
        if values[0] <= 1e-9 * max(values[-1], 1.0):
            raise InputError(
                "the moments are at no minimum of the energy",
                seen=f"least stiffness {values[0]:.3g} eV/muB^2",
                expected="a positive definite d2E/dm2",
                hint="clamp the moments, or start from another magnetic state",
            )
        modes = self.coupling[:, chosen] @ vectors
        return np.asarray(self.positions - (modes / values) @ modes.T)


@runtime_checkable
class IsRough(Protocol):
    """A potential whose energy bends sharply within small displacements: its Hessian is not its force constants."""

    @property
    def roughness(self) -> float:
        """A, the displacement that force constants are to be taken from."""


def checked_vectors(vectors: ArrayLike, n_atoms: int) -> FloatArray:
    """(k, N, 4) contiguous.

    Raises
    ------
    InputError
        Another shape, or a number that is not finite.
    """
    found = np.ascontiguousarray(vectors, dtype=float)
    if found.ndim != 3 or found.shape[1:] != (n_atoms, 4):
        raise InputError(
            "vectors of another shape", seen=found.shape, expected=f"(k, {n_atoms}, 4): x, y, z and moment of each atom"
        )
    if not np.isfinite(found).all():
        raise InputError("a vector is not finite")
    return found


def hessian(potential: GivesHessian, frame: Frame) -> Hessian:
    """All second derivatives of the energy of one frame: the products with every unit vector.

    Raises
    ------
    InputError
        What `predict` refuses.
    """
    n = len(frame)
    size = 4 * n
    at_once = max(1, BATCH // max(size, 1))
    units = np.eye(size).reshape(size, n, 4)
    columns = [potential.hessian_vector_product(frame, units[k : k + at_once]) for k in range(0, size, at_once)]
    return Hessian(np.concatenate(columns).reshape(n, 4, n, 4).transpose(2, 3, 0, 1))


def by_displacements(
    predict: Callable[[Sequence[Frame]], Prediction], frame: Frame, vectors: ArrayLike, step: float
) -> FloatArray:
    """(k, N, 3) eV/A^2, central differences of forces along `vectors` (k, N, 3 or more), `step` A to either side."""
    along = np.asarray(vectors, dtype=float)[..., :3]
    sides = [frame.replace(positions=frame.positions + s * step * v) for v in along for s in (1.0, -1.0)]
    forces = predict(sides).forces.reshape(len(along), 2, len(frame), 3)
    return np.asarray((forces[:, 1] - forces[:, 0]) / (2.0 * step))


def hessian_by_differences(predict: Callable[[Sequence[Frame]], Prediction], frame: Frame) -> tuple[Hessian, float]:
    """All second derivatives of a potential that gives first ones only, and how far the steps disagree.

    Central differences of forces and magnetic forces with :data:`STEP` and half of it, extrapolated to none: the error
    is of fourth order.

    Returns
    -------
    tuple
        The Hessian, and the largest difference that halving the step makes before the extrapolation, as a share of the
        largest entry of its kind (E_rr, E_rm, E_mm), or of :data:`LITTLE` where that is larger.

    Raises
    ------
    InputError
        A frame without moments, a potential without magnetic forces, what `predict` refuses.
    """
    if frame.magmoms is None:
        raise InputError("a frame without moments", seen=repr(frame), expected="moments that can follow the atoms")
    wide, narrow = (_columns(predict, frame, step) for step in (STEP, 0.5 * STEP))
    found = (4.0 * narrow - wide) / 3.0
    blocks = [(slice(3), slice(3)), (slice(3), slice(3, 4)), (slice(3, 4), slice(3, 4))]
    worst = [
        float(np.abs(narrow[:, a, :, b] - wide[:, a, :, b]).max() / max(np.abs(found[:, a, :, b]).max(), LITTLE))
        for a, b in blocks
    ]
    return Hessian(found), max(worst)


def _columns(predict: Callable[[Sequence[Frame]], Prediction], frame: Frame, step: float) -> FloatArray:
    """(N, 4, N, 4) central differences with one step."""
    n = len(frame)
    found = np.zeros((n, 4, n, 4))
    for atom in range(n):
        sides = [_moved(frame, atom, axis, side * step) for axis in range(4) for side in (1.0, -1.0)]
        said = predict(sides)
        if said.magnetic_forces is None:
            raise InputError("the potential predicts no magnetic forces")
        slopes = -np.concatenate([said.forces, said.magnetic_forces[:, 2:]], axis=1).reshape(4, 2, n, 4)
        found[:, :, atom] = np.moveaxis((slopes[:, 0] - slopes[:, 1]) / (2.0 * step), 0, -1)
    return found


def _moved(frame: Frame, atom: int, axis: int, by: float) -> Frame:
    """With one atom displaced, or its moment along z changed (axis 3)."""
    if axis < 3:
        positions = frame.positions.copy()
        positions[atom, axis] += by
        return frame.replace(positions=positions)
    magmoms = np.array(frame.magmoms, dtype=float)
    magmoms[atom, 2] += by
    return frame.replace(magmoms=magmoms)
