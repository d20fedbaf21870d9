"""The family ``chgnet``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from magflow.core.force_constants import ForceConstantLabel
from magflow.core.label import LabeledFrame
from magflow.core.protocols import FitReport, Potential, Probe, Progress
from magflow.potentials.chgnet.fit import fit_chgnet
from magflow.potentials.chgnet.potential import ChgnetPotential
from magflow.potentials.chgnet.program import CHGNET
from magflow.potentials.chgnet.settings import ChgnetSettings
from magflow.potentials.outside.settings import weighed


class ChgnetFamily(ChgnetSettings):
    """CHGNet (Deng et al., Nat. Mach. Intell. 5, 1031 (2023)), tuned on labels and on force constants.

    It reads no moments: those it can tell are a by-product of its training, and are not asked for.
    """

    name: ClassVar[str] = "chgnet"
    magnetic: ClassVar[bool] = False
    needs_moments: ClassVar[bool] = False

    def fit(
        self,
        train: Sequence[LabeledFrame],
        *,
        elements: Sequence[str],
        seed: int,
        validation: Sequence[LabeledFrame] = (),
        start: Potential | None = None,
        progress: Progress | None = None,
        workdir: Path | None = None,
        force_constants: Sequence[ForceConstantLabel] = (),
    ) -> tuple[ChgnetPotential, FitReport]:
        """Tune the published network, or `start`, on labels, with or without force constants.

        One that was killed goes on from its last checkpoint when the same fit is asked for again in the same
        `workdir`, and ends at the same parameters.

        Parameters
        ----------
        train
            Labelled frames; repeats weigh more. A quantity a label lacks is left out.
        validation
            The errors on it are told, and decide nothing.
        start
            A potential of this family, for the same elements, to go on from.
        force_constants
            Columns of the Hessian that are learnt beside the labels.

        Raises
        ------
        InputError
            No labels, values that are not finite, elements that CHGNet does not know, a start for other elements, a
            training that diverged, a `workdir` that holds another training.
        MissingToolError
            No chgnet, or one that does not start.
        StoreError
            The disk is full, or another process runs the same fit.
        """
        return fit_chgnet(
            self,
            train,
            species=tuple(sorted({*elements, *self.elements})),
            seed=seed,
            validation=validation,
            start=start,
            progress=progress,
            workdir=workdir,
            force_constants=force_constants,
        )

    @property
    def learns_force_constants(self) -> bool:
        """Whether force constants weigh anything."""
        return self.force_constant_weight > 0.0

    @property
    def force_constant_weight(self) -> float:
        """``finetuning.weights.force_constants``."""
        return self.finetuning.weights.force_constants

    def weighing(self, force_constants: float, stress: float = 1.0, forces: float = 1.0) -> Self:
        """The same with other weights; see :class:`~magflow.core.protocols.LearnsForceConstants`."""
        tuning = weighed(self.finetuning, self.finetuning.weights, force_constants, stress, forces)
        return self.model_copy(update={"finetuning": tuning})

    def load(self, data: bytes) -> ChgnetPotential:
        """Inverse of :meth:`ChgnetPotential.to_bytes`."""
        return ChgnetPotential.from_bytes(data)

    def probe(self) -> list[Probe]:
        """Whether chgnet starts, and on which PyTorch."""
        return [CHGNET.probe()]
