"""A run of molecular dynamics that is ready to start or to go on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magflow.core.dynamics import Motion
from magflow.core.frame import Frame
from magflow.core.protocols import WorkProgress, silent
from magflow.errors import InputError
from magflow.explore.candidate import MomentRanges
from magflow.explore.geometry import repeated
from magflow.explore.health import HealthReason
from magflow.explore.watching import Sighting, Watch, watch
from magflow.io.predictions import check_predictable
from magflow.io.records import Record
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.limits import moment_bounds
from magflow.studies.md.directory import RunDirectory
from magflow.studies.md.options import MdOptions
from magflow.studies.md.result import MdResult
from magflow.studies.md.start import check, started


@dataclass(frozen=True, eq=False)
class MdTask:
    """A run that is ready to start or to go on.

    Parameters
    ----------
    steps
        Steps from the start of the run, those made earlier included.
    facts
        What decides the course of the run, kept beside its state.
    """

    ensemble: PotentialEnsemble
    motion: Motion
    steps: int
    options: MdOptions
    bounds: MomentRanges | None
    directory: RunDirectory
    facts: dict[str, Any]
    resumed: bool

    @classmethod
    def prepared(
        cls,
        ensemble: PotentialEnsemble,
        structure: Frame,
        steps: int,
        options: MdOptions,
        out: Path,
        *,
        where: str,
        resume: bool,
    ) -> MdTask:
        """Check that model, structure and options fit together, and open the directory.

        Parameters
        ----------
        where
            Where the structure comes from, for errors.

        Raises
        ------
        InputError
            Unknown element, moments missing, no bound for an element, options that exclude each other, a run that is
            there already or was another one.
        """
        directory = RunDirectory(out)
        check(options)
        frame = repeated(structure, options.repeat)
        check_predictable([Record(frame)], ensemble.species, magnetic=ensemble.magnetic, where=where)
        relaxes = options.relax_moments_every is not None
        if relaxes and not ensemble.magnetic:
            raise InputError("the model knows no moments to relax", where=where, hint="leave out --relax-moments-every")
        bounds = moment_bounds(ensemble, frame, options.max_moment) if relaxes else None
        facts = {"options": options.as_dict(), "start": frame.frame_id, "ensemble": ensemble.identity}
        if resume:
            motion, saved = directory.resume()
            _same_run(facts, saved, str(out))
        else:
            motion = started(ensemble, frame, options)
            directory.begin()
        return cls(ensemble, motion, steps, options, bounds, directory, facts, resume)

    def run(self, progress: WorkProgress = silent) -> MdResult:
        """Make the steps that are missing, and write as they are made."""
        begin, first = time.perf_counter(), self.motion.step
        looks = Watch(self.options.interval, self.options.grade_stop, self.options.relax_moments_every, self.bounds)
        reason, last = HealthReason.COMPLETED, first
        for seen in watch(self.ensemble, [self.motion], self.steps, looks):
            reason = seen.reason or reason
            if seen.observation is None:
                continue
            last = seen.observation.motion.step
            if last > first or not self.resumed:
                self._write(seen)
            progress(last / self.steps, _told(seen))
        seconds = time.perf_counter() - begin
        atoms, course = len(self.motion.frame), self.directory.course()
        return MdResult(self.directory.path, self.options, atoms, reason, last - first, seconds, course)

    def _write(self, seen: Sighting) -> None:
        assert seen.observation is not None
        self.directory.append(seen.observation, seen.grade)
        if seen.reason in (None, HealthReason.COMPLETED) and seen.observation.motion.step % self.options.interval == 0:
            self.directory.save(seen.observation.motion, self.facts)


def _same_run(asked: dict[str, Any], saved: dict[str, Any], where: str) -> None:
    """Refuse to go on with other options, another structure or another model."""
    before = MdOptions.from_dict(saved["options"]).as_dict()
    for name, value in asked["options"].items():
        if before[name] != value:
            raise InputError(
                f"the run was started with another --{name.replace('_', '-')}",
                where=where,
                seen=value,
                expected=str(before[name]),
            )
    for name, what in (("start", "structure"), ("ensemble", "model")):
        if saved[name] != asked[name]:
            raise InputError(f"the run was started with another {what}", where=where)


def _told(seen: Sighting) -> str:
    assert seen.observation is not None
    motion, energy = seen.observation.motion, seen.observation.energy
    text = f"step {motion.step}  {motion.temperature:.0f} K  {energy / len(motion.frame):.4f} eV/atom"
    return text if seen.grade is None else f"{text}  grade {seen.grade:.2f}"
