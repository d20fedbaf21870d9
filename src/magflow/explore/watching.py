"""Molecular dynamics with eyes open: what is looked at on the way, and why a run ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from magflow.core.dynamics import RECORD, Motion, Observation, Stop
from magflow.core.protocols import Ensemble, Propagator, SupportsGrades, has_grades
from magflow.core.types import RecordArray
from magflow.errors import InputError
from magflow.explore.candidate import MomentRanges
from magflow.explore.health import HealthReason
from magflow.explore.propagation import propagator
from magflow.explore.relaxation.moments import relax_moments_many

REASONS = {
    Stop.NOT_FINITE: HealthReason.NOT_FINITE,
    Stop.MIN_DISTANCE: HealthReason.MIN_DISTANCE,
    Stop.ENERGY: HealthReason.ENERGY_BLOW_UP,
    Stop.TEMPERATURE: HealthReason.TEMPERATURE_EXPLOSION,
    Stop.DEVIATION: HealthReason.DEVIATION_BREAK,
}
UNKNOWN = frozenset({HealthReason.GRADE_BREAK, HealthReason.DEVIATION_BREAK})
"""Ends that say the ensemble knows no more; the state is sound and worth a label."""


@dataclass(frozen=True)
class Watch:
    """What is done on the way.

    Parameters
    ----------
    interval
        Steps from one look to the next.
    grade_break
        Extrapolation grade above which a run ends, looked at every `interval`.
    relax_moments_every
        Steps from one relaxation of the moments at fixed atoms to the next; None: the moments are fixed.
    moments
        Range of |m| by element, muB: bounds of these relaxations.
    record_every
        Steps from one note of energies, stresses and deviations to the next; None: nothing is noted.
    """

    interval: int
    grade_break: float = float("inf")
    relax_moments_every: int | None = None
    moments: MomentRanges | None = None
    record_every: int | None = None

    def __post_init__(self) -> None:
        if min(self.interval, self.relax_moments_every or 1, self.record_every or 1) < 1:
            raise InputError("an interval is at least one step", where="molecular dynamics")
        if self.relax_moments_every is not None and self.moments is None:
            raise InputError("moments are to be relaxed but have no bounds", where="molecular dynamics")

    def next(self, step: int, last: int) -> int:
        """The next step something happens at."""
        every = [self.interval] + ([self.relax_moments_every] if self.relax_moments_every else [])
        return min(last, *(step - step % n + n for n in every))


@dataclass(frozen=True, eq=False)
class Sighting:
    """What is seen of one run at one look.

    Parameters
    ----------
    run
        Which.
    observation
        None where it is not finite.
    grade
        Extrapolation grade; None if the ensemble has none or the run met a limit between two looks.
    reason
        Why the run ended here; None: it goes on.
    records
        (n,) of :data:`~magflow.core.dynamics.RECORD`: what was noted since the last look.
    """

    run: int
    observation: Observation | None
    grade: float | None = None
    reason: HealthReason | None = None
    records: RecordArray = field(default_factory=lambda: np.zeros(0, RECORD))


def watch(ensemble: Ensemble, motions: Sequence[Motion], steps: int, how: Watch) -> Iterator[Sighting]:
    """Move the runs side by side until each has ended.

    Parameters
    ----------
    ensemble
        Its mean moves the atoms; its deviation and its grade, if it has one, end a run.
    motions
        Where the runs start; all at the same step.
    steps
        Steps of a run, counted from step 0.
    how
        What is looked at, and when.

    Yields
    ------
    Sighting
        Of every run at the first state, at every look (after the moments were relaxed, where both are due), and at its
        end. A run that goes on from the motion of a look makes the steps it would have made.
    """
    if not motions:
        return
    moving = propagator(ensemble, motions)
    if how.record_every is not None:
        moving.record(how.record_every)
    going = list(range(len(motions)))
    grader = grader_of(ensemble)
    step = motions[0].step
    seen = _look(moving, going, grader, how, step, steps)
    while True:
        for sighting in seen:
            if sighting.reason is not None:
                moving.retire(sighting.run)
                going.remove(sighting.run)
            yield sighting if how.record_every is None else replace(sighting, records=moving.recorded(sighting.run))
        if not going or step >= steps:
            return
        step = how.next(step, steps)
        moving.advance(step)
        seen = [_ending(moving, run) for run in going if moving.stop(run) is not None]
        alive = [run for run in going if moving.stop(run) is None]
        if how.relax_moments_every and step % how.relax_moments_every == 0:
            failed = _relax(moving, alive, ensemble, how)
            seen += [Sighting(run, moving.observe(run), None, HealthReason.RELAXATION_UNCONVERGED) for run in failed]
            alive = [run for run in alive if run not in failed]
        seen += _look(moving, alive, grader, how, step, steps)


def grader_of(ensemble: Ensemble) -> SupportsGrades | None:
    """The ensemble, if it and its members have extrapolation grades."""
    return ensemble if isinstance(ensemble, SupportsGrades) and has_grades(ensemble) else None


def _ending(moving: Propagator, run: int) -> Sighting:
    stop = moving.stop(run)
    reason = HealthReason.NOT_FINITE if stop is None else REASONS[stop]
    observation = None if reason is HealthReason.NOT_FINITE else moving.observe(run)
    return Sighting(run, observation, None, reason)


def _look(
    moving: Propagator, going: Sequence[int], grader: SupportsGrades | None, how: Watch, step: int, last: int
) -> list[Sighting]:
    """What is seen of the runs that go on; nothing between two looks."""
    if not going or (step % how.interval and step < last):
        return []
    seen = [moving.observe(run) for run in going]
    grades = None
    if grader is not None and step % how.interval == 0:
        grades = grader.grades([o.motion.frame for o in seen])
    out = []
    for k, (run, observation) in enumerate(zip(going, seen, strict=True)):
        grade = None if grades is None else float(grades[k])
        reason = HealthReason.COMPLETED if step >= last else None
        if grade is not None and grade > how.grade_break:
            reason = HealthReason.GRADE_BREAK
        out.append(Sighting(run, observation, grade, reason))
    return out


def _relax(moving: Propagator, going: Sequence[int], ensemble: Ensemble, how: Watch) -> list[int]:
    """Relax the moments of all runs; returns those where it failed."""
    if not going or how.moments is None:
        return []
    frames = [moving.observe(run).motion.frame for run in going]
    relaxed = relax_moments_many(frames, ensemble, how.moments)
    moving.set_magmoms(
        {
            run: r.frame.magmoms
            for run, r in zip(going, relaxed, strict=True)
            if r.converged and r.frame.magmoms is not None
        }
    )
    return [run for run, r in zip(going, relaxed, strict=True) if not r.converged]
