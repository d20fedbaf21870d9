"""Molecular dynamics on the mean of the ensemble, at fixed moments, until the ensemble no longer knows.

All starts run side by side as one batch (one call of the ensemble per step) with the BAOAB splitting of Langevin
dynamics of Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34 (2013); a pressure, if asked for, is held by
isotropic scaling after Berendsen et al., J. Chem. Phys. 81, 3684 (1984): enough to explore, not to average over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from ase.data import atomic_masses
from ase.units import fs
from pydantic import BaseModel, ConfigDict, Field, model_validator

from magflow.core.frame import Frame
from magflow.core.prediction import EnsemblePrediction
from magflow.core.protocols import Ensemble, SupportsGrades
from magflow.core.types import FloatArray
from magflow.core.units import EV_PER_A3_IN_GPA, KB
from magflow.explore.candidate import Candidate, MomentRanges
from magflow.explore.geometry import nearest_distance, repeated, too_close
from magflow.explore.health import HealthReason, counted
from magflow.explore.relax import relax_moments

_BULK_MODULUS_GPA = 170.0
_BAROSTAT_FS = 500.0


class MdSettings(BaseModel):
    """Short MD runs that look for configurations the ensemble does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperatures_k: tuple[float, ...] = Field(default=(300.0, 600.0, 1200.0), min_length=1, description="K, in turn")
    steps: int = Field(default=500, ge=1, description="steps per run")
    timestep_fs: float = Field(default=2.0, gt=0, le=10.0, description="fs")
    starts: int = Field(default=6, ge=1, description="runs per iteration")
    supercell: tuple[int, int, int] = Field(default=(1, 1, 1), description="repeats of the prototype cell")
    friction_per_ps: float = Field(default=10.0, gt=0, description="Langevin friction, 1/ps")
    pressure_gpa: float | None = Field(default=None, description="GPa, held by isotropic scaling; none: fixed cell")
    snapshot_interval: int = Field(default=10, ge=1, description="steps between snapshots and grades")
    max_snapshots: int = Field(default=20, ge=2, description="snapshots offered per run")
    grade_break: float = Field(default=10.0, gt=0, description="extrapolation grade at which a run stops")
    forces_deviation_break: float = Field(default=0.5, gt=0, description="deviation of a force it stops at, eV/A")
    energy_window: float = Field(default=3.0, gt=0, description="rise of the energy it stops at, eV/atom")
    heat_factor: float = Field(default=15.0, gt=1, description="multiple of the temperature it stops at")
    min_distance_factor: float = Field(default=0.6, gt=0, lt=1, description="share of the first shortest distance")
    relax_moments: bool = Field(default=True, description="relax the moments first; they are fixed in the run")

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if min(self.temperatures_k) <= 0:
            raise ValueError("temperatures_k must be positive")
        if min(self.supercell) < 1:
            raise ValueError("supercell needs three positive repeats")
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


@dataclass(eq=False)
class _Run:
    """One trajectory: its present state, no history but the snapshots."""

    frame: Frame
    source: str
    temperature: float
    rng: np.random.Generator
    snapshots: _Snapshots
    masses: FloatArray  # (N, 1) amu
    shortest: float
    velocities: FloatArray  # (N, 3)
    forces: FloatArray  # (N, 3) eV/A
    energy: float
    energy_start: float

    @property
    def kinetic_temperature(self) -> float:
        """Instantaneous, K."""
        return float((self.masses * self.velocities**2).sum() / (3 * len(self.frame) * KB))

    def kick(self, dt: float) -> None:
        self.velocities = self.velocities + dt * self.forces / self.masses

    def drift(self, dt: float, friction: float) -> None:
        """Half a step, friction and noise, half a step."""
        keep = np.exp(-friction * dt)
        half = self.frame.positions + 0.5 * dt * self.velocities
        noise = np.sqrt((1.0 - keep**2) * KB * self.temperature / self.masses)
        self.velocities = keep * self.velocities + noise * self.rng.normal(size=half.shape)
        self.frame = self.frame.replace(positions=half + 0.5 * dt * self.velocities)

    def receive(self, prediction: EnsemblePrediction, stress_shift: float | None, dt: float) -> None:
        """Take over energy and forces; scale the cell if a pressure is held."""
        mean = prediction.mean
        self.energy, self.forces = float(mean.energy[0]), mean.forces
        if stress_shift is not None:
            excess = -float(mean.stress[0, :3].mean()) * EV_PER_A3_IN_GPA - stress_shift
            change = np.clip(dt / (_BAROSTAT_FS * fs) * excess / (3.0 * _BULK_MODULUS_GPA), -1e-3, 1e-3)
            if np.isfinite(change):
                scale = 1.0 + float(change)
                self.frame = self.frame.replace(cell=self.frame.cell * scale, positions=self.frame.positions * scale)


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
        reached a grade or deviation break included, one that failed a health check not.
    """
    met: list[HealthReason] = []
    runs = _prepare(starts, ensemble, settings, moments, seed, met)
    candidates: list[Candidate] = []
    grader = _grader(ensemble)
    dt, friction = settings.timestep_fs * fs, settings.friction_per_ps / (1000.0 * fs)
    for step in range(1, settings.steps + 1):
        if not runs:
            break
        for run in runs:
            run.kick(0.5 * dt)
            run.drift(dt, friction)
        prediction = ensemble.predict([run.frame for run in runs])
        grades = np.zeros(len(runs))
        if grader is not None and step % settings.snapshot_interval == 0:
            grades = grader.grades([run.frame for run in runs])
        going = []
        for run, one, grade in zip(runs, _split(prediction), grades, strict=True):
            frame = run.frame
            run.receive(one, settings.pressure_gpa, dt)
            run.kick(0.5 * dt)
            reason = _problem(run, frame, settings) or _unknown(one, float(grade), settings)
            if reason in (None, HealthReason.GRADE_BREAK, HealthReason.DEVIATION_BREAK) and (
                reason or step % settings.snapshot_interval == 0
            ):
                run.snapshots.add(frame)
            if reason is None and step == settings.steps:
                reason = HealthReason.COMPLETED
            if reason is None:
                going.append(run)
            else:
                met.append(reason)
                candidates += [Candidate(f, run.source) for f in run.snapshots.frames()]
        runs = going
    return MdOutcome(candidates, counted(met))


def _prepare(
    starts: Sequence[Candidate],
    ensemble: Ensemble,
    settings: MdSettings,
    moments: MomentRanges,
    seed: int,
    met: list[HealthReason],
) -> list[_Run]:
    """Runs at time zero; a start with unrelaxed moments or non-finite forces is counted and left out."""
    runs = []
    streams = np.random.SeedSequence(seed).spawn(len(starts))
    for k, (start, stream) in enumerate(zip(starts, streams, strict=True)):
        frame = repeated(start.frame, settings.supercell)
        if settings.relax_moments and frame.magmoms is not None:
            relaxed = relax_moments(frame, ensemble, moments)
            met.extend(relaxed.health)
            if not relaxed.converged:
                met.append(HealthReason.RELAXATION_UNCONVERGED)
                continue
            frame = relaxed.frame
        temperature = settings.temperatures_k[k % len(settings.temperatures_k)]
        origin = start.source.split(":", 1)[-1]
        rng = np.random.default_rng(stream)
        masses = atomic_masses[frame.numbers][:, None]
        mean = ensemble.predict([frame]).mean
        if not (np.isfinite(mean.energy).all() and np.isfinite(mean.forces).all()):
            met.append(HealthReason.NOT_FINITE)
            continue
        runs.append(
            _Run(
                frame,
                f"md:{origin}:{temperature:g}K",
                temperature,
                rng,
                _Snapshots(settings.max_snapshots),
                masses,
                settings.min_distance_factor * nearest_distance(frame),
                rng.normal(size=(len(frame), 3)) * np.sqrt(KB * temperature / masses),
                mean.forces,
                float(mean.energy[0]),
                float(mean.energy[0]),
            )
        )
    return runs


def _grader(ensemble: Ensemble) -> SupportsGrades | None:
    """The ensemble, if it and its members have extrapolation grades."""
    graded = isinstance(ensemble, SupportsGrades) and all(isinstance(m, SupportsGrades) for m in ensemble.members)
    return ensemble if graded else None  # type: ignore[return-value]


def _split(prediction: EnsemblePrediction) -> Iterable[EnsemblePrediction]:
    for i in range(len(prediction.mean)):
        yield EnsemblePrediction(prediction.mean.frame(i), prediction.deviation.frame(i))


def _problem(run: _Run, frame: Frame, settings: MdSettings) -> HealthReason | None:
    """What is wrong with the present state, if anything; `frame` is what the forces belong to."""
    if not (np.isfinite(run.energy) and np.isfinite(run.forces).all() and np.isfinite(run.velocities).all()):
        return HealthReason.NOT_FINITE
    if too_close(frame.cell[None], frame.positions[None], run.shortest)[0]:
        return HealthReason.MIN_DISTANCE
    if abs(run.energy - run.energy_start) > settings.energy_window * len(frame):
        return HealthReason.ENERGY_BLOW_UP
    if run.kinetic_temperature > settings.heat_factor * run.temperature:
        return HealthReason.TEMPERATURE_EXPLOSION
    return None


def _unknown(prediction: EnsemblePrediction, grade: float, settings: MdSettings) -> HealthReason | None:
    """Whether the ensemble says that it does not know this state."""
    if grade > settings.grade_break:
        return HealthReason.GRADE_BREAK
    if prediction.frame_deviation("forces")[0] > settings.forces_deviation_break:
        return HealthReason.DEVIATION_BREAK
    return None
