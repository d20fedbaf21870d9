"""The families ``nequip``, ``nequip-spin`` and ``allegro``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field

from magflow.core.force_constants import ForceConstantLabel
from magflow.core.label import LabeledFrame
from magflow.core.protocols import FitReport, Potential, Probe, Progress
from magflow.potentials.nequip.finetuning import finetune_nequip
from magflow.potentials.nequip.fit import fit_nequip
from magflow.potentials.nequip.potential import NequipPotential
from magflow.potentials.nequip.program import PROGRAMS
from magflow.potentials.nequip.settings import Architecture, NequipSettings
from magflow.potentials.outside.settings import weighed


class NequipBase(NequipSettings):
    """What acts on the settings."""

    sizes: ClassVar[tuple[str, ...]]
    """Settings that are sizes of the network."""

    @property
    def network(self) -> dict[str, int]:
        """Sizes of the network."""
        return {name: getattr(self, name) for name in self.sizes}

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
    ) -> tuple[NequipPotential, FitReport]:
        """Train one potential with nequip, or fine-tune one on force constants.

        One that was killed goes on from its last checkpoint when the same fit is asked for again in the same
        `workdir`; it ends near, a fine-tuning exactly at, the same parameters.

        Parameters
        ----------
        train
            Labelled frames; repeats weigh more. A quantity a label lacks is left out.
        validation
            If given, the epoch with the smallest loss on it is kept, and the fit stops after `patience` epochs
            without a better one.
        start
            A potential of this family, for the same elements, to go on from.
        force_constants
            Columns of the Hessian at clamped moments that `start` learns as `finetuning` says, `train` beside them.
            `validation` decides nothing then.

        Raises
        ------
        InputError
            No labels, values that are not finite, missing or non-collinear moments, a start of another form or other
            elements, a training that diverged, a `workdir` that holds another training; force constants without a
            start, or of moments that follow the atoms.
        MissingToolError
            No nequip, or one that does not start.
        StoreError
            The disk is full, or another process runs the same fit.
        """
        fit = partial(finetune_nequip, force_constants=force_constants) if force_constants else fit_nequip
        return fit(
            self,
            self.network,
            train,
            species=tuple(sorted(set(elements))),
            seed=seed,
            validation=validation,
            start=start,
            progress=progress,
            workdir=workdir,
        )

    @property
    def learns_force_constants(self) -> bool:
        """Whether force constants weigh anything."""
        return self.finetuning.weights.force_constants > 0.0

    @property
    def force_constant_weight(self) -> float:
        """``finetuning.weights.force_constants``."""
        return self.finetuning.weights.force_constants

    def weighing(self, force_constants: float, stress: float = 1.0, forces: float = 1.0) -> Self:
        """The same with other weights; see :class:`~magflow.core.protocols.LearnsForceConstants`."""
        tuning = weighed(self.finetuning, self.finetuning.weights, force_constants, stress, forces)
        return self.model_copy(update={"finetuning": tuning})

    def load(self, data: bytes) -> NequipPotential:
        """Inverse of :meth:`NequipPotential.to_bytes`."""
        return NequipPotential.from_bytes(data, family=self.name)

    def probe(self) -> list[Probe]:
        """Whether nequip starts, with what the network is made of, and on which PyTorch."""
        return [PROGRAMS[self.architecture].probe()]


class MessagePassing(NequipBase):
    """Networks in which atoms pass messages to their neighbours."""

    sizes: ClassVar[tuple[str, ...]] = ("layers", "l_max", "features", "radial_neurons", "radial_functions")

    layers: int = Field(default=2, ge=1, le=8, description="Layers; each lets an atom see one cutoff farther.")
    features: int = Field(default=16, ge=1, le=512, description="Features of each rotation order on an atom.")
    radial_neurons: int = Field(default=32, ge=1, le=1024, description="Neurons of the network that reads distances.")


class NequipFamily(MessagePassing):
    """NequIP without moments: energies and forces of the ground state the labels were made in."""

    name: ClassVar[str] = "nequip"
    magnetic: ClassVar[bool] = False
    needs_moments: ClassVar[bool] = False


class NequipSpinFamily(MessagePassing):
    """A NequIP that reads collinear moments; magnetic forces are labels and output.

    The energy of M and of -M is the same number, because moments enter by products of even degree alone.
    """

    name: ClassVar[str] = "nequip-spin"
    magnetic: ClassVar[bool] = True
    needs_moments: ClassVar[bool] = True
    sizes: ClassVar[tuple[str, ...]] = (*MessagePassing.sizes, "moment_functions")

    moment_functions: int = Field(
        default=3, ge=2, le=6, description="Chebyshev polynomials of a moment, from the constant on."
    )


class AllegroFamily(NequipBase):
    """Allegro: features of pairs, no messages, so that an atom sees one cutoff far whatever the layers. No moments."""

    name: ClassVar[str] = "allegro"
    architecture: ClassVar[Architecture] = Architecture.ALLEGRO
    magnetic: ClassVar[bool] = False
    needs_moments: ClassVar[bool] = False
    sizes: ClassVar[tuple[str, ...]] = ("layers", "l_max", "features", "tensor_features", "neurons", "radial_functions")

    layers: int = Field(default=1, ge=1, le=8, description="Layers; each multiplies in the neighbours once more.")
    features: int = Field(default=32, ge=1, le=512, description="Scalar features of a pair of atoms.")
    tensor_features: int = Field(
        default=8, ge=1, le=512, description="Features of a pair of each rotation order that are multiplied."
    )
    neurons: int = Field(
        default=32, ge=1, le=1024, description="Neurons of each network: of distances, layers and energies of pairs."
    )
