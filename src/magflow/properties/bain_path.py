"""Bain path: bcc is stretched along one edge of its cube at constant volume, until it is fcc."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field, field_validator

from magflow.core.frame import Frame
from magflow.core.prediction import Prediction
from magflow.core.protocols import WorkProgress, silent
from magflow.core.types import FloatArray
from magflow.explore.relaxation.held import Held
from magflow.explore.symmetry import SYMPREC, spglib_cell
from magflow.presentation.blocks import Plot, plot
from magflow.presentation.style import MARKERS, SERIES, draw
from magflow.properties.at_rest import line, mean_moments
from magflow.properties.base import PointProperty
from magflow.properties.measurement import Measurement, Reading, Value
from magflow.properties.subject import Subject

CURVE = "path"
RATIO, ENERGY, MOMENT = "c/a", "energy above bcc (eV/atom)", "mean |m| (muB)"
HEADS = "Energy above bcc (meV/atom)", "Mean |m| (\N{GREEK SMALL LETTER MU}B)"
FCC = float(np.sqrt(2.0))
"""c/a of fcc, in the body-centred tetragonal cell whose c/a is 1 in bcc."""
_BCC = (229, 2)
"""Space group, and atoms of the conventional cell, of the bcc lattice."""


class BainPath(PointProperty):
    """Energies along c/a at the volume of bcc at rest (E. C. Bain, Trans. AIME 70, 25 (1924)).

    The fractional positions are kept; moments are those at rest, or as the subject says. An ordered alloy on the bcc
    lattice ends as the one on the fcc lattice: B2 as L1_0.
    """

    name: ClassVar[str] = "bain-path"
    title: ClassVar[str] = "Bain path"
    headline: ClassVar[tuple[str, ...]] = ("energy of fcc above bcc, one volume",)

    range: tuple[float, float] = Field(
        default=(0.9, 1.6), description="lowest and highest c/a; those of bcc (1) and fcc (1.414) are between them"
    )
    points: int = Field(default=15, ge=3, le=101, description="values of c/a, to which those of bcc and fcc are added")

    @field_validator("range")
    @classmethod
    def _holds_both(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if not 0.5 <= ends[0] <= 1.0 < FCC <= ends[1] <= 2.5:
            raise ValueError("the lowest is from 0.5 to 1, the highest from 1.415 to 2.5")
        return ends

    def quick(self) -> Self:
        """Half the points."""
        return self.model_copy(update={"points": 8})

    def obstacle(self, subject: Subject) -> str:
        """It starts from bcc, whichever elements sit on the lattice."""
        found = _lattice(subject.frame)
        if found is None or (int(found.number), len(found.std_types)) != _BCC:
            return "the atoms do not sit on a bcc lattice"
        return ""

    def frames(self, subject: Subject, progress: WorkProgress = silent) -> list[Frame]:
        """The crystal at rest, stretched to rising c/a."""
        rest = subject.at_rest(Held.SHAPE, Held.ATOMS)
        axes = np.asarray(_lattice(subject.frame).std_rotation_matrix)
        return subject.with_moments_at_rest([_stretched(rest, ratio, axes) for ratio in self._ratios()])

    def _ratios(self) -> FloatArray:
        even = np.linspace(*self.range, self.points)
        # a point next to one of the two would only repeat it
        apart = even[np.min(np.abs(even[:, None] - [1.0, FCC]), axis=1) > 1e-3]
        return np.sort(np.concatenate([apart, [1.0, FCC]]))

    def read(self, subject: Subject, frames: Sequence[Frame], points: Prediction) -> Reading:
        """Energies above that of bcc, and what fcc is above it."""
        ratios = self._ratios()
        bcc, fcc = np.searchsorted(ratios, [1.0, FCC])
        energies = points.energy_per_atom - points.energy_per_atom[bcc]
        curve: dict[str, FloatArray] = {RATIO: ratios, ENERGY: energies}
        values = [Value("energy of fcc above bcc, one volume", "meV/atom", 1e3 * float(energies[fcc]))]
        moments = mean_moments(subject, frames)
        if moments is not None:
            curve[MOMENT] = moments
            values += [Value("moment", "muB/atom", float(moments[k]), at=at) for k, at in ((bcc, "bcc"), (fcc, "fcc"))]
        return Reading(tuple(values), {CURVE: curve})

    def plots(self, found: Sequence[tuple[str, Measurement]]) -> list[Plot]:
        """Energy, and the mean moment where there is one, against c/a."""
        shown = [(label, m.curves[CURVE]) for label, m in found if CURVE in m.curves]
        if not shown:
            return []
        columns = 2 if any(MOMENT in curve for _, curve in shown) else 1

        def paint(axes: Any) -> None:
            first, *second = np.atleast_1d(axes)
            for k, (label, curve) in enumerate(shown):
                style = {"color": SERIES[k % len(SERIES)], "marker": MARKERS[k % len(MARKERS)], "label": label}
                line(first, curve, (RATIO, ENERGY), 1e3, style)
                if MOMENT in curve:
                    line(second[0], curve, (RATIO, MOMENT), 1.0, style)
            for panel, head in zip((first, *second), HEADS, strict=False):
                for ratio in (1.0, FCC):
                    panel.axvline(ratio, color="0.6", linewidth=0.8, zorder=0)
                panel.set_xlabel("c/a")
                panel.set_ylabel(head)
            first.legend()

        structure = found[0][1].structure
        caption = (
            f"Bain path of {structure} at constant volume: bcc at c/a = 1, fcc at 1.414 (grey lines); bands: spread of "
            "the ensemble."
        )
        numbers = {f"{label}: {head}": column for label, curve in shown for head, column in curve.items()}
        figure = draw(5.2 * columns, 3.2, paint, ncols=columns)
        return [plot(figure, f"bain-path-{structure}", caption, numbers, wide=columns > 1)]


def _lattice(frame: Frame) -> Any:
    """What spglib says of the sites, elements and moments left aside; None if it finds no symmetry."""
    import spglib

    cell, places, numbers = spglib_cell(frame)
    return spglib.get_symmetry_dataset((cell, places, np.ones_like(numbers)), symprec=SYMPREC)


def _stretched(frame: Frame, ratio: float, axes: FloatArray) -> Frame:
    """`frame` with c/a times `ratio` at its volume; `axes` (3, 3) turns the edges of the cube onto x, y and z."""
    stretch = np.diag([ratio ** (-1 / 3), ratio ** (-1 / 3), ratio ** (2 / 3)])
    matrix = axes.T @ stretch @ axes
    return frame.replace(cell=frame.cell @ matrix.T, positions=frame.positions @ matrix.T)
