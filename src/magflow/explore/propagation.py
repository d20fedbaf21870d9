"""Molecular dynamics of any ensemble: the native loop of the family where it has one, otherwise one call per step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from magflow.core.dynamics import RECORD, Motion, Observation, Pistons, Stop, cell_lengths
from magflow.core.frame import Frame
from magflow.core.prediction import EnsemblePrediction
from magflow.core.protocols import Ensemble, Propagator, SupportsDynamics
from magflow.core.random import Purpose, normals
from magflow.core.types import FloatArray, RecordArray
from magflow.core.units import KB
from magflow.errors import InputError
from magflow.explore.geometry import too_close


def propagator(ensemble: Ensemble, motions: Sequence[Motion]) -> Propagator:
    """Whatever moves the runs fastest: all give the same trajectories to rounding."""
    native = ensemble.dynamics(motions) if isinstance(ensemble, SupportsDynamics) else None
    return PredictionPropagator(ensemble, motions) if native is None else native


@dataclass(eq=False)
class _Run:
    """One run under way; the names of the parts of a step are those of :mod:`magflow.core.dynamics`."""

    motion: Motion
    positions: FloatArray
    velocities: FloatArray
    cell: FloatArray
    piston: FloatArray
    heat: float
    step: int
    energy: float = 0.0
    forces: FloatArray | None = None
    stress: FloatArray | None = None
    energy_deviation: float = 0.0
    forces_deviation: float = 0.0
    stop: Stop | None = None
    retired: bool = False

    @classmethod
    def of(cls, motion: Motion) -> _Run:
        frame = motion.frame
        return cls(
            motion, frame.positions, motion.velocities, frame.cell, motion.piston, motion.heat, motion.step
        )  # fmt: skip

    @property
    def going(self) -> bool:
        return self.stop is None and not self.retired

    @property
    def frame(self) -> Frame:
        """Raises InputError if it is not finite."""
        return self.motion.frame.replace(cell=self.cell, positions=self.positions)

    @property
    def volume(self) -> float:
        return float(abs(np.linalg.det(self.cell)))

    def first_half(self) -> None:
        half = 0.5 * self.motion.integration.timestep
        self.kick(half)
        self.resize(half)
        self.drift(half)
        self.exchange_heat()
        self.drift(half)
        self.resize(half)

    def second_half(self) -> None:
        self.kick(0.5 * self.motion.integration.timestep)
        self.step += 1

    def kick(self, dt: float) -> None:
        how = self.motion.integration
        assert self.forces is not None and self.stress is not None
        self.velocities = self.velocities + dt * self.forces / self.motion.masses
        if how.pistons is Pistons.VOLUME:
            self.piston = self.piston + dt * (-self.stress[:3].mean() - how.pressure)
        elif how.pistons is Pistons.LENGTHS:
            self.piston = self.piston + dt * (-self.stress[:3] - how.pressure) * self.volume / cell_lengths(self.cell)

    def drift(self, dt: float) -> None:
        self.positions = self.positions + dt * self.velocities
        twice = (self.motion.masses * self.velocities**2).sum(axis=0)
        if self.motion.integration.pistons is Pistons.VOLUME:
            self.piston = self.piston + dt * twice.sum() / (3.0 * self.volume)
        elif self.motion.integration.pistons is Pistons.LENGTHS:
            self.piston = self.piston + dt * twice / cell_lengths(self.cell)

    def resize(self, dt: float) -> None:
        how = self.motion.integration
        if how.pistons is Pistons.NONE:
            return
        change = dt * self.piston / how.piston_mass
        if how.pistons is Pistons.VOLUME:
            factor = np.full(3, np.cbrt(1.0 + change[0] / self.volume))
        else:
            factor = 1.0 + change / cell_lengths(self.cell)
        self.cell = self.cell * factor
        self.positions = self.positions * factor
        self.velocities = self.velocities / factor

    def exchange_heat(self) -> None:
        how = self.motion.integration
        if how.friction == 0.0:
            return
        before = self._bathed_energy()
        keep = np.exp(-how.friction * how.timestep)
        noise = np.sqrt((1.0 - keep**2) * KB * how.temperature)
        xi = normals(how.key, self.step, len(self.positions), Purpose.NOISE)
        self.velocities = keep * self.velocities + noise / np.sqrt(self.motion.masses) * xi
        if how.pistons:
            xi = normals(how.key, self.step, 1, Purpose.PISTON)[0, : int(how.pistons)]
            self.piston = keep * self.piston + noise * np.sqrt(how.piston_mass) * xi
        self.heat += self._bathed_energy() - before

    def _bathed_energy(self) -> float:
        kinetic = 0.5 * float((self.motion.masses * self.velocities**2).sum())
        pistons = self.motion.integration.pistons
        return kinetic + (0.5 * float((self.piston**2).sum()) / self.motion.integration.piston_mass if pistons else 0.0)

    def receive(self, prediction: EnsemblePrediction) -> None:
        mean = prediction.mean
        self.energy, self.forces, self.stress = float(mean.energy[0]), mean.forces, mean.stress[0]
        self.energy_deviation = float(prediction.frame_deviation("energy")[0])
        self.forces_deviation = float(prediction.frame_deviation("forces")[0])

    def finite(self) -> bool:
        arrays = (self.positions, self.velocities, self.cell, self.forces)
        return bool(np.isfinite(self.energy) and all(np.isfinite(a).all() for a in arrays if a is not None))

    def check_positions(self) -> None:
        """Before a prediction, which many models refuse for atoms on top of each other."""
        shortest = self.motion.limits.min_distance
        if not self.finite():
            self.stop = Stop.NOT_FINITE
        elif shortest > 0.0 and too_close(self.cell[None], self.positions[None], shortest)[0]:
            self.stop = Stop.MIN_DISTANCE

    def check(self) -> None:
        limits = self.motion.limits
        if not self.finite():
            self.stop = Stop.NOT_FINITE
        elif not limits.min_energy <= self.energy <= limits.max_energy:
            self.stop = Stop.ENERGY
        elif 0.5 * float((self.motion.masses * self.velocities**2).sum()) > limits.max_kinetic:
            self.stop = Stop.TEMPERATURE
        elif self.forces_deviation > limits.max_deviation:
            self.stop = Stop.DEVIATION


class PredictionPropagator:
    """One call of the ensemble per step for all runs; see :class:`~magflow.core.protocols.Propagator`."""

    def __init__(self, ensemble: Ensemble, motions: Sequence[Motion]) -> None:
        self._ensemble = ensemble
        self._runs = [_Run.of(motion) for motion in motions]
        self._rows: list[list[RecordArray]] = [[] for _ in motions]
        self._record_every = 0
        self._predict(self._runs)

    def _predict(self, runs: Sequence[_Run]) -> None:
        if not runs:
            return
        prediction = self._ensemble.predict([run.frame for run in runs])
        for i, run in enumerate(runs):
            run.receive(EnsemblePrediction(prediction.mean.frame(i), prediction.deviation.frame(i)))

    def advance(self, step: int) -> None:
        """See :class:`~magflow.core.protocols.Propagator`."""
        while moving := [run for run in self._runs if run.going and run.step < step]:
            for run in moving:
                run.first_half()
                run.check_positions()
            moving = [run for run in moving if run.going]
            self._predict(moving)
            for run in moving:
                run.second_half()
                run.check()
            self._note(moving)

    def _note(self, moving: Sequence[_Run]) -> None:
        for k, run in enumerate(self._runs):
            if run in moving and self._record_every and run.step % self._record_every == 0 and run.finite():
                self._rows[k].append(self.observe(k).record)

    def record(self, every: int) -> None:
        """See :class:`~magflow.core.protocols.Propagator`."""
        self._record_every = every

    def recorded(self, run: int) -> RecordArray:
        """See :class:`~magflow.core.protocols.Propagator`."""
        rows, self._rows[run] = self._rows[run], []
        return np.concatenate([np.zeros(0, RECORD), *rows])

    def stop(self, run: int) -> Stop | None:
        """See :class:`~magflow.core.protocols.Propagator`."""
        return self._runs[run].stop

    def observe(self, run: int) -> Observation:
        """See :class:`~magflow.core.protocols.Propagator`."""
        r = self._runs[run]
        motion = replace(
            r.motion, frame=r.frame, velocities=r.velocities, piston=r.piston, heat=r.heat, step=r.step
        )  # fmt: skip
        if r.forces is None or r.stress is None:
            raise InputError("the run has no forces yet", where=f"run {run}")
        return Observation(motion, r.energy, r.forces, r.stress, r.energy_deviation, r.forces_deviation)

    def set_magmoms(self, magmoms: Mapping[int, FloatArray]) -> None:
        """See :class:`~magflow.core.protocols.Propagator`."""
        before = {k: self._runs[k].energy for k in magmoms}
        for k, moments in magmoms.items():
            run = self._runs[k]
            run.motion = replace(run.motion, frame=run.frame.replace(magmoms=moments))
        self._predict([self._runs[k] for k in magmoms])
        for k, energy in before.items():
            self._runs[k].heat += self._runs[k].energy - energy

    def retire(self, run: int) -> None:
        """See :class:`~magflow.core.protocols.Propagator`."""
        self._runs[run].retired = True
