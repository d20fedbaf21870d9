"""The DeePMD families ``dp`` and ``dp-spin``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from magflow.core.label import LabeledFrame
from magflow.core.protocols import FitReport, Potential, Probe, Progress
from magflow.potentials.deepmd import inputs
from magflow.potentials.deepmd.fit import fit_deepmd
from magflow.potentials.deepmd.potential import DeepmdPotential
from magflow.potentials.deepmd.program import DEEPMD_KIT
from magflow.potentials.deepmd.settings import DeepmdSettings


class DeepmdFamily(DeepmdSettings):
    """What acts on the settings."""

    def form(
        self, items: Sequence[LabeledFrame], species: Sequence[str], given: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """Section ``model`` of deepmd-kit's input, without seeds; that of a pretrained model is `given`."""
        return inputs.model_section(self, items, species) if given is None else given

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
    ) -> tuple[DeepmdPotential, FitReport]:
        """Train one potential with deepmd-kit.

        One that was killed goes on from its last checkpoint when the same fit is asked for again in the same
        `workdir`. Its batches come in another order then, so it ends near, not exactly at, the same parameters.

        Parameters
        ----------
        train
            Labelled frames; repeats weigh more. A quantity a label lacks is left out.
        validation
            If given, the step with the smallest error of the forces on it (of the energies, if there are no forces)
            is kept, and the fit stops after `patience` validations without a better one.
        start
            A potential of this family, for the same elements, to go on from; for `dp-spin` with dpa4 also one of
            `dp`.

        Raises
        ------
        InputError
            No labels, values that are not finite, missing moments, a start of another form or other elements, a
            training that diverged, a `workdir` that holds another training.
        MissingToolError
            No deepmd-kit, or one that does not fit its PyTorch.
        StoreError
            The disk is full, or another process runs the same fit.
        """
        return fit_deepmd(
            self,
            self.form,
            train,
            species=tuple(sorted(set(elements))),
            seed=seed,
            validation=validation,
            start=start,
            progress=progress,
            workdir=workdir,
        )

    def load(self, data: bytes) -> DeepmdPotential:
        """Inverse of :meth:`DeepmdPotential.to_bytes`."""
        return DeepmdPotential.from_bytes(data, family=self.name)

    def probe(self) -> list[Probe]:
        """Whether deepmd-kit starts, and on which PyTorch."""
        return [DEEPMD_KIT.probe()]


class DpFamily(DeepmdFamily):
    """Deep Potential without spins: energies and forces of the ground state the labels were made in."""

    name: ClassVar[str] = "dp"
    magnetic: ClassVar[bool] = False
    needs_moments: ClassVar[bool] = False


class DpSpinFamily(DeepmdFamily):
    """DeepSPIN: moments are input, magnetic forces are labels and output.

    The energy is (E(M) + E(-M))/2 of the network's, which learns from both.
    """

    name: ClassVar[str] = "dp-spin"
    magnetic: ClassVar[bool] = True
    needs_moments: ClassVar[bool] = True

    virtual_length: float = Field(
        default=0.4,
        gt=0.0,
        le=1.0,
        description="Distance between an atom with the largest moment of its element in the labels and the virtual "
        "atom that stands for this moment, A; not of dpa4, which has none.",
    )

    softening: float = Field(
        default=1.0,
        gt=0.0,
        le=5.0,
        description="The descriptor reads 1/(r + softening), A. A virtual atom comes as near to its own atom as its "
        "moment is small: with deepmd-kit's 0.01 A these pairs drown all others where moments vary in size. Not of "
        "dpa4, which has none.",
    )

    def form(
        self, items: Sequence[LabeledFrame], species: Sequence[str], given: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """Section ``model`` of deepmd-kit's input, with what moments are there: vectors of dpa4, else virtual atoms."""
        section = super().form(items, species, given)
        return inputs.with_spins(section, items, virtual_length=self.virtual_length, softening=self.softening)
