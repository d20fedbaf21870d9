"""The sum of two potentials as one."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from ase.calculators.calculator import Calculator

from magflow.core import plugins
from magflow.core.arrays import DAMAGE
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.moments import GivenMoments
from magflow.core.prediction import Prediction
from magflow.core.protocols import KnowsDistances, KnowsMoments, KnowsStressOffset, Potential, TellsMagnetic
from magflow.core.types import FloatArray
from magflow.core.versions import Mark
from magflow.errors import InputError
from magflow.potentials.calculator import FrameCalculator

FORMAT = Mark("difference model", "magflow-difference")


@dataclass(frozen=True, eq=False)
class DifferencePotential:
    """A potential and a correction to it: energies, forces, stresses and magnetic forces add.

    Parameters
    ----------
    base
        The potential that was there.
    correction
        What was fitted to the labels less what `base` says of them; it knows the same elements.

    Raises
    ------
    InputError
        If the parts know different elements.
    """

    family: ClassVar[str] = "difference"
    base: Potential
    correction: Potential

    def __post_init__(self) -> None:
        if self.base.species != self.correction.species:
            raise InputError(
                "the parts of a difference know different elements",
                seen=", ".join(self.correction.species),
                expected=", ".join(self.base.species),
            )

    @property
    def parts(self) -> tuple[Potential, Potential]:
        """Base and correction."""
        return self.base, self.correction

    @property
    def species(self) -> tuple[str, ...]:
        """Elements it knows."""
        return self.base.species

    @property
    def cutoff(self) -> float:
        """The larger cutoff of the two, A."""
        return max(part.cutoff for part in self.parts)

    @property
    def magnetic(self) -> bool:
        """Whether a part reads moments."""
        return any(_reads_moments(part) for part in self.parts)

    @property
    def r_min(self) -> float:
        """Shortest distance that both were fitted on, A."""
        return max((part.r_min for part in self.parts if isinstance(part, KnowsDistances)), default=0.0)

    @property
    def max_moment(self) -> dict[str, float]:
        """Element to the largest |m| that each part which reads moments knows, muB."""
        found: dict[str, float] = {}
        for part in self.parts:
            if isinstance(part, KnowsMoments) and _reads_moments(part):
                found |= {e: min(m, found.get(e, np.inf)) for e, m in part.max_moment.items()}
        return found

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        """The sum; magnetic forces are those of the parts that read moments.

        Raises
        ------
        InputError
            What a part refuses.
        """
        base, correction = (part.predict(frames) for part in self.parts)
        magnetic = [p.magnetic_forces for p in (base, correction) if p.magnetic_forces is not None]
        return Prediction(
            base.counts,
            base.energy + correction.energy,
            base.forces + correction.forces,
            base.stress + correction.stress,
            np.sum(magnetic, axis=0) if magnetic else None,
        )

    def label_stress_offset(self, frames: Sequence[Frame]) -> FloatArray:
        """(n, 6) eV/A^3, what labelled stresses hold and the energies of both parts do not."""
        offsets = [part.label_stress_offset(frames) for part in self.parts if isinstance(part, KnowsStressOffset)]
        return np.sum(offsets, axis=0) if offsets else np.zeros((len(frames), 6))

    def calculator(self, *, moments: GivenMoments | None = None) -> Calculator:
        """ASE calculator at these moments, or at those of the atoms."""
        return FrameCalculator(self, moments=moments)

    def to_bytes(self) -> bytes:
        """``.npz``: the families of both parts, and their bytes."""
        header = json.dumps({"format": str(FORMAT), "families": [part.family for part in self.parts]})
        base, correction = (np.frombuffer(part.to_bytes(), dtype=np.uint8) for part in self.parts)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, header=np.array(header), base=base, correction=correction)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> DifferencePotential:
        """Inverse of :meth:`to_bytes`.

        Raises
        ------
        InputError
            If the bytes are no usable model, or of a family that nobody has registered.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                header = FORMAT.upgraded(json.loads(str(file["header"])))
                models = [file[name].tobytes() for name in ("base", "correction")]
            families = [str(name) for name in header["families"]]
        except DAMAGE as error:
            raise InputError(
                "not a usable difference model", seen=f"{len(data)} bytes: {error}", hint="the file may be damaged"
            ) from error
        pairs = zip(families, models, strict=True)
        return cls(*(plugins.load(plugins.POTENTIAL_FAMILIES, name)().load(model) for name, model in pairs))


def _reads_moments(part: object) -> bool:
    return not isinstance(part, TellsMagnetic) or part.magnetic


def less(items: Sequence[LabeledFrame], base: Potential) -> list[LabeledFrame]:
    """Labels less what `base` expects them to say: energy, forces, stress and, if it reads moments, magnetic forces.

    Raises
    ------
    InputError
        If `base` cannot predict a frame.
    """
    frames = [item.configuration for item in items]
    said = base.predict(frames)
    offset = base.label_stress_offset(frames) if isinstance(base, KnowsStressOffset) else np.zeros((len(frames), 6))
    out = []
    for k, item in enumerate(items):
        mine, label = said.frame(k), item.label
        left = replace(
            label,
            energy=None if label.energy is None else label.energy - float(mine.energy[0]),
            forces=_minus(label.forces, mine.forces),
            stress=_minus(label.stress, mine.stress[0] + offset[k]),
            magnetic_forces=_minus(label.magnetic_forces, mine.magnetic_forces),
        )
        out.append(LabeledFrame(item.frame, left))
    return out


def _minus(labelled: FloatArray | None, said: FloatArray | None) -> FloatArray | None:
    return labelled if labelled is None or said is None else labelled - said
