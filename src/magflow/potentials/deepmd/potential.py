"""A trained DeePMD model behind the Potential protocol."""

from __future__ import annotations

import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator

from magflow.core.arrays import DAMAGE
from magflow.core.frame import Frame
from magflow.core.moments import GivenMoments
from magflow.core.prediction import Prediction
from magflow.core.types import FloatArray
from magflow.core.units import voigt
from magflow.core.versions import Mark
from magflow.errors import InputError
from magflow.potentials.calculator import FrameCalculator
from magflow.potentials.deepmd.descriptors import reach
from magflow.potentials.deepmd.program import DEEPMD_KIT
from magflow.potentials.outside.labels import check_frame

FORMAT = Mark("DeePMD model", "magflow-deepmd")
BATCH_ATOMS = 512
"""Atoms evaluated at once: bounds the memory of spin models, whose neighbour search grows with the atoms squared."""


@dataclass(frozen=True, eq=False)
class DeepmdPotential:
    """One Deep Potential, evaluated by deepmd-kit in a process of its own.

    Parameters
    ----------
    checkpoint
        The weights of a PyTorch checkpoint of deepmd-kit, as a file of ``torch.save``.
    model
        Section ``model`` of the input it was trained with.
    """

    checkpoint: bytes
    model: Mapping[str, Any]

    @property
    def family(self) -> str:
        """``dp-spin`` or ``dp``."""
        return "dp-spin" if self.magnetic else "dp"

    @property
    def species(self) -> tuple[str, ...]:
        """Elements it knows."""
        return tuple(self.model["type_map"])

    @property
    def cutoff(self) -> float:
        """Largest distance at which atoms act on the energy of another, A."""
        return reach(self.model["descriptor"])

    @property
    def magnetic(self) -> bool:
        """Whether it reads moments."""
        return "spin" in self.model

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        """Energy, forces, stress and, of a spin model, magnetic forces.

        Raises
        ------
        InputError
            Unknown species, missing moments, a prediction that is not finite.
        """
        for i, frame in enumerate(frames):
            check_frame(frame, self.species, magnetic=self.magnetic, where=f"frame {i}")
        counts = np.array([len(frame) for frame in frames], dtype=np.int64)
        ends = np.cumsum(counts)
        energy, stress = np.zeros(len(frames)), np.zeros((len(frames), 6))
        forces, magnetic = np.zeros((int(counts.sum()), 3)), np.zeros((int(counts.sum()), 3))
        for batch in _batches(frames):
            answer = self._evaluate([frames[i] for i in batch])
            for k, i in enumerate(batch):
                if not np.isfinite(answer["energy"][k]):
                    raise InputError("the prediction is not finite", where=f"frame {i}")
                atoms = slice(int(ends[i] - counts[i]), int(ends[i]))
                energy[i] = answer["energy"][k]
                forces[atoms] = answer["force"][k]
                # deepmd-kit's virial is -dE/d(strain), eV; of a spin model it is not symmetric, because spins do not
                # turn with the lattice, and voigt() takes the symmetric part: the strain without the rotation.
                stress[i] = -voigt(answer["virial"][k]) / frames[i].volume
                if self.magnetic:
                    magnetic[atoms] = answer["force_mag"][k]
        return Prediction(counts, energy, forces, stress, magnetic if self.magnetic else None)

    def _evaluate(self, frames: Sequence[Frame]) -> dict[str, FloatArray]:
        """Evaluate frames of one species list; a spin model at M and at -M, whose mean is even in the moments."""
        n = len(frames)
        coord = np.array([frame.positions for frame in frames])
        cell = np.array([frame.cell for frame in frames])
        types = np.array([self.species.index(s) for s in frames[0].species])
        if not self.magnetic:
            return self._ask(coord=coord, cell=cell, types=types)
        spin = np.array([frame.magmoms for frame in frames])
        both = self._ask(
            coord=np.concatenate([coord, coord]),
            cell=np.concatenate([cell, cell]),
            types=types,
            spin=np.concatenate([spin, -spin]),
        )
        both["force_mag"][n:] *= -1.0
        return {name: 0.5 * (values[:n] + values[n:]) for name, values in both.items()}

    def _ask(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        def model() -> dict[str, np.ndarray]:
            return {"checkpoint": np.frombuffer(self.checkpoint, dtype=np.uint8)}

        return DEEPMD_KIT.server().evaluate(hashlib.sha256(self.checkpoint).hexdigest(), model, **arrays)

    def to_bytes(self) -> bytes:
        """``.npz``: checkpoint, its SHA-256 and the definition of the model."""
        header = {
            "format": str(FORMAT),
            "family": self.family,
            "sha256": hashlib.sha256(self.checkpoint).hexdigest(),
            "model": dict(self.model),
        }
        buffer = io.BytesIO()
        np.savez(
            buffer,
            allow_pickle=False,
            header=np.array(json.dumps(header, sort_keys=True)),
            checkpoint=np.frombuffer(self.checkpoint, dtype=np.uint8),
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, *, family: str) -> DeepmdPotential:
        """Inverse of :meth:`to_bytes`. deepmd-kit is not needed for it.

        Raises
        ------
        InputError
            If the bytes are damaged, or hold a model of another family.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                header = FORMAT.upgraded(json.loads(str(archive["header"])))
                checkpoint = archive["checkpoint"].tobytes()
            whole = header["sha256"] == hashlib.sha256(checkpoint).hexdigest()
            found = str(header["family"])
            potential = cls(checkpoint, header["model"])
            whole = whole and bool(potential.species) and potential.cutoff > 0.0
        except DAMAGE as error:
            raise InputError("not a DeePMD model", seen=f"{len(data)} bytes: {error}") from error
        if not whole:
            raise InputError("the DeePMD model is damaged", seen=f"{len(data)} bytes")
        if found != family:
            raise InputError("the model is of another family", seen=found, expected=family)
        return potential

    def calculator(self, *, moments: GivenMoments | None = None) -> Calculator:
        """ASE calculator at these moments, or at those of the atoms."""
        return FrameCalculator(self, moments=moments)


def _batches(frames: Sequence[Frame]) -> Iterator[list[int]]:
    """Indices of frames with the same species list, at most :data:`BATCH_ATOMS` atoms at a time."""
    alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, frame in enumerate(frames):
        alike[frame.species].append(i)
    for species, indices in alike.items():
        size = max(1, BATCH_ATOMS // len(species))
        for at in range(0, len(indices), size):
            yield indices[at : at + size]
