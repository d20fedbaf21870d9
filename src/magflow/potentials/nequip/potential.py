"""A trained network behind the Potential protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator
from numpy.typing import ArrayLike

from magflow.core.compilation import Compilation
from magflow.core.frame import Frame
from magflow.core.hessian import checked_vectors
from magflow.core.moments import GivenMoments
from magflow.core.prediction import Prediction, concatenate
from magflow.core.types import FloatArray
from magflow.core.units import voigt
from magflow.core.versions import Mark
from magflow.errors import InputError
from magflow.potentials.calculator import FrameCalculator
from magflow.potentials.nequip.compiled import compile_model, prefix_of
from magflow.potentials.nequip.graph import batches, graph
from magflow.potentials.nequip.program import PROGRAMS
from magflow.potentials.nequip.settings import Architecture
from magflow.potentials.outside import archive
from magflow.potentials.outside.process import Program

FORMAT = Mark("NequIP model", "magflow-nequip")


@dataclass(frozen=True, eq=False)
class NequipPotential:
    """One network, evaluated by nequip in a process of its own.

    Parameters
    ----------
    definition
        See :mod:`magflow.potentials.nequip.definition`.
    parameters
        What was learnt, by nequip's names.
    """

    definition: Mapping[str, Any]
    parameters: Mapping[str, np.ndarray]

    @property
    def family(self) -> str:
        """The name of its family."""
        return f"{self.architecture}-spin" if self.magnetic else str(self.architecture)

    @property
    def architecture(self) -> Architecture:
        """The kind of its network; in files of older releases there was one."""
        return Architecture(self.definition.get("architecture", Architecture.NEQUIP))

    @property
    def species(self) -> tuple[str, ...]:
        """Elements it knows."""
        return tuple(self.definition["species"])

    @property
    def cutoff(self) -> float:
        """Largest distance at which atoms act on the energy of another, A: one cutoff for each layer of messages."""
        if self.architecture is Architecture.ALLEGRO:
            return self._one_layer
        return self._one_layer * int(self.definition["network"]["layers"])

    @property
    def _one_layer(self) -> float:
        return float(self.definition["cutoff"])

    @property
    def magnetic(self) -> bool:
        """Whether it reads moments."""
        return "moment_units" in self.definition

    @property
    def r_min(self) -> float:
        """Shortest distance it was fitted on, A; 0 if no atom had a neighbour."""
        found = float(self.definition["closest"])
        return found if np.isfinite(found) else 0.0

    @property
    def max_moment(self) -> dict[str, float]:
        """Element to the largest moment it was fitted on, muB."""
        return dict(zip(self.species, self.definition.get("largest_moments", ()), strict=False))

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        """Energy, forces, stress and, of a magnetic one, magnetic forces.

        Raises
        ------
        InputError
            Unknown species, missing or non-collinear moments, atoms in one place, a prediction that is not finite.
        """
        parts = [self._predicted(frames[s], s.start) for s in batches(frames, self._one_layer)]
        return concatenate(parts) if parts else self._empty()

    def atomic_energies(self, frames: Sequence[Frame]) -> FloatArray:
        """(sum N,) eV, each atom's share."""
        parts = [self._asked("evaluate", frames[s], s.start)["atomic_energy"] for s in batches(frames, self._one_layer)]
        return np.concatenate([np.zeros(0), *parts])

    def hessian_vector_product(self, frame: Frame, vectors: ArrayLike) -> FloatArray:
        """(k, N, 4) products with d2E/d(r, m)2; see :class:`~magflow.core.hessian.GivesHessian`.

        Exact: the graph of forces and magnetic forces is gone back through once for each vector.

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

    def _empty(self) -> Prediction:
        none = np.zeros((0, 3))
        return Prediction(np.zeros(0, np.int64), np.zeros(0), none, np.zeros((0, 6)), none if self.magnetic else None)

    def _predicted(self, frames: Sequence[Frame], first: int) -> Prediction:
        answer = self._asked("evaluate", frames, first)
        if len(wrong := np.flatnonzero(~np.isfinite(answer["energy"]))):
            raise InputError("the prediction is not finite", where=f"frame {first + int(wrong[0])}")
        magnetic = None
        if self.magnetic:
            magnetic = np.zeros_like(answer["forces"])
            magnetic[:, 2] = answer["magnetic_forces"]
        return Prediction(
            np.array([len(f) for f in frames], dtype=np.int64),
            answer["energy"],
            answer["forces"],
            np.array([voigt(s) for s in answer["stress"]]),
            magnetic,
        )

    def _asked(self, op: str, frames: Sequence[Frame], first: int, **more: np.ndarray) -> dict[str, np.ndarray]:
        arrays = graph(frames, self.species, self._one_layer, magnetic=self.magnetic, first=first)
        return self._program.server().of_model(op, self._key, self._sent, **arrays, **more)

    @property
    def _program(self) -> Program:
        return PROGRAMS[self.architecture]

    def _sent(self) -> dict[str, np.ndarray]:
        """What a server loads."""
        return {**self._arrays(), "compiled": np.array(prefix_of(self._key))}

    def compile(self) -> Compilation:
        """Compile it for this machine, where it is used so from then on; see :mod:`magflow.core.compilation`.

        The compiled model is kept in ``cache_dir``, by the content of this one. Second derivatives, and frames of one
        atom, go on without it.

        Raises
        ------
        MissingToolError
            No C++ compiler, no nequip, or a PyTorch that cannot compile.
        StoreError
            ``cache_dir`` cannot be written.
        """
        made = compile_model(self._program, self._key, self._arrays(), self.definition)
        self._program.server().renew(self._key, self._sent)
        return made

    def _arrays(self) -> dict[str, np.ndarray]:
        return archive.arrays_of(self.definition, self.parameters)

    @cached_property
    def _key(self) -> str:
        return archive.key_of(self._arrays())

    def to_bytes(self) -> bytes:
        """``.npz``: the definition, the parameters and their SHA-256; no pickle."""
        return archive.to_bytes(FORMAT, self.family, self._arrays())

    @classmethod
    def from_bytes(cls, data: bytes, *, family: str) -> NequipPotential:
        """Inverse of :meth:`to_bytes`. nequip is not needed for it.

        Raises
        ------
        InputError
            If the bytes are damaged, or hold a model of another family.
        """
        return cls(*archive.from_bytes(FORMAT, data, family=family, what="NequIP"))

    def calculator(self, *, moments: GivenMoments | None = None) -> Calculator:
        """ASE calculator at these moments, or at those of the atoms."""
        return FrameCalculator(self, moments=moments)
