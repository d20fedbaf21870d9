"""The FLARE family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from magflow.core.label import LabeledFrame
from magflow.core.protocols import FitReport, Potential, Probe, Progress
from magflow.potentials.flare.core import probe
from magflow.potentials.flare.fit import FlareTask, fit_flare
from magflow.potentials.flare.potential import FlarePotential
from magflow.potentials.flare.settings import FlareSettings


class FlareFamily(FlareSettings):
    """Sparse Gaussian processes on the atomic cluster expansion, with FLARE's descriptors and kernel.

    They read no moments: energies and forces are those of the one magnetic state the labels were made in.
    """

    name: ClassVar[str] = "flare"
    magnetic: ClassVar[bool] = False
    needs_moments: ClassVar[bool] = False
    fits_tell_deviations: ClassVar[bool] = True

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
    ) -> tuple[FlarePotential, FitReport]:
        """Fit one potential: choose sparse atoms, then signal and noises by the largest evidence.

        Parameters
        ----------
        train
            Labelled frames; repeats weigh more. Forces or a stress that a label lacks are left out.
        seed
            Decides which of equally unlike atoms comes first, and with it all that follow.
        validation
            Its errors are reported; nothing is stopped by them.
        start
            A potential of this family, for the same elements and descriptors: its sparse atoms stay, further ones join
            them, and the search for signal and noises begins with its own.
        workdir
            Holds what tells one fit from another: a fit takes seconds and begins anew.

        Raises
        ------
        InputError
            No labels; an unknown element; numbers that are not finite; too little memory, with what it would take; a
            process that is not finite; a start of another form; a `workdir` that holds another fit.
        MissingToolError
            No mir-flare-core.
        """
        species = tuple(sorted(set(elements)))
        return fit_flare(self, FlareTask(train, validation, species, seed, start, progress, workdir))

    def load(self, data: bytes) -> FlarePotential:
        """Inverse of :meth:`FlarePotential.to_bytes`."""
        return FlarePotential.from_bytes(data)

    def probe(self) -> list[Probe]:
        """Whether mir-flare-core is there."""
        return [probe()]
