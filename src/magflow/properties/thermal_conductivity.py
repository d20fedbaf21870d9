"""The heat that the lattice conducts, from force constants of second and third order: phono3py does what follows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field

from magflow.core.frame import Frame
from magflow.core.prediction import Prediction, concatenate
from magflow.core.protocols import WorkProgress, silent
from magflow.presentation.blocks import Plot, plot
from magflow.presentation.style import SERIES, draw
from magflow.properties.at_rest import line
from magflow.properties.base import PointProperty
from magflow.properties.charges import charges_of
from magflow.properties.harmonic import FREQUENCY, TEMPERATURE
from magflow.properties.measurement import Curve, Measurement, Reading, Value
from magflow.properties.phonons import FINER, Phonons, as_wide_as, check_stable, too_narrow
from magflow.properties.subject import Subject
from magflow.properties.third_order import (
    Repeats,
    Transport,
    displaced_pairs,
    in_order_of,
    missing,
    phono3py_of,
    solve_third_order,
    transport,
)

CONDUCTIVITY, UNIT = "lattice thermal conductivity", "W/(m K)"
KAPPA = f"{CONDUCTIVITY} ({UNIT})"
AGAINST_TEMPERATURE, BY_FREQUENCY = "conductivity", "conductivity by frequency"
BELOW = f"carried below it ({UNIT})"
GRID = np.arange(100.0, 1001.0, 50.0)
"""K; temperatures of the curve."""
POINTS = 101
"""Frequencies at which the curve tells what is carried below."""
AXES = ("xx", "yy", "zz")
ISOTROPIC = 1e-3
"""Relative difference between xx, yy and zz up to which one number is told."""


class ThermalConductivity(PointProperty):
    """Lattice thermal conductivity in the relaxation-time approximation, moments as in the property `phonons`.

    Phonons are scattered by each other in processes of three, and by nothing else unless `isotopes` are asked for. What
    electrons and magnons carry, and what they take from phonons, is not in it.
    """

    name: ClassVar[str] = "thermal-conductivity"
    title: ClassVar[str] = "Lattice thermal conductivity"
    headline: ClassVar[tuple[str, ...]] = (CONDUCTIVITY,)
    on_request: ClassVar[bool] = True

    supercell: Repeats | None = Field(
        default=None, description="repeats of the cell for third order; left out: as few as make it `cutoffs` wide"
    )
    cutoffs: float = Field(
        default=1.5, ge=1, le=4, description="least width of the supercell for third order, in cutoffs of the potential"
    )
    pairs: float | None = Field(
        default=None, gt=0, description="A; atoms further apart are not displaced together; left out: all pairs are"
    )
    displacement: float = Field(default=0.03, gt=0, le=0.2, description="of each atom of a pair, A")
    mesh: float = Field(default=40.0, ge=5, le=200, description="density of the q-point mesh as phonopy counts it, A")
    isotopes: bool = Field(default=False, description="natural isotopes scatter phonons, too")
    temperatures: tuple[float, ...] = Field(default=(300.0,), description="K; above zero")
    phonons: Phonons = Field(default=Phonons(mesh=40.0), description="of second order, by displacements")

    def quick(self) -> Self:
        """Small supercells and a coarse mesh."""
        return self.model_copy(update={"cutoffs": 1.0, "mesh": 25.0, "phonons": self.phonons.quick()})

    def obstacle(self, subject: Subject) -> str:
        """No phono3py, what stands in the way of phonons, a supercell too narrow for third order."""
        if reason := missing():
            return reason
        if self.phonons.by_hessian(subject):
            return "it takes phonons by displacements: modes clamped and relaxed"
        if min(self.temperatures, default=0.0) <= 0.0:
            return "temperatures are above 0 K"
        return self.phonons.obstacle(subject) or too_narrow(subject, self.repeats(subject))

    def repeats(self, subject: Subject) -> Repeats:
        """Of the cell, for third order."""
        if self.supercell is not None:
            return self.supercell
        return as_wide_as(subject.frame, self.cutoffs * subject.ensemble.cutoff)

    def frames(self, subject: Subject, progress: WorkProgress = silent) -> list[Frame]:
        """The crystal at rest; perfect and displaced supercells for second order; the same for third order."""
        rest = subject.at_rest(finer=FINER)
        second = self.phonons.displaced(subject, rest)
        progress(0.1, "displaced for second order")
        made = phono3py_of(rest, self.repeats(subject), self.phonons.repeats(subject))
        perfect, *displaced = displaced_pairs(made, rest, self.displacement, self.pairs)
        return [rest, *second, perfect, *self.phonons.followed(subject, displaced)]

    def read(self, subject: Subject, frames: Sequence[Frame], points: Prediction) -> Reading:
        """Force constants of both orders, and what phono3py makes of them."""
        made = phono3py_of(frames[0], self.repeats(subject), self.phonons.repeats(subject))
        third = len(displaced_pairs(made, frames[0], self.displacement, self.pairs))
        second = frames[1:-third]
        of_second = concatenate([points.frame(k) for k in range(1, len(frames) - third)])
        phonons = self.phonons.solved(subject, second, of_second)
        hint = "the crystal may be stable in another state or a larger supercell"
        check_stable(subject, phonons, self.phonons.mesh, "carry no heat", hint)
        order = in_order_of(made.phonon_supercell, second[0])
        made.fc2 = np.ascontiguousarray(np.asarray(phonons.force_constants)[np.ix_(order, order)])
        perfect, *displaced = (points.frame(k).forces for k in range(len(frames) - third, len(frames)))
        solve_third_order(made, np.array(displaced) - perfect)
        made.nac_params = charges_of(made.primitive, self.phonons.born)
        temperatures = np.union1d(GRID, self.temperatures)
        found = transport(made, temperatures, self.mesh, isotopes=self.isotopes)
        curves = {
            AGAINST_TEMPERATURE: {TEMPERATURE: temperatures, KAPPA: found.mean},
            BY_FREQUENCY: self._carried(found),
        }
        return Reading(tuple(self._values(found)), curves, self.phonons.told(subject))

    def _values(self, found: Transport) -> Iterator[Value]:
        """At the temperatures asked for: the mean over directions, and each axis where they differ."""
        for t in self.temperatures:
            k = int(np.searchsorted(found.temperatures, t))
            yield Value(CONDUCTIVITY, UNIT, float(found.mean[k]), temperature=t)
            if not np.allclose(found.kappa[k, :3], found.mean[k], rtol=ISOTROPIC):
                for axis, value in zip(AXES, found.kappa[k], strict=False):
                    yield Value(CONDUCTIVITY, UNIT, float(value), temperature=t, at=axis)

    def _carried(self, found: Transport) -> Curve:
        """What modes up to each frequency carry, at the first temperature asked for."""
        k = int(np.searchsorted(found.temperatures, self.temperatures[0]))
        grid = np.linspace(0.0, found.frequencies[-1], POINTS)
        sums = np.concatenate([[0.0], np.cumsum(found.shares[k])])
        return {FREQUENCY: grid, BELOW: sums[np.searchsorted(found.frequencies, grid, side="right")]}

    def plots(self, found: Sequence[tuple[str, Measurement]]) -> list[Plot]:
        """Against temperature, and by the frequency of what carries it."""
        shown = [(label, m) for label, m in found if AGAINST_TEMPERATURE in m.curves]
        if not shown:
            return []

        def paint(axes: Any) -> None:
            for k, (label, m) in enumerate(shown):
                style = {"color": SERIES[k % len(SERIES)], "label": label}
                line(axes[0], m.curves[AGAINST_TEMPERATURE], (TEMPERATURE, KAPPA), 1.0, style)
                line(axes[1], m.curves[BY_FREQUENCY], (FREQUENCY, BELOW), 1.0, style)
            axes[0].set(xlabel="Temperature (K)", ylabel=f"Conductivity ({UNIT})")
            axes[1].set(xlabel="Frequency (THz)", ylabel=f"Carried below it ({UNIT})")
            axes[0].legend()

        numbers = {f"{label}: {h}": column for label, m in shown for h, column in m.curves[AGAINST_TEMPERATURE].items()}
        structure, asked = shown[0][1].structure, shown[0][1].settings["temperatures"][0]
        caption = (
            f"Lattice thermal conductivity of {structure} in the relaxation-time approximation, mean over directions; "
            f"right: what modes up to a frequency carry at {asked:g} K."
        )
        figure = draw(7.2, 2.8, paint, ncols=2)
        return [plot(figure, f"thermal-conductivity-{structure}", caption, numbers, wide=True)]
