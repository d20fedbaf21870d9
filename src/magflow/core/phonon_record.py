"""Phonons that somebody has computed of one crystal: what potentials are held against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from magflow.core.arrays import digest
from magflow.core.force_constants import ForceConstantLabel
from magflow.core.frame import Frame
from magflow.core.types import FloatArray, IntArray
from magflow.errors import InputError


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Frequencies on a mesh of q-points.

    Parameters
    ----------
    mesh
        Divisions of the reciprocal primitive cell; the mesh holds Gamma.
    qpoints
        (n, 3) the irreducible ones, reduced.
    weights
        (n,) how many of the mesh each stands for.
    frequencies
        (n, b) THz; imaginary ones are negative.

    Raises
    ------
    InputError
        Shapes that do not fit each other, numbers that are not finite, bands that are no multiple of three.
    """

    mesh: tuple[int, int, int]
    qpoints: FloatArray
    weights: FloatArray
    frequencies: FloatArray

    def __post_init__(self) -> None:
        for name in ("qpoints", "weights", "frequencies"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=float))
        q, w, f = self.qpoints, self.weights, self.frequencies
        fits = q.ndim == f.ndim == 2 and q.shape == (len(w), 3) and len(f) == len(w) > 0 and f.shape[1] % 3 == 0
        if not fits or w.ndim != 1 or f.shape[1] == 0:
            raise InputError(
                "frequencies that do not fit their q-points",
                seen=f"q-points {q.shape}, weights {w.shape}, frequencies {f.shape}",
                expected="(n, 3), (n,) and (n, three times the atoms of the primitive cell)",
            )
        if not (np.isfinite(q).all() and np.isfinite(w).all() and np.isfinite(f).all()) or w.min() <= 0.0:
            raise InputError("a frequency, weight or q-point is not finite, or a weight not above zero")
        if len(self.mesh) != 3 or min(self.mesh) < 1 or round(w.sum()) != int(np.prod(self.mesh)):
            raise InputError(
                "weights of another mesh",
                seen=f"{w.sum():g} points in all",
                expected=f"{int(np.prod(self.mesh))} of the mesh {' x '.join(map(str, self.mesh))}",
            )

    @property
    def n_atoms(self) -> int:
        """Of the primitive cell."""
        return int(self.frequencies.shape[1]) // 3


@dataclass(frozen=True, eq=False)
class PhononRecord:
    """One crystal with reference phonons.

    Parameters
    ----------
    name
        For people; unique among those that are held against potentials together.
    crystal
        Unit cell at rest at the level of theory of the reference, with its moments.
    supercell
        (3, 3) in which the force constants are taken, in cell vectors of `crystal` as phonopy has it: columns.
    primitive
        (3, 3) the primitive cell, likewise; None: what symmetry says, moments included, where `crystal` is the
        supercell itself.
    reference
        Frequencies, or the force constants they follow from.

    Raises
    ------
    InputError
        A supercell without volume, a reference for another number of atoms.
    """

    name: str
    crystal: Frame
    supercell: IntArray
    primitive: FloatArray | None
    reference: Spectrum | ForceConstantLabel

    def __post_init__(self) -> None:
        supercell = np.asarray(self.supercell)
        if supercell.shape != (3, 3) or (supercell != np.rint(supercell)).any() or round(np.linalg.det(supercell)) < 1:
            raise InputError(
                "not a supercell", where=self.name, seen=supercell.tolist(), expected="(3, 3) whole numbers, volume > 0"
            )
        object.__setattr__(self, "supercell", supercell.astype(np.int64))
        if self.primitive is None and round(np.linalg.det(supercell)) > 1:
            raise InputError("a supercell without a primitive cell", where=self.name, expected="primitive")
        if self.primitive is not None:
            primitive = np.asarray(self.primitive, dtype=float)
            if primitive.shape != (3, 3) or not 0.0 < np.linalg.det(primitive) < 1.0 + 1e-6:
                raise InputError(
                    "not a primitive cell", where=self.name, seen=primitive.tolist(), expected="(3, 3), volume up to 1"
                )
            object.__setattr__(self, "primitive", primitive)
            self._check_bands(primitive)

    def _check_bands(self, primitive: FloatArray) -> None:
        if isinstance(self.reference, Spectrum):
            atoms = len(self.crystal) * float(np.linalg.det(primitive))
            if round(atoms) != self.reference.n_atoms:
                raise InputError(
                    "frequencies of another primitive cell",
                    where=self.name,
                    seen=f"{3 * self.reference.n_atoms} bands",
                    expected=f"{3 * round(atoms)}: the primitive cell has {round(atoms)} atoms",
                )

    @classmethod
    def of(cls, name: str, label: ForceConstantLabel) -> PhononRecord:
        """The crystal of some force constants; its supercell is that of the label."""
        return cls(name, label.frame, np.eye(3, dtype=np.int64), None, label)

    @property
    def n_atoms(self) -> int:
        """Of the supercell."""
        return len(self.crystal) * round(float(np.linalg.det(self.supercell)))

    @property
    def key(self) -> str:
        """24 hex digits of all but the name."""
        said = self.reference
        known = (
            [np.ascontiguousarray(a).tobytes() for a in (said.qpoints, said.weights, said.frequencies)]
            if isinstance(said, Spectrum)
            else [said.label_id.encode(), said.array.tobytes()]
        )
        primitive = b"" if self.primitive is None else np.ascontiguousarray(self.primitive).tobytes()
        return digest([self.crystal.frame_id.encode(), self.supercell.tobytes(), primitive, *known])
