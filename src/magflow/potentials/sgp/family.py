"""The SGP family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from magflow.core.label import LabeledFrame
from magflow.core.protocols import FitReport, Potential, Probe, Progress
from magflow.errors import InputError
from magflow.potentials.mmtp import MmtpFamily
from magflow.potentials.mmtp.task import FitTask
from magflow.potentials.sgp.fit import fit_sgp
from magflow.potentials.sgp.potential import SgpPotential
from magflow.potentials.sgp.settings import SgpSettings


class SgpFamily(SgpSettings):
    """Gaussian processes on the descriptors of an mMTP, which tell the variance of all they predict."""

    name: ClassVar[str] = "sgp"
    needs_moments: ClassVar[bool] = False
    fits_tell_deviations: ClassVar[bool] = True

    @property
    def magnetic(self) -> bool:
        """Whether the mMTP under it reads moments."""
        return self.mmtp.moment_polynomials > 1

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
    ) -> tuple[SgpPotential, FitReport]:
        """Fit one potential: an mMTP as its settings say, then the process on its descriptors.

        The parameters are those of :meth:`magflow.potentials.mmtp.MmtpFamily.fit`; `start` is a potential of this
        family, whose mMTP the new one goes on from.

        Raises
        ------
        InputError
            As that one; too little memory, with what it would take; a process that is not finite.
        """
        species = tuple(sorted(set(elements)))
        begin = None
        if start is not None:
            if not isinstance(start, SgpPotential):
                raise InputError("the warm start is of another family", seen=start.family)
            begin = start.start
        return fit_sgp(self, FitTask(train, validation, species, seed, begin, progress, workdir))

    def load(self, data: bytes) -> SgpPotential:
        """Inverse of :meth:`SgpPotential.to_bytes`."""
        return SgpPotential.from_bytes(data)

    def probe(self) -> list[Probe]:
        """Whether the compiled kernel loads."""
        return MmtpFamily().probe()
