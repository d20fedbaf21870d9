"""What ``magflow md`` runs and shows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from magflow.cli.dynamics_options import CellMotion, MdOptions, Statistics
from magflow.cli.relaxed import moment_bounds
from magflow.cli.trajectory import FIGURE, LOG, TRAJECTORY, RunDirectory
from magflow.core.arrays import digest
from magflow.core.dynamics import (
    Integration,
    Limits,
    Motion,
    Pistons,
    at_rest,
    in_ase_time,
    piston_mass,
    pressure_from_gpa,
)
from magflow.core.frame import Frame
from magflow.core.types import FloatArray
from magflow.core.units import KB
from magflow.errors import InputError
from magflow.explore.candidate import MomentRanges
from magflow.explore.geometry import nearest_distance, repeated
from magflow.explore.health import HealthReason
from magflow.explore.watching import UNKNOWN, Sighting, Watch, watch
from magflow.io.configuration import read_configuration
from magflow.io.predictions import check_predictable
from magflow.io.records import Record
from magflow.potentials.ensemble import PotentialEnsemble

ENERGY_WINDOW = 3.0
"""eV/atom; no crystal or melt moves further, the potential has a hole."""
HEAT_FACTOR = 15.0
"""Multiple of the temperature that ends a run; counted from 300 K for colder ones."""
DISTANCE_SHARE = 0.6
"""Of the first shortest distance, below which atoms are on top of each other."""

_TOLD = {
    HealthReason.COMPLETED: "all steps made",
    HealthReason.GRADE_BREAK: "the extrapolation grade exceeded --grade-stop: label the last frame",
    HealthReason.DEVIATION_BREAK: "the deviation of a force exceeded --deviation-stop: label the last frame",
    HealthReason.NOT_FINITE: "energies or positions are not finite",
    HealthReason.MIN_DISTANCE: "two atoms came closer than 0.6 of the first shortest distance",
    HealthReason.ENERGY_BLOW_UP: "the energy moved by more than 3 eV/atom",
    HealthReason.TEMPERATURE_EXPLOSION: "the temperature rose beyond all bounds",
    HealthReason.RELAXATION_UNCONVERGED: "the moments could not be relaxed",
}


@dataclass(frozen=True, eq=False)
class MdOutcome:
    """How a run ended.

    Parameters
    ----------
    steps, seconds
        Steps made by this call and the wall time they took.
    course
        The whole log, by column.
    """

    directory: Path
    options: MdOptions
    atoms: int
    reason: HealthReason
    steps: int
    seconds: float
    course: dict[str, FloatArray]

    @property
    def broken(self) -> bool:
        """Whether it ended by anything but its last step or what the ensemble does not know."""
        return self.reason is not HealthReason.COMPLETED and self.reason not in UNKNOWN

    def rows(self) -> dict[str, tuple[float, float, float]]:
        """Column of the log to mean, standard deviation and last value of the second half of the run, where known."""
        later = {name: values[len(values) // 2 :] for name, values in self.course.items()}
        known = {name: x[np.isfinite(x)] for name, x in later.items() if name not in ("step", "time_fs")}
        return {
            name: (float(np.mean(x)), float(np.std(x)) if np.ptp(x) > 0.0 else 0.0, float(x[-1]))
            for name, x in known.items()
            if len(x)
        }

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        drift = self.course["conserved_eV"][-1] - self.course["conserved_eV"][0]
        return {
            "output": str(self.directory),
            "reason": str(self.reason),
            "step": int(self.course["step"][-1]),
            "atoms": self.atoms,
            "steps_per_second": self.steps / self.seconds if self.seconds > 0 else None,
            "drift_of_conserved_ev_per_atom": float(drift) / self.atoms,
            "second_half": {
                name: {"mean": _plain(mean), "standard_deviation": _plain(spread), "last": _plain(last)}
                for name, (mean, spread, last) in self.rows().items()
            },
        }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


@dataclass(frozen=True, eq=False)
class MdTask:
    """A run that is ready to start or to go on."""

    ensemble: PotentialEnsemble
    motion: Motion
    options: MdOptions
    bounds: MomentRanges | None
    directory: RunDirectory
    facts: dict[str, Any]
    resumed: bool

    @classmethod
    def prepared(
        cls, ensemble: PotentialEnsemble, structure: Path, options: MdOptions, out: Path, *, resume: bool
    ) -> MdTask:
        """Check that model, structure and options fit together, and open the directory.

        Raises
        ------
        InputError
            Unknown element, moments missing, no bound for an element, options that exclude each other, a run that is
            there already or was another one.
        """
        where, directory = str(structure), RunDirectory(out)
        _check(options)
        frame = repeated(read_configuration(structure), options.repeat)
        check_predictable([Record(frame)], ensemble.species, magnetic=ensemble.magnetic, where=where)
        relaxes = options.relax_moments_every is not None
        if relaxes and not ensemble.magnetic:
            raise InputError("the model knows no moments to relax", where=where, hint="leave out --relax-moments-every")
        bounds = moment_bounds(ensemble, frame, options.max_moment) if relaxes else None
        facts = {"options": options.as_dict(), "start": frame.frame_id, "ensemble": _identity(ensemble)}
        if resume:
            motion, saved = directory.resume()
            _same_run(facts, saved, str(out))
        else:
            motion = _start(ensemble, frame, options)
            directory.begin()
        return cls(ensemble, motion, options, bounds, directory, facts, resume)

    def run(self, steps: int, progress: Callable[[int, str], None] | None = None) -> MdOutcome:
        """Make steps up to `steps` from the start of the run, and write as they are made."""
        begin, first = time.perf_counter(), self.motion.step
        looks = Watch(self.options.interval, self.options.grade_stop, self.options.relax_moments_every, self.bounds)
        reason, last = HealthReason.COMPLETED, first
        for seen in watch(self.ensemble, [self.motion], steps, looks):
            reason = seen.reason or reason
            if seen.observation is None:
                continue
            last = seen.observation.motion.step
            if last > first or not self.resumed:
                self._write(seen)
            if progress is not None:
                progress(last, _told(seen))
        seconds = time.perf_counter() - begin
        atoms = len(self.motion.frame)
        self.directory.draw(atoms, self.options.grade_stop)
        course = self.directory.course()
        return MdOutcome(self.directory.path, self.options, atoms, reason, last - first, seconds, course)

    def _write(self, seen: Sighting) -> None:
        assert seen.observation is not None
        self.directory.append(seen.observation, seen.grade)
        if seen.reason in (None, HealthReason.COMPLETED) and seen.observation.motion.step % self.options.interval == 0:
            self.directory.save(seen.observation.motion, self.facts)


def _identity(ensemble: PotentialEnsemble) -> str:
    return digest([member.to_bytes() for member in ensemble.members])


def _same_run(asked: dict[str, Any], saved: dict[str, Any], where: str) -> None:
    """Refuse to go on with other options, another structure or another model."""
    for name, value in asked["options"].items():
        if saved["options"].get(name) != value:
            raise InputError(
                f"the run was started with another --{name.replace('_', '-')}",
                where=where,
                seen=value,
                expected=str(saved["options"].get(name)),
            )
    for name, what in (("start", "structure"), ("ensemble", "model")):
        if saved[name] != asked[name]:
            raise InputError(f"the run was started with another {what}", where=where)


def _check(options: MdOptions) -> None:
    """Refuse what cannot be, and what would be left unheeded."""
    if min(options.repeat) < 1:
        raise InputError("--repeat needs three positive numbers", seen=options.repeat)
    if options.max_moment and options.relax_moments_every is None:
        raise InputError("the moments are fixed", where="--max-moment", hint="--relax-moments-every lets them follow")
    if options.statistics is Statistics.NPT:
        if options.temperature <= 0.0:
            raise InputError("npt needs a temperature above 0 K", where="--temperature", seen=options.temperature)
        return
    for name, given in (("--pressure", options.pressure != 0.0), ("--cell", options.cell is not CellMotion.VOLUME)):
        if given:
            hint = "--ensemble npt lets the cell move"
            raise InputError("the cell is fixed", where=name, seen=f"--ensemble {options.statistics}", hint=hint)


def _start(ensemble: PotentialEnsemble, frame: Frame, options: MdOptions) -> Motion:
    statistics = options.statistics
    pistons = Pistons.NONE
    if statistics is Statistics.NPT:
        pistons = {CellMotion.VOLUME: Pistons.VOLUME, CellMotion.LENGTHS: Pistons.LENGTHS}[options.cell]
    mean = ensemble.predict([frame]).mean
    energy, window = float(mean.energy[0]), ENERGY_WINDOW * len(frame)
    limits = Limits(
        min_distance=DISTANCE_SHARE * nearest_distance(frame),
        min_energy=energy - window,
        max_energy=energy + window,
        max_kinetic=1.5 * len(frame) * KB * HEAT_FACTOR * max(options.temperature, 300.0),
        max_deviation=math.inf if options.deviation_stop is None else options.deviation_stop,
    )
    motion = Motion.start(
        frame,
        Integration(
            timestep=in_ase_time(options.timestep),
            friction=0.0 if statistics is Statistics.NVE else options.friction / in_ase_time(1000.0),
            temperature=options.temperature,
            pressure=pressure_from_gpa(options.pressure),
            pistons=pistons,
            piston_mass=piston_mass(frame, options.temperature, in_ase_time(options.barostat_time), pistons)
            if pistons
            else 0.0,
            key=int(np.random.SeedSequence(options.seed).generate_state(1, np.uint64)[0]),
        ),
        limits,
    )
    return motion.replace_velocities(at_rest(motion.velocities, motion.masses))


def _told(seen: Sighting) -> str:
    assert seen.observation is not None
    motion, energy = seen.observation.motion, seen.observation.energy
    text = f"step {motion.step}  {motion.temperature:.0f} K  {energy / len(motion.frame):.4f} eV/atom"
    return text if seen.grade is None else f"{text}  grade {seen.grade:.2f}"


def show(outcome: MdOutcome) -> None:
    """The second half of the run as a table, and why it ended."""
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True)
    table = Table(title=f"{outcome.atoms} atoms, second half of {int(outcome.course['step'][-1])} steps")
    table.add_column("quantity")
    for name in ("mean", "standard deviation", "last"):
        table.add_column(name, justify="right")
    for name, values in outcome.rows().items():
        table.add_row(name, *(f"{x:.6g}" for x in values))
    console.print(table)
    told = _TOLD[outcome.reason]
    colour = "red" if outcome.broken else "green" if outcome.reason is HealthReason.COMPLETED else "yellow"
    console.print(f"[{colour}]{outcome.reason}[/{colour}]: {told}", highlight=False)
    if outcome.seconds > 0.0 and outcome.steps:
        console.print(f"{outcome.steps / outcome.seconds:.4g} steps/s", highlight=False)
    for name in (TRAJECTORY, LOG, FIGURE):
        console.print(str(outcome.directory / name), highlight=False)
