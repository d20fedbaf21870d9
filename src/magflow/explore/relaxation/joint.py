"""Moments, atoms and cell relaxed together on a potential or on the mean of an ensemble.

All three share one vector (:mod:`~magflow.explore.relaxation.coordinates`) and one minimisation
(:mod:`~magflow.explore.relaxation.descent`). A frame counts as relaxed only when its forces, its stress beyond the
target pressure and its magnetic forces are all below their tolerances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from magflow.core.frame import Frame
from magflow.core.moments import collinear
from magflow.core.prediction import EnsemblePrediction, Prediction
from magflow.core.protocols import Ensemble, Potential, Progress
from magflow.errors import InputError
from magflow.explore.candidate import MomentRanges
from magflow.explore.geometry import nearest_distance, too_close
from magflow.explore.health import HealthReason, moment_changes
from magflow.explore.relaxation.coordinates import JointCoordinates, Residuals
from magflow.explore.relaxation.descent import Descent
from magflow.explore.relaxation.held import Held
from magflow.explore.relaxation.settings import RelaxSettings, Unmet

_DISTANCE_SHARE = 0.7

BROKEN = frozenset(
    {HealthReason.NOT_FINITE, HealthReason.MIN_DISTANCE, HealthReason.VOLUME_CHANGE, HealthReason.ENERGY_BLOW_UP}
)
"""What ends a relaxation before it has converged."""


@dataclass(frozen=True, eq=False)
class RelaxStep:
    """One state on the way: the frame, its energy and enthalpy (eV per cell) and what was left to relax."""

    frame: Frame
    energy: float
    enthalpy: float
    residuals: Residuals


@dataclass(frozen=True, eq=False)
class Relaxation:
    """Result of :func:`relax`.

    Parameters
    ----------
    steps
        The states accepted on the way, start and end included; at least one unless nothing was finite.
    frame
        The end state.
    converged
        True only if nothing is `unmet` and nothing went wrong.
    unmet
        What is still above its tolerance, the worst first.
    evaluations
        Predictions spent on this frame.
    health
        What went wrong (distance, volume, energy, not finite) or is worth a look (moments that collapsed, turned
        over or ended at a bound).
    """

    frame: Frame
    converged: bool
    unmet: tuple[Unmet, ...]
    evaluations: int
    steps: tuple[RelaxStep, ...]
    health: tuple[HealthReason, ...]

    @property
    def broken(self) -> bool:
        """Whether something of :data:`BROKEN` ended it."""
        return not BROKEN.isdisjoint(self.health)

    @property
    def enthalpy(self) -> float:
        """Of the end state, eV per cell; NaN if nothing was finite."""
        return self.steps[-1].enthalpy if self.steps else float("nan")


def relax(
    frame: Frame,
    model: Ensemble | Potential,
    bounds: MomentRanges | None,
    settings: RelaxSettings | None = None,
    progress: Progress | None = None,
) -> Relaxation:
    """Minimise the enthalpy over moments, atoms and cell.

    Parameters
    ----------
    frame
        Collinear; its moments are the start.
    model
        A potential, or an ensemble whose mean is minimised.
    bounds
        Range of |m| by element, muB: moments stay in [-high, high], an element left out carries none. None if the
        moments are held or the model knows none.
    settings
        What is held, the target pressure, tolerances and limits.
    progress
        Called after every prediction.

    Raises
    ------
    InputError
        If the frame is non-collinear, moments are free but have no bounds, or the model refuses the frame.
    """
    return relax_many([frame], model, bounds, settings, progress)[0]


def relax_many(
    frames: Sequence[Frame],
    model: Ensemble | Potential,
    bounds: MomentRanges | None,
    settings: RelaxSettings | None = None,
    progress: Progress | None = None,
) -> list[Relaxation]:
    """:func:`relax` of many frames side by side: one prediction call for all that are not finished.

    The result of a frame does not depend on the others.
    """
    settings = settings or RelaxSettings()
    if not frames:
        return []
    starts = [_start(frame, settings, bounds) for frame in frames]
    first = _mean(model, [c.reference for c in starts])
    _check(starts, first, bounds, settings)
    runs = [_Run(c, settings, first.frame(i)) for i, c in enumerate(starts)]
    while going := [run for run in runs if not run.over]:
        if progress is not None:
            progress(min(run.fraction for run in runs), _told(going))
        for run, prediction in zip(going, _forgiving(model, [run.trial for run in going]), strict=True):
            run.receive(prediction)
    return [run.result() for run in runs]


def _start(frame: Frame, settings: RelaxSettings, bounds: MomentRanges | None) -> JointCoordinates:
    if frame.magmoms is not None:
        collinear(frame.magmoms)
    return JointCoordinates.free(frame, settings.held, bounds, settings.pressure)


def _check(
    starts: Sequence[JointCoordinates], first: Prediction, bounds: MomentRanges | None, settings: RelaxSettings
) -> None:
    """Refuse free moments without bounds, and moments to relax on a model that knows none."""
    if first.magnetic_forces is None and any(len(c.sites) for c in starts):
        raise InputError("the model knows no moments", where="relaxation", hint="use a magnetic family, or no bounds")
    carried = first.magnetic_forces is not None and any(c.reference.magmoms is not None for c in starts)
    if carried and bounds is None and Held.MOMENTS not in settings.held:
        raise InputError(
            "moments are free but have no bounds", where="relaxation", expected="a range of |m| for each element"
        )


def _mean(model: Ensemble | Potential, frames: Sequence[Frame]) -> Prediction:
    prediction = model.predict(frames)
    return prediction.mean if isinstance(prediction, EnsemblePrediction) else prediction


def _forgiving(model: Ensemble | Potential, frames: Sequence[Frame]) -> list[Prediction | None]:
    """A prediction per frame, None for a trial state that the model refuses (atoms on top of each other)."""
    try:
        together = _mean(model, frames)
        return [together.frame(i) for i in range(len(frames))]
    except InputError:
        if len(frames) == 1:
            return [None]
        return [_forgiving(model, [frame])[0] for frame in frames]


def _told(going: Sequence[_Run]) -> str:
    run = max(going, key=lambda r: r.worst)
    left = run.settings.unmet(run.steps[-1].residuals)
    return f"prediction {run.evaluations}: {left[0]}"


@dataclass(eq=False)
class _Run:
    """One relaxation under way."""

    coordinates: JointCoordinates
    settings: RelaxSettings
    first: Prediction
    steps: list[RelaxStep] = field(default_factory=list)
    health: list[HealthReason] = field(default_factory=list)
    evaluations: int = 0
    over: bool = False

    def __post_init__(self) -> None:
        c = self.coordinates
        self.descent = Descent(c.start, *c.bounds, c.longest)
        self.trial = c.reference
        self.shortest = self._shortest()
        self.end = self.first
        self.receive(self.first)
        if not self.steps:
            self.health.append(HealthReason.NOT_FINITE)
            self.over = True

    def _shortest(self) -> float | None:
        """Distance that ends the run, A; None where no distance can change."""
        if not self.coordinates.moving and not len(self.coordinates.strains):
            return None
        return self.settings.min_distance or _DISTANCE_SHARE * nearest_distance(self.coordinates.reference)

    @property
    def worst(self) -> float:
        return self.settings.worst(self.steps[-1].residuals) if self.steps else np.inf

    @property
    def fraction(self) -> float:
        """How far the worst residual has come down to its tolerance, on a logarithmic scale."""
        if self.over:
            return 1.0
        first = max(self.settings.worst(self.steps[0].residuals), 10.0)
        return float(np.clip(1.0 - np.log(max(self.worst, 1.0)) / np.log(first), 0.0, 1.0))

    def receive(self, prediction: Prediction | None) -> None:
        """Take in the prediction for `trial` and decide what comes next."""
        self.evaluations += 1
        energy, gradient = np.inf, self.descent.gradient
        if prediction is not None:
            found = self.coordinates.objective(self.trial, prediction)
            slope = self.coordinates.gradient(self.descent.trial, prediction)
            if np.isfinite(found) and np.isfinite(slope).all():
                energy, gradient = found, slope
        if not self.steps and not np.isfinite(energy):
            return
        if self.descent.tell(energy, gradient) and prediction is not None:
            self._accept(energy, prediction)
        self.over = self.over or self.descent.stalled or self.evaluations >= self.settings.max_evaluations
        if not self.over:
            self.trial = self.coordinates.frame(self.descent.trial)

    def _accept(self, enthalpy: float, prediction: Prediction) -> None:
        left = self.coordinates.residuals(self.trial, prediction)
        self.end = prediction
        self.steps.append(RelaxStep(self.trial, float(prediction.energy[0]), enthalpy, left))
        broken = self._broken()
        if broken is not None:
            self.health.append(broken)
        self.over = broken is not None or not self.settings.unmet(left)

    def _broken(self) -> HealthReason | None:
        """What is wrong with the newest state, if anything."""
        start, now, s = self.steps[0], self.steps[-1], self.settings
        if self.shortest is not None and too_close(now.frame.cell[None], now.frame.positions[None], self.shortest)[0]:
            return HealthReason.MIN_DISTANCE
        if abs(now.frame.volume / start.frame.volume - 1.0) > s.max_volume_change:
            return HealthReason.VOLUME_CHANGE
        # under pressure one of the two may fall far for a good reason, never both
        fall = min(start.energy - now.energy, start.enthalpy - now.enthalpy)
        if fall > s.energy_window * len(now.frame):
            return HealthReason.ENERGY_BLOW_UP
        return None

    def result(self) -> Relaxation:
        if not self.steps:
            return Relaxation(self.trial, False, (), self.evaluations, (), tuple(self.health))
        end = self.steps[-1]
        unmet = self.settings.unmet(end.residuals)
        converged = not unmet and not self.health
        health = (*self.health, *self._moments(end))
        return Relaxation(end.frame, converged, unmet, self.evaluations, tuple(self.steps), health)

    def _moments(self, end: RelaxStep) -> list[HealthReason]:
        """What became of the moments."""
        before, after, sites = self.coordinates.reference.magmoms, end.frame.magmoms, self.coordinates.sites
        if before is None or after is None or not len(sites):
            return []
        reasons = list(moment_changes(before, after))
        if self.coordinates.at_bound(end.frame, self.end):
            reasons.append(HealthReason.MOMENT_AT_BOUND)
        if not before[sites].any():
            reasons.append(HealthReason.MOMENTS_ALL_ZERO)
        return reasons
