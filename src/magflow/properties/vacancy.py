"""What it costs to take an atom out of a crystal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field

from magflow.core.frame import Frame
from magflow.core.prediction import Prediction
from magflow.core.protocols import WorkProgress, silent
from magflow.explore.geometry import repeated
from magflow.explore.relaxation.held import Held
from magflow.presentation.blocks import Plot
from magflow.properties.base import PointProperty
from magflow.properties.measurement import Measurement, Reading, Value
from magflow.properties.runs import repeats_for
from magflow.properties.subject import Subject


class Vacancy(PointProperty):
    """Formation energy E(N - 1) - (N - 1) / N E(N) of a vacancy in a crystal of one element, at zero pressure.

    Atoms, cell and moments are at rest with and without the vacancy. The atom taken out is the first one of the cell.
    """

    name: ClassVar[str] = "vacancy"
    title: ClassVar[str] = "Vacancy"
    headline: ClassVar[tuple[str, ...]] = ("vacancy formation energy",)

    atoms: int = Field(default=54, ge=2, description="of the perfect supercell, at least")

    def quick(self) -> Self:
        """A small supercell."""
        return self.model_copy(update={"atoms": 16})

    def obstacle(self, subject: Subject) -> str:
        """Where an atom of a compound goes depends on chemical potentials."""
        if len(set(subject.frame.species)) > 1:
            return "it holds several elements: the energy depends on their chemical potentials"
        return ""

    def frames(self, subject: Subject, progress: WorkProgress = silent) -> list[Frame]:
        """The perfect supercell and the one with a vacancy."""
        rest = subject.at_rest()
        a, b, c = (int(n) for n in repeats_for(rest, self.atoms))
        perfect = repeated(rest, (a, b, c))
        # first the atoms give way, then the cell
        relaxed = subject.at_rest(Held.CELL, frame=_without_first(perfect))
        return [perfect, subject.at_rest(frame=relaxed)]

    def read(self, subject: Subject, frames: Sequence[Frame], points: Prediction) -> Reading:
        """The formation energy and the volume of the vacancy."""
        perfect, vacant = frames
        n = len(perfect)
        energy = float(points.energy[1] - (n - 1) / n * points.energy[0])
        volume = vacant.volume - (n - 1) / n * perfect.volume
        return Reading(
            (
                Value("vacancy formation energy", "eV", energy),
                Value("vacancy formation volume", "atomic volumes", float(volume * n / perfect.volume)),
            )
        )

    def plots(self, found: Sequence[tuple[str, Measurement]]) -> list[Plot]:
        """Two numbers need no figure."""
        return []


def _without_first(frame: Frame) -> Frame:
    magmoms = None if frame.magmoms is None else frame.magmoms[1:]
    constrained = None if frame.constrained is None else frame.constrained[1:]
    return Frame(frame.species[1:], frame.cell, frame.positions[1:], magmoms, constrained)
