"""The difference family: a fit keeps the potential it starts from, and learns what that one leaves of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from magflow.core.label import LabeledFrame
from magflow.core.protocols import FitReport, Potential, Probe, Progress
from magflow.errors import InputError
from magflow.potentials.difference.potential import DifferencePotential, less
from magflow.potentials.difference.settings import DifferenceSettings


class DifferenceFamily(DifferenceSettings):
    """A potential of any family, kept as it is, and a correction fitted to what it leaves of the labels.

    Delta learning (Ramakrishnan et al., J. Chem. Theory Comput. 11, 2087 (2015)): where labels of one kind are cheap
    and those of another lie near them, the difference is smoother and smaller than the whole, and fewer of the dear
    labels tell it.
    """

    name: ClassVar[str] = "difference"
    needs_start: ClassVar[bool] = True

    @property
    def magnetic(self) -> bool:
        """Whether the correction reads moments."""
        return self.correction.magnetic

    @property
    def needs_moments(self) -> bool:
        """Whether the correction cannot learn from labels without moments."""
        return self.correction.needs_moments

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
    ) -> tuple[DifferencePotential, FitReport]:
        """Fit the correction.

        Parameters
        ----------
        train, validation
            Labels of the whole, not of the difference.
        start
            The potential that is kept, of any family; of a difference its base, and its correction is where the fit
            of the new one starts.

        Raises
        ------
        InputError
            No start, an element it does not know, what the family of the correction refuses.
        """
        base, begin = _kept(start, elements)
        correction, report = self.correction.fit(
            less(train, base),
            elements=base.species,
            seed=seed,
            validation=less(validation, base),
            start=begin,
            progress=progress,
            workdir=workdir,
        )
        details = {**report.details, "base": base.family}
        return DifferencePotential(base, correction), replace(report, details=details)

    def load(self, data: bytes) -> DifferencePotential:
        """Inverse of :meth:`DifferencePotential.to_bytes`."""
        return DifferencePotential.from_bytes(data)

    def probe(self) -> list[Probe]:
        """What the family of the correction needs."""
        return self.correction.probe()


def _kept(start: Potential | None, elements: Sequence[str]) -> tuple[Potential, Potential | None]:
    """The base, and the correction to go on from."""
    if start is None:
        raise InputError(
            "a difference is one to another potential",
            expected="a potential to start from, which is kept",
            hint="--start DIR, of any family",
        )
    if unknown := sorted(set(elements) - set(start.species)):
        raise InputError(
            "the potential to start from does not know an element",
            seen=", ".join(unknown),
            expected="only " + ", ".join(start.species),
        )
    return (start.base, start.correction) if isinstance(start, DifferencePotential) else (start, None)
