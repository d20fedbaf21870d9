"""A CHGNet behind the Potential protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator
from numpy.typing import ArrayLike

from magflow.core.frame import Frame
from magflow.core.hessian import by_displacements, checked_vectors
from magflow.core.moments import GivenMoments
from magflow.core.prediction import Prediction, concatenate
from magflow.core.types import FloatArray
from magflow.core.units import voigt
from magflow.core.versions import Mark
from magflow.errors import InputError
from magflow.potentials.calculator import FrameCalculator
from magflow.potentials.chgnet.frames import batches, frame_arrays
from magflow.potentials.chgnet.program import CHGNET
from magflow.potentials.chgnet.settings import ROUGHNESS
from magflow.potentials.outside import archive

FORMAT = Mark("CHGNet model", "magflow-chgnet")
REACH = 2
"""Layers of messages that count for the cutoff."""


@dataclass(frozen=True, eq=False)
class ChgnetPotential:
    """One network, evaluated by chgnet in a process of its own.

    Parameters
    ----------
    definition
        ``pretrained``, the weights it began from; ``arguments``, the sizes of the network; ``precision``; ``species``;
        ``energy_shifts``, eV, of each of these, on top of the network's own energies of atoms.
    parameters
        All its numbers, by chgnet's names.
    """

    definition: Mapping[str, Any]
    parameters: Mapping[str, np.ndarray]

    family: ClassVar[str] = "chgnet"
    magnetic: ClassVar[bool] = False
    roughness: ClassVar[float] = ROUGHNESS

    @property
    def species(self) -> tuple[str, ...]:
        """Elements it may be asked for."""
        return tuple(self.definition["species"])

    @property
    def cutoff(self) -> float:
        """Distance from which on atoms hardly act on each other, A: neighbours of neighbours.

        Each of four layers of messages carries as far as the last, but what the third and fourth bring is little: of
        the force constants of NaCl 0.2 % are beyond, of silicon and iron 4e-6.
        """
        return REACH * float(self.definition["arguments"]["atom_graph_cutoff"])

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        """Energy, forces and stress. Moments of the frames are not read.

        Raises
        ------
        InputError
            Unknown species, an atom without neighbours, a prediction that is not finite.
        """
        parts = [self._predicted(frames[s], s.start) for s in batches(frames)]
        return concatenate(parts) if parts else _nothing()

    def shift_of(self, frames: Sequence[Frame]) -> FloatArray:
        """(n,) eV that ``energy_shifts`` add to the network's energies."""
        shifts = dict(zip(self.species, self.definition["energy_shifts"], strict=True))
        return np.array([sum(shifts[s] for s in frame.species) for frame in frames], dtype=float)

    def hessian_vector_product(self, frame: Frame, vectors: ArrayLike) -> FloatArray:
        """(k, N, 4) products with d2E/d(r, m)2; see :class:`~magflow.core.hessian.GivesHessian`.

        Exact: the graph of the forces is gone back through once for each vector. What that is where three atoms stand
        in a line, :attr:`roughness` and :meth:`columns` are about.

        Raises
        ------
        InputError
            As :meth:`predict`, vectors of another shape or that are not finite.
        """
        along = checked_vectors(vectors, len(frame))
        found: FloatArray = self._asked("products", [frame], 0, vectors=along)["products"]
        if not np.isfinite(found).all():
            raise InputError("the second derivatives are not finite")
        return found

    def columns(self, frame: Frame, vectors: FloatArray) -> FloatArray:
        """(k, N, 3) eV/A^2, how forces change over displacements of :attr:`roughness` along `vectors` (k, N, 4)."""
        return by_displacements(self.predict, frame, vectors, self.roughness)

    def _predicted(self, frames: Sequence[Frame], first: int) -> Prediction:
        answer = self._asked("evaluate", frames, first)
        if len(wrong := np.flatnonzero(~np.isfinite(answer["energy"]))):
            raise InputError("the prediction is not finite", where=f"frame {first + int(wrong[0])}")
        return Prediction(
            np.array([len(f) for f in frames], dtype=np.int64),
            answer["energy"] + self.shift_of(frames),
            answer["forces"],
            np.array([voigt(s) for s in answer["stress"]]),
            None,
        )

    def _asked(self, op: str, frames: Sequence[Frame], first: int, **more: np.ndarray) -> dict[str, np.ndarray]:
        arrays = frame_arrays(frames, self.species, first=first)
        return CHGNET.server().of_model(op, self._key, self._arrays, **arrays, **more)

    def _arrays(self) -> dict[str, np.ndarray]:
        return archive.arrays_of(self.definition, self.parameters)

    @cached_property
    def _key(self) -> str:
        return archive.key_of(self._arrays())

    def to_bytes(self) -> bytes:
        """``.npz``: the definition, the parameters and their SHA-256; no pickle."""
        return archive.to_bytes(FORMAT, self.family, self._arrays())

    @classmethod
    def from_bytes(cls, data: bytes) -> ChgnetPotential:
        """Inverse of :meth:`to_bytes`. chgnet is not needed for it.

        Raises
        ------
        InputError
            If the bytes are damaged, or hold a model of another family.
        """
        return cls(*archive.from_bytes(FORMAT, data, family=cls.family, what="CHGNet"))

    def calculator(self, *, moments: GivenMoments | None = None) -> Calculator:
        """ASE calculator; moments are not read."""
        return FrameCalculator(self, moments=moments)


def _nothing() -> Prediction:
    return Prediction(np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 3)), np.zeros((0, 6)), None)
