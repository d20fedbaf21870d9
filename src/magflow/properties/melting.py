"""Melting temperature, by crystal and liquid side by side in one cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field

from magflow.core.frame import Frame
from magflow.core.statistics import CellMotion, Statistics
from magflow.core.types import FloatArray
from magflow.presentation.blocks import Plot, padded, plot
from magflow.presentation.style import BLUE, ORANGE, draw
from magflow.properties.base import PropertySettings, Work
from magflow.properties.coexistence import Bracket, decided, grew, melting_point, put_together
from magflow.properties.findings import LiquidFindings
from magflow.properties.liquid import Melt, held, melted, ready, side_by_side, steps_of
from magflow.properties.measurement import Curve, Group, Measurement, Value
from magflow.properties.runs import supercell
from magflow.properties.subject import Subject, UnmeasurableError
from magflow.properties.tracks import Track

SUPERHEATED = 1.2
"""Of the temperature at which a crystal without surfaces melts, to the melting point: where the search begins."""
STEP = 0.1
"""First step of the search of the first seed, as a share of the temperature."""
BOILED = 1.4
"""Times the volume of the crystal beyond which a liquid is none: melting adds a fifth at most."""
PARTS, LOOKS = 10, 4
"""A run is made in so many parts, each with so many looks; it ends after the part in which one phase has won."""
TRIALS = 15
"""Runs of a seed after which the search is given up."""
SEED, KELVIN, TIME, SHARE = "seed", "temperature (K)", "time (ps)", "share of crystal"


class Melting(PropertySettings):
    """The crystal is heated until it melts; crystal and liquid are put together and run at constant pressure.

    The temperature is bisected, for each seed by itself, between growth of the one and of the other.
    """

    name: ClassVar[str] = "melting"
    title: ClassVar[str] = "Melting temperature"
    headline: ClassVar[tuple[str, ...]] = ("melting temperature",)
    group: ClassVar[Group] = Group.DYNAMIC

    pressure: float = Field(default=0.0, description="GPa")
    atoms: int = Field(default=1000, ge=64, description="at least so many, both phases together")
    seeds: int = Field(default=3, ge=2, description="searches with other velocities and noise")
    resolution: float = Field(default=0.02, gt=0, le=0.2, description="width of the last bracket, share of the result")
    picoseconds: float = Field(default=60.0, gt=0, description="of a run at most; it ends when one phase has won")
    timestep: float = Field(default=2.0, gt=0, le=10.0, description="fs")
    seed: int = Field(default=0, ge=0, description="of the first search")

    def quick(self) -> Self:
        """Small cell, wide brackets: the melting point to some five per cent."""
        return self.model_copy(update={"atoms": 250, "seeds": 2, "resolution": 0.05, "picoseconds": 20.0})

    def measure(self, subject: Subject, work: Work) -> Measurement:
        """Melt, put together, search."""
        self.check(subject)
        found = LiquidFindings()
        trials: list[_Trial] = []
        try:
            crystal = supercell(subject, math.ceil(self.atoms / 2))
            melt = melted(subject, crystal, work, timestep=self.timestep, pressure=self.pressure)
            found.tracks += melt.tracks
            if melt.liquid.volume > BOILED * melt.crystal.volume:
                raise UnmeasurableError(
                    "what melts boils at once",
                    seen=f"{melt.liquid.volume / melt.crystal.volume:.3g} times the volume of the crystal",
                    hint="a higher pressure",
                )
            search = _Search(self, subject, melt, put_together(melt.crystal, melt.liquid), work, trials)
            value = melting_point(search.brackets())
            found.values.append(Value("melting temperature", "K", value.value, value.error))
        except UnmeasurableError as error:
            found.fail(error)
        found.tracks += [trial.track for trial in trials]
        if trials:
            found.curves["coexistence"] = _curve(trials)
        return found.measurement(self, subject)

    def plots(self, found: Sequence[tuple[str, Measurement]]) -> list[Plot]:
        """Share of crystal in each run against time, a panel for each measurement."""
        shown = [(label, m) for label, m in found if m.curves]
        return [_figure(shown)] if shown else []


@dataclass(frozen=True, eq=False)
class _Trial:
    """One run of both phases: `time` (n,) ps, `share` (n,) of crystal."""

    seed: int
    kelvin: float
    track: Track
    time: FloatArray
    share: FloatArray


@dataclass(frozen=True, eq=False)
class _Search:
    """All runs of all seeds from one start; they are added to `trials` as they come."""

    asked: Melting
    subject: Subject
    melt: Melt
    start: Frame
    work: Work
    trials: list[_Trial] = field(default_factory=list)

    def brackets(self) -> list[Bracket]:
        """One for each seed; each begins where the one before it ended, with steps as small as its last."""
        found: list[Bracket] = []
        for seed in range(self.asked.seed, self.asked.seed + self.asked.seeds):
            first = Bracket(self.melt.temperature / SUPERHEATED, STEP)
            found.append(self._bracket(seed, Bracket(found[-1].middle, self.asked.resolution) if found else first))
        return found

    def _bracket(self, seed: int, bracket: Bracket) -> Bracket:
        made = 0
        while not bracket.narrow(self.asked.resolution):
            if made == TRIALS:
                low, high = ("nowhere" if t is None else f"at {t:.4g} K" for t in (bracket.low, bracket.high))
                raise UnmeasurableError(
                    f"no melting temperature is found in {TRIALS} runs",
                    seen=f"the crystal grows {low} and melts {high}",
                    hint="longer runs, more atoms",
                )
            stage = Work(self.work.directory / f"seed-{seed}-{made}", self.work.progress)
            trial = self._trial(seed, bracket.next, stage)
            self.trials.append(trial)
            bracket = bracket.told(trial.kelvin, crystal_grew=grew(trial.time, trial.share))
            made += 1
        return bracket

    def _trial(self, seed: int, kelvin: float, work: Work) -> _Trial:
        asked = self.asked
        how = replace(held(Statistics.NPT, kelvin, asked.timestep, asked.pressure), cell=CellMotion.LENGTHS)
        motions = ready(self.subject, [(self.start, how, seed)])
        every = steps_of(asked.picoseconds / (PARTS * LOOKS), asked.timestep)
        for part in range(1, PARTS + 1):
            steps = part * LOOKS * every
            (track,) = side_by_side(
                self.subject, motions, steps, work, record_every=every, look_every=every, positions=True
            )
            # a killed run may have come further; what it is told by is what an unbroken one would have seen
            looks = track.looks[track.looks["step"] <= steps]
            share = self.melt.test.crystalline(self._seen(looks[-1]))
            if decided(share):
                break
        shares = np.array([self.melt.test.crystalline(self._seen(look)) for look in looks])
        return _Trial(seed, kelvin, track, looks["step"] * track.timestep_ps, shares)

    def _seen(self, look: Any) -> Frame:
        return self.start.replace(cell=look["cell"], positions=look["positions"])


def _curve(trials: Sequence[_Trial]) -> Curve:
    """All runs, one below the other."""
    lengths = [len(t.time) for t in trials]
    return {
        SEED: np.repeat([float(t.seed) for t in trials], lengths),
        KELVIN: np.repeat([t.kelvin for t in trials], lengths),
        TIME: np.concatenate([t.time for t in trials]),
        SHARE: np.concatenate([t.share for t in trials]),
    }


def _figure(shown: Sequence[tuple[str, Measurement]]) -> Plot:
    """Runs in which the crystal grew in one colour, those in which it melted in the other."""

    def paint(axes: Any) -> None:
        for panel, (label, m) in zip(axes[:, 0], shown, strict=True):
            curve = m.curves["coexistence"]
            runs = np.unique(np.stack([curve[KELVIN], curve[SEED]], axis=1), axis=0)
            for kelvin, seed in runs:
                of_run = (curve[KELVIN] == kelvin) & (curve[SEED] == seed)
                time, share = curve[TIME][of_run], curve[SHARE][of_run]
                panel.plot(time, share, color=BLUE if grew(time, share) else ORANGE, lw=1.0)
                panel.annotate(f"{kelvin:.0f}", (time[-1], share[-1]), fontsize=6, va="center")
            panel.set_title(label)
            panel.set_ylabel("Share of crystal")
        axes[-1, 0].set_xlabel("Time (ps)")

    numbers = {f"{label}: {h}": column for label, m in shown for h, column in m.curves["coexistence"].items()}
    structure = shown[0][1].structure
    caption = (
        f"Crystal and liquid {structure} side by side: the share that is crystal in each run. Blue where the crystal "
        "grew, orange where it melted; at the end of each run its temperature (K)."
    )
    figure = draw(5.1, 0.6 + 2.4 * len(shown), paint, nrows=len(shown), squeeze=False)
    return plot(figure, f"melting-{structure}", caption, padded(numbers))
