"""Short Langevin molecular dynamics on the mean of the ensemble, until the ensemble no longer knows.

All starts run side by side (:mod:`magflow.explore.propagation`), at fixed moments or with moments that are relaxed
again and again; a pressure, if asked for, is held by a Langevin piston.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from magflow.core.dynamics import (
    Integration,
    Limits,
    Motion,
    Observation,
    Pistons,
    in_ase_time,
    piston_mass,
    pressure_from_gpa,
)
from magflow.core.frame import Frame
from magflow.core.prediction import Prediction
from magflow.core.protocols import Ensemble
from magflow.core.units import KB
from magflow.explore.blocks import cut
from magflow.explore.candidate import Candidate, MomentRanges
from magflow.explore.geometry import nearest_distance, repeated
from magflow.explore.health import HealthReason, counted
from magflow.explore.relaxation.moments import relax_moments_many
from magflow.explore.watching import UNKNOWN, Sighting, Watch, watch

_BAROSTAT_FS = 500.0


class MdSettings(BaseModel):
    """Short MD runs that look for configurations the ensemble does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperatures_k: tuple[float, ...] = Field(default=(300.0, 600.0, 1200.0), min_length=1, description="K, in turn")
    steps: int = Field(default=500, ge=1, description="steps per run")
    timestep_fs: float = Field(default=2.0, gt=0, le=10.0, description="fs")
    starts: int = Field(default=6, ge=1, description="runs per iteration")
    supercell: tuple[int, int, int] = Field(default=(1, 1, 1), description="repeats of the prototype cell")
    label_cell: tuple[int, int, int] | None = Field(
        default=None,
        description="repeats of the prototype cell that are offered of a larger supercell: the block whose forces are "
        "most uncertain, closed upon itself; none: whole frames",
    )
    friction_per_ps: float = Field(default=10.0, gt=0, description="Langevin friction, 1/ps")
    pressure_gpa: float | None = Field(default=None, description="GPa, held by a piston; none: fixed cell")
    snapshot_interval: int = Field(default=10, ge=1, description="steps between snapshots and grades")
    max_snapshots: int = Field(default=20, ge=2, description="snapshots offered per run")
    grade_break: float = Field(default=10.0, gt=0, description="extrapolation grade at which a run stops")
    forces_deviation_break: float = Field(default=0.5, gt=0, description="deviation of a force it stops at, eV/A")
    energy_window: float = Field(default=3.0, gt=0, description="rise of the energy it stops at, eV/atom")
    heat_factor: float = Field(default=15.0, gt=1, description="multiple of the temperature it stops at")
    min_distance_factor: float = Field(default=0.6, gt=0, lt=1, description="share of the first shortest distance")
    relax_moments: bool = Field(default=True, description="relax the moments first")
    relax_moments_every: int | None = Field(
        default=None, ge=1, description="steps between relaxations of the moments on the way; none: they are fixed"
    )

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if min(self.temperatures_k) <= 0:
            raise ValueError("temperatures_k must be positive")
        if min(self.supercell) < 1:
            raise ValueError("supercell needs three positive repeats")
        if self.label_cell is not None and not all(
            1 <= n <= most for n, most in zip(self.label_cell, self.supercell, strict=True)
        ):
            raise ValueError(f"label_cell needs three positive repeats, at most those of supercell, {self.supercell}")
        return self


@dataclass(frozen=True)
class MdOutcome:
    """Snapshots worth labelling, and how the runs ended and what the health checks met, by reason."""

    candidates: list[Candidate]
    health: dict[str, int]


@dataclass
class _Snapshots:
    """At most `limit` frames: the latest half, and half spread over what came before."""

    limit: int
    recent: deque[Frame] = field(default_factory=deque)
    spread: list[Frame] = field(default_factory=list)
    stride: int = 1
    seen: int = 0

    def add(self, frame: Frame) -> None:
        self.recent.append(frame)
        if len(self.recent) <= (self.limit + 1) // 2:
            return
        oldest = self.recent.popleft()
        if self.seen % self.stride == 0:
            self.spread.append(oldest)
        self.seen += 1
        if len(self.spread) > self.limit // 2:
            self.spread = self.spread[::2]
            self.stride *= 2

    def frames(self) -> list[Frame]:
        return [*self.spread, *self.recent]


def run_md(
    starts: Sequence[Candidate], ensemble: Ensemble, settings: MdSettings, moments: MomentRanges, seed: int
) -> MdOutcome:
    """Run from every start until the ensemble no longer knows, something breaks, or the steps are done.

    Parameters
    ----------
    starts
        Frames to start from (repeated by the supercell of the settings); temperatures are dealt out in turn.
    ensemble
        Its mean drives the atoms; its deviation, and its grade if it has one, stop a run.
    settings
        Lengths and thresholds.
    moments
        Range of |m| by element, muB; bounds of the moment relaxation.
    seed
        Of velocities and noise; a run does not depend on the others.

    Returns
    -------
    MdOutcome
        At most ``max_snapshots`` frames per run: the last before the stop and some from the way there, the frame that
        reached a grade or deviation break included, one that failed a health check not. With ``label_cell`` the most
        uncertain block of each (:mod:`magflow.explore.blocks`).
    """
    met: list[HealthReason] = []
    runs = _prepare(starts, ensemble, settings, moments, seed, met)
    snapshots = [_Snapshots(settings.max_snapshots) for _ in runs]
    looks = Watch(settings.snapshot_interval, settings.grade_break, settings.relax_moments_every, moments)
    for sighting in watch(ensemble, [run.motion for run in runs], settings.steps, looks):
        if (seen := _worth_keeping(sighting, settings.snapshot_interval)) is not None:
            snapshots[sighting.run].add(seen.motion.frame)
        if sighting.reason is not None:
            met.append(sighting.reason)
    candidates = []
    for run, kept in zip(runs, snapshots, strict=True):
        offered, unfit = _offered(kept.frames(), run.unit, ensemble, settings)
        candidates += [Candidate(frame, run.source) for frame in offered]
        met += unfit
    return MdOutcome(candidates, counted(met))


def _offered(
    frames: list[Frame], unit: Frame, ensemble: Ensemble, settings: MdSettings
) -> tuple[list[Frame], list[HealthReason]]:
    """The frames of a run, or blocks of them, and why some give none."""
    if settings.label_cell is None:
        return frames, []
    return cut(frames, unit, settings.supercell, settings.label_cell, ensemble, settings.min_distance_factor)


def _worth_keeping(sighting: Sighting, interval: int) -> Observation | None:
    """What was seen of a sound state at a look, or of the state at which the ensemble knew no more."""
    seen = sighting.observation
    if seen is None or sighting.reason in UNKNOWN:
        return seen
    step = seen.motion.step
    return seen if sighting.reason in (None, HealthReason.COMPLETED) and step > 0 and step % interval == 0 else None


@dataclass(frozen=True, eq=False)
class _Start:
    motion: Motion
    source: str
    unit: Frame
    """Before it was repeated."""


def _prepare(
    starts: Sequence[Candidate],
    ensemble: Ensemble,
    settings: MdSettings,
    moments: MomentRanges,
    seed: int,
    met: list[HealthReason],
) -> list[_Start]:
    """Runs at time zero; a start with unrelaxed moments or a prediction that is not finite is counted and left out."""
    frames: list[Frame | None] = [repeated(start.frame, settings.supercell) for start in starts]
    if settings.relax_moments:
        frames = _relaxed(frames, ensemble, moments, met)
    left = {k: frame for k, frame in enumerate(frames) if frame is not None}
    if not left:
        return []
    prediction = ensemble.predict(list(left.values())).mean
    streams = np.random.SeedSequence(seed).spawn(len(starts))
    out = []
    for i, (k, frame) in enumerate(left.items()):
        one = prediction.frame(i)
        if not (np.isfinite(one.energy).all() and np.isfinite(one.forces).all()):
            met.append(HealthReason.NOT_FINITE)
            continue
        temperature = settings.temperatures_k[k % len(settings.temperatures_k)]
        origin = starts[k].source.split(":", 1)[-1]
        key = int(streams[k].generate_state(1, np.uint64)[0])
        motion = _motion(frame, one, settings, temperature, key)
        out.append(_Start(motion, f"{_kind(settings)}:{origin}:{temperature:g}K", starts[k].frame))
    return out


def _kind(settings: MdSettings) -> str:
    """What candidates are called: ``md``, or ``md-block`` where they are blocks."""
    return "md" if settings.label_cell is None else "md-block"


def _relaxed(
    frames: Sequence[Frame | None], ensemble: Ensemble, moments: MomentRanges, met: list[HealthReason]
) -> list[Frame | None]:
    """The frames with their moments relaxed, None where that failed; those without moments as they are."""
    out = list(frames)
    magnetic = {k: frame for k, frame in enumerate(frames) if frame is not None and frame.magmoms is not None}
    relaxations = relax_moments_many(list(magnetic.values()), ensemble, moments)
    for k, relaxed in zip(magnetic, relaxations, strict=True):
        met.extend(relaxed.health)
        if not relaxed.converged:
            met.append(HealthReason.RELAXATION_UNCONVERGED)
        out[k] = relaxed.frame if relaxed.converged else None
    return out


def _motion(frame: Frame, prediction: Prediction, settings: MdSettings, temperature: float, key: int) -> Motion:
    pistons = Pistons.NONE if settings.pressure_gpa is None else Pistons.VOLUME
    how = Integration(
        timestep=in_ase_time(settings.timestep_fs),
        friction=settings.friction_per_ps / in_ase_time(1000.0),
        temperature=temperature,
        pressure=pressure_from_gpa(settings.pressure_gpa or 0.0),
        pistons=pistons,
        piston_mass=piston_mass(frame, temperature, in_ase_time(_BAROSTAT_FS), pistons) if pistons else 0.0,
        key=key,
    )
    energy, window = float(prediction.energy[0]), settings.energy_window * len(frame)
    limits = Limits(
        min_distance=settings.min_distance_factor * nearest_distance(frame),
        min_energy=energy - window,
        max_energy=energy + window,
        max_kinetic=1.5 * len(frame) * KB * settings.heat_factor * temperature,
        max_deviation=settings.forces_deviation_break,
    )
    return Motion.start(frame, how, limits)
