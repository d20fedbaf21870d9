"""Predictions of one potential and of an ensemble, for many frames at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from magflow.core.quantities import LAYOUTS as LAYOUTS
from magflow.core.quantities import QUANTITIES as QUANTITIES
from magflow.core.quantities import Layout as Layout
from magflow.core.types import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Prediction:
    """Energy, forces, stress and magnetic forces of n frames with sum N atoms.

    Parameters
    ----------
    counts
        (n,) atoms per frame.
    energy
        (n,) eV per cell.
    forces
        (sum N, 3) eV/A.
    stress
        (n, 6) Voigt xx yy zz yz xz xy, eV/A^3.
    magnetic_forces
        (sum N, 3) eV/muB, -dE/dm. None if the potential knows no moments.
    """

    counts: IntArray
    energy: FloatArray
    forces: FloatArray
    stress: FloatArray
    magnetic_forces: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.counts)

    @cached_property
    def offsets(self) -> IntArray:
        """(n + 1,) first atom of each frame."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    def frame(self, i: int) -> Prediction:
        """Frame `i` alone, as a prediction of one frame."""
        atoms = slice(int(self.offsets[i]), int(self.offsets[i + 1]))
        return Prediction(
            self.counts[i : i + 1],
            self.energy[i : i + 1],
            self.forces[atoms],
            self.stress[i : i + 1],
            None if self.magnetic_forces is None else self.magnetic_forces[atoms],
        )

    def atom_max(self, per_atom: FloatArray) -> FloatArray:
        """(n,) largest value of a (sum N,) array in each frame."""
        return np.maximum.reduceat(per_atom, self.offsets[:-1]) if len(self) else np.zeros(0)

    @property
    def energy_per_atom(self) -> FloatArray:
        """(n,) eV/atom."""
        return self.energy / self.counts


def concatenate(parts: Sequence[Prediction]) -> Prediction:
    """Predictions of several lists of frames, one after the other."""
    magnetic = [p.magnetic_forces for p in parts if p.magnetic_forces is not None]
    return Prediction(
        np.concatenate([p.counts for p in parts]),
        np.concatenate([p.energy for p in parts]),
        np.concatenate([p.forces for p in parts]),
        np.concatenate([p.stress for p in parts]),
        np.concatenate(magnetic) if len(magnetic) == len(parts) else None,
    )


@dataclass(frozen=True, eq=False)
class EnsemblePrediction:
    """Mean of K members and the spread of each component.

    `deviation` has the shapes of `mean`; every entry is the sample standard deviation (K - 1) of that
    component over the members, in the unit of the quantity.
    """

    mean: Prediction
    deviation: Prediction

    @classmethod
    def from_members(cls, members: Sequence[Prediction]) -> EnsemblePrediction:
        """Mean and deviation of the members' predictions; one member has zero deviation."""
        counts = members[0].counts
        mean: dict[str, FloatArray] = {}
        deviation: dict[str, FloatArray] = {}
        for name in QUANTITIES:
            values = [getattr(m, name) for m in members]
            if all(v is not None for v in values):
                stack = np.stack(values)
                mean[name] = stack.mean(axis=0)
                deviation[name] = _spread(stack, mean[name])
        return cls(Prediction(counts, **mean), Prediction(counts, **deviation))

    def frame_deviation(self, quantity: str) -> FloatArray:
        """(n,) one number per frame: what trust levels are compared with.

        energy: deviation per atom (eV/atom). forces, magnetic_forces: largest norm over the atoms of the
        component-wise deviation (eV/A, eV/muB), the max_devi_f and max_devi_mf of DP-GEN. stress: largest
        component (eV/A^3).
        """
        d, layout = self.deviation, LAYOUTS[quantity]
        values: FloatArray | None = getattr(d, quantity)
        if values is None:
            return np.zeros(len(d))
        if layout.per_atom:
            return d.atom_max(np.linalg.norm(values, axis=1))
        largest: FloatArray = np.abs(values.reshape(len(d), -1)).max(axis=1, initial=0.0)
        return largest / d.counts if layout.extensive else largest


def _spread(stack: FloatArray, mean: FloatArray) -> FloatArray:
    """Sample standard deviation over the first axis; `stack` is used up, which numpy's own would hold twice."""
    if len(stack) == 1:
        return np.zeros(mean.shape)
    stack -= mean
    stack *= stack
    spread: FloatArray = np.sqrt(stack.sum(axis=0) / (len(stack) - 1))
    return spread
