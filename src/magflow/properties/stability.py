"""Whether runs hold: drift at constant energy, and at each temperature deviation, grade and moments."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import AfterValidator, Field

from magflow.core.moments import ZERO_MOMENT
from magflow.core.statistics import Statistics
from magflow.core.types import FloatArray
from magflow.explore.starting import Conditions
from magflow.presentation.blocks import Plot, plot
from magflow.presentation.style import SERIES, draw
from magflow.properties.base import Work
from magflow.properties.crystal import lost
from magflow.properties.measurement import Curve, Group, Measurement, Moments, Value
from magflow.properties.sampling import (
    FORCE_DEVIATION,
    SampledProperty,
    facts,
    positive,
    temperatures_field,
    told_outside,
    trust,
)
from magflow.properties.statistics import inefficiency
from magflow.properties.subject import Subject, UnmeasurableError
from magflow.properties.tracks import Track

RECORD_EVERY, LOOK_EVERY = 5, 50
"""Steps."""
DOUBTFUL_DEVIATION = 100.0
"""Calibrated deviation of forces over all atoms, meV/A, from which a run is doubtful."""
NVE = "constant energy"
TIME, ENERGY, DEVIATION = "time (ps)", "conserved energy (meV/atom)", "force deviation (meV/A)"


class Stability(SampledProperty):
    """One run at constant energy and one at constant volume at each temperature; how each fares is told by words, too.

    A run is unstable that ends by itself, doubtful where the members disagree by more than 100 meV/A, the
    configurations lie outside the training domain, or moments vanish or turn over.
    """

    name: ClassVar[str] = "stability"
    title: ClassVar[str] = "Stability"
    headline: ClassVar[tuple[str, ...]] = ("time held", FORCE_DEVIATION)
    group: ClassVar[Group] = Group.STABILITY

    temperatures: Annotated[tuple[float, ...], AfterValidator(positive)] = temperatures_field(300.0, 600.0, 900.0)
    picoseconds: float = Field(default=20.0, gt=0, description="of each run")

    def quick(self) -> Self:
        """Shorter runs at two temperatures."""
        return self.model_copy(update={"temperatures": (300.0, 600.0), "picoseconds": 2.0})

    def measure(self, subject: Subject, work: Work) -> Measurement:
        """Run, and look how it went."""
        self.check(subject)
        begin = time.process_time()
        held = [Conditions(Statistics.NVT, t, timestep=self.timestep) for t in self.temperatures]
        # of the kinetic energy of atoms that start from their sites, vibrations take half
        free = Conditions(Statistics.NVE, 2.0 * self.temperatures[0], timestep=self.timestep)
        try:
            first, *tracks = self.sampled(
                subject, [free, *held], [self.seed], self.picoseconds, work,
                record_every=RECORD_EVERY, look_every=LOOK_EVERY,
            )  # fmt: skip
        except UnmeasurableError as error:
            return self.found(subject, failure=str(error), cpu_seconds=time.process_time() - begin)
        follow = subject.moments is Moments.RELAXED
        values, curves = _drift(first)
        failures = [f"unstable at {NVE} after {first.picoseconds:.3g} ps: {first.reason}"] if first.unstable else []
        remarks: list[str] = []
        for kelvin, track in zip(self.temperatures, tracks, strict=True):
            told = trust(subject.ensemble, [track], kelvin)
            values += [*_held(track, kelvin, follow=follow), *told]
            if len(subject.ensemble.members) > 1:
                curves[f"{kelvin:g} K"] = _curve(track)
            failures += [track.unstable] if track.unstable else []
            remarks.append(_verdict(track, kelvin, told, follow=follow))
        return self.found(
            subject,
            values=tuple(values),
            curves=curves,
            failure="; ".join(failures),
            remarks=tuple(remarks),
            cpu_seconds=time.process_time() - begin,
            **facts([first, *tracks]),
        )

    def plots(self, found: Sequence[tuple[str, Measurement]]) -> list[Plot]:
        """Conserved energy at constant energy; deviation against time at each temperature."""
        names = dict.fromkeys(name for _, m in found for name in m.curves)
        return [_figure(name, [(label, m) for label, m in found if name in m.curves]) for name in names]


def _drift(track: Track) -> tuple[list[Value], dict[str, Curve]]:
    """Slope of the conserved energy with its error, and the scatter about it; nothing of a run that is too short."""
    t, energy = track.time, 1e3 * track.records["conserved"] / track.atoms
    if len(t) < 4:
        return [], {}
    slope, at = np.polyfit(t, energy, 1)
    rest = energy - slope * t - at
    error = np.sqrt(inefficiency(rest) * (rest**2).sum() / (len(t) - 2) / ((t - t.mean()) ** 2).sum())
    values = [
        Value("energy drift", "meV/(atom ps)", float(slope), float(error), at=NVE),
        Value("energy scatter", "meV/atom", float(rest.std()), at=NVE),
    ]
    return values, {NVE: {TIME: t, ENERGY: energy - at}}


def _held(track: Track, kelvin: float, *, follow: bool) -> list[Value]:
    """How long it held and how far it went; of moments that `follow` the atoms how many vanished or turned over."""
    values = [Value("time held", "ps", track.picoseconds, temperature=kelvin)]
    grades = track.looks["grade"][np.isfinite(track.looks["grade"])]
    if len(grades):
        values.append(Value("largest grade", "", float(grades.max()), temperature=kelvin))
    if follow:
        collapsed, flipped = moment_shares(track.looks["magmoms"])
        values.append(Value("collapsed moments", "%", 100.0 * collapsed, temperature=kelvin))
        values.append(Value("flipped moments", "%", 100.0 * flipped, temperature=kelvin))
    return values


def moment_shares(magmoms: FloatArray) -> tuple[float, float]:
    """Largest shares, at one time, of the atoms polarised first that have lost their moment, or turned it over.

    Reversing all moments is time reversal and turns none over.

    Parameters
    ----------
    magmoms
        (m, N) muB, along z.
    """
    first = magmoms[0]
    polarised = np.abs(first) > 2.0 * ZERO_MOMENT
    if not polarised.any():
        return 0.0, 0.0
    now, before = magmoms[:, polarised], first[polarised]
    collapsed = (np.abs(now) < ZERO_MOMENT).mean(axis=1)
    against = ((now * before < 0.0) & (np.abs(now) >= ZERO_MOMENT)).mean(axis=1)
    along = ((now * before > 0.0) & (np.abs(now) >= ZERO_MOMENT)).mean(axis=1)
    return float(collapsed.max()), float(np.minimum(against, along).max())


def _verdict(track: Track, kelvin: float, told: Sequence[Value], *, follow: bool) -> str:
    """``300 K: stable``, or why it is not; `told` of the forces' deviation."""
    if track.unstable:
        return track.unstable
    doubts = [told.split(": ", 1)[1] for told in told_outside([track], kelvin)]
    doubts += [
        f"the members disagree about forces by {value.value:.0f} meV/A"
        for value in told
        if value.name == FORCE_DEVIATION and value.value > DOUBTFUL_DEVIATION
    ]
    if follow:
        collapsed, flipped = moment_shares(track.looks["magmoms"])
        doubts += [f"{collapsed:.0%} of the moments vanished"] if collapsed else []
        doubts += [f"{flipped:.0%} of the moments turned over"] if flipped else []
    gone = lost(track, track.start.frame)
    doubts += [gone] if gone else []
    return f"{kelvin:g} K: " + (
        f"doubtful, {'; '.join(doubts)}" if doubts else f"stable for {track.picoseconds:.3g} ps"
    )


def _curve(track: Track) -> dict[str, FloatArray]:
    return {TIME: track.time, DEVIATION: 1e3 * track.records["forces_deviation"]}


def _figure(name: str, shown: Sequence[tuple[str, Measurement]]) -> Plot:
    """One curve in time."""
    head = ENERGY if name == NVE else DEVIATION

    def paint(axes: Any) -> None:
        for k, (label, m) in enumerate(shown):
            curve = m.curves[name]
            axes.plot(curve[TIME], curve[head], color=SERIES[k % len(SERIES)], lw=1.0, label=label)
        axes.set_xlabel("Time (ps)")
        axes.set_ylabel("Conserved energy (meV/atom)" if name == NVE else "Force deviation (meV/A)")
        axes.legend()

    longest = max(len(m.curves[name][TIME]) for _, m in shown)
    numbers = {
        f"{label}: {h}": np.append(column, np.full(longest - len(column), np.nan))
        for label, m in shown
        for h, column in m.curves[name].items()
    }
    structure = shown[0][1].structure
    caption = (
        f"Energy of {structure} that a run at constant energy should keep."
        if name == NVE
        else f"Largest calibrated deviation of a force in {structure} at {name}."
    )
    return plot(draw(5.1, 3.2, paint), f"stability-{structure}-{name.replace(' ', '')}", caption, numbers)
