"""The liquid of a crystal: heated step by step until it melts, then cooled to where it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from magflow.core.dynamics import Motion
from magflow.core.frame import Frame
from magflow.core.statistics import Statistics
from magflow.explore.starting import Conditions
from magflow.properties.base import Work
from magflow.properties.phase import PhaseTest, local_order
from magflow.properties.runs import planned, run
from magflow.properties.subject import Subject, UnmeasurableError
from magflow.properties.tracks import Track

COLDEST, HOTTEST = 50.0, 12_800.0
"""K, between which a crystal is heated: doubled until it melts, then again from the last whole crystal on."""
RISE = 1.15
"""Factor from one temperature to the next the second time."""
HEATING_PS = 3.0
"""At each of them: a superheated crystal melts within picoseconds."""
MOLTEN, INTACT = 0.5, 0.7
"""Shares of the bond order of the crystal at rest, below which it is molten and above which it is whole: bcc iron has
0.8 at its melting point, its liquid 0.35."""
FRICTION = 2.0
"""Of the baths, 1/ps: strong enough to carry off latent heat, too weak to hinder diffusion."""


LOOK_EVERY = 100
"""Steps from one look at grade and cell to the next."""


class UnstableError(UnmeasurableError):
    """A run came to grief on the way; the track that did is `track`."""

    def __init__(self, track: Track) -> None:
        super().__init__(track.unstable)
        self.track = track

    def __reduce__(self) -> tuple[object, ...]:
        return (UnstableError, (self.track,))


@dataclass(frozen=True, eq=False)
class Melt:
    """A crystal that has molten.

    Parameters
    ----------
    crystal, liquid
        The last whole crystal and the liquid.
    temperature
        At which it melted, K: above the melting point, a crystal without surfaces can be superheated by a quarter.
    test
        Tells the two apart.
    tracks
        Of the heating.
    """

    crystal: Frame
    liquid: Frame
    temperature: float
    test: PhaseTest
    tracks: tuple[Track, ...]


def held(statistics: Statistics, temperature: float, timestep: float, pressure: float = 0.0) -> Conditions:
    """Conditions of a run of a liquid, or of one beside its crystal: fs, K and GPa."""
    return Conditions(statistics, temperature, pressure, timestep=timestep, friction=FRICTION)


def steps_of(picoseconds: float, timestep: float) -> int:
    """Steps of `timestep` fs that make up some picoseconds; at least one."""
    return max(1, round(1000.0 * picoseconds / timestep))


def ready(subject: Subject, starts: Sequence[tuple[Frame, Conditions, int]]) -> list[Motion]:
    """Each frame under its conditions, with velocities of its seed."""
    return [planned(subject, frame, [how], [seed], 1).motions[0] for frame, how, seed in starts]


def side_by_side(
    subject: Subject,
    motions: Sequence[Motion],
    steps: int,
    work: Work,
    *,
    record_every: int = 10,
    look_every: int = LOOK_EVERY,
    positions: bool = False,
) -> list[Track]:
    """Make some runs of one size in a directory of their own, their moments as the subject says.

    `record_every`, `look_every` and `positions` are those of :class:`magflow.properties.runs.Plan`; intervals longer
    than the run are cut to it.

    Raises
    ------
    UnstableError
        If one comes to grief.
    """
    every = {"record_every": min(record_every, steps), "look_every": min(look_every, steps)}
    plan = replace(planned(subject, motions[0].frame, [], [], steps, **every, positions=positions), motions=motions)
    work.directory.mkdir(parents=True, exist_ok=True)
    tracks = run(subject.ensemble, plan, work)
    for track in tracks:
        if track.unstable:
            raise UnstableError(track)
    return tracks


def melted(subject: Subject, frame: Frame, work: Work, *, timestep: float, pressure: float = 0.0) -> Melt:
    """Heat the crystal `frame` at constant pressure until it melts.

    Parameters
    ----------
    timestep, pressure
        fs and GPa.

    Raises
    ------
    UnmeasurableError
        If it does not, or a run comes to grief.
    """
    heating = _Heating(subject, work, timestep, pressure, float(local_order(frame).mean()))
    whole, kelvin = frame, COLDEST
    while not heating.melts(whole, kelvin):
        whole, kelvin = heating.end, 2.0 * kelvin
        if kelvin > HOTTEST:
            raise UnmeasurableError("the crystal does not melt", where=subject.name, seen=f"up to {HOTTEST:g} K")
    crystal, reached, kelvin = whole, whole, 0.5 * kelvin * RISE
    while not heating.melts(reached, kelvin):
        reached, kelvin = heating.end, kelvin * RISE
        if heating.order > INTACT:
            crystal = reached
    liquid = heating.end
    return Melt(crystal, liquid, kelvin, PhaseTest.calibrated([crystal], [liquid]), tuple(heating.tracks))


@dataclass(eq=False)
class _Heating:
    """One run after the other at rising temperatures; `ideal` is the bond order of the crystal at rest."""

    subject: Subject
    work: Work
    timestep: float
    pressure: float
    ideal: float
    tracks: list[Track] = field(default_factory=list)

    @property
    def end(self) -> Frame:
        """Where the last run ended."""
        return self.tracks[-1].end.frame

    @property
    def order(self) -> float:
        """Its bond order, as a share of that of the crystal at rest."""
        return float(local_order(self.end).mean()) / self.ideal

    def melts(self, frame: Frame, kelvin: float) -> bool:
        """Run on from `frame` at `kelvin`, and see."""
        stage = Work(self.work.directory / f"heating-{len(self.tracks)}", self.work.progress)
        motions = ready(self.subject, [(frame, held(Statistics.NPT, kelvin, self.timestep, self.pressure), 0)])
        self.tracks += side_by_side(self.subject, motions, steps_of(HEATING_PS, self.timestep), stage)
        return self.order < MOLTEN


def scaled_to(frame: Frame, volume: float) -> Frame:
    """`frame` blown up or compressed evenly to `volume` A^3."""
    factor = float(np.cbrt(volume / frame.volume))
    return frame.replace(cell=factor * frame.cell, positions=factor * frame.positions)
