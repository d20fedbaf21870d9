"""From labels to a fitted mMTP."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from threadpoolctl import threadpool_limits

from magflow.core.label import Cost, LabeledFrame
from magflow.core.prediction import EnsemblePrediction
from magflow.core.protocols import FitReport
from magflow.core.types import FloatArray
from magflow.potentials.mmtp.checkpoint import Checkpoint, fit_key
from magflow.potentials.mmtp.grade import select_active_set
from magflow.potentials.mmtp.leverage import PosteriorDraws
from magflow.potentials.mmtp.model import MmtpModel
from magflow.potentials.mmtp.objective import Objective
from magflow.potentials.mmtp.optimise import best_start, minimise
from magflow.potentials.mmtp.posterior import Posterior
from magflow.potentials.mmtp.potential import MmtpPotential
from magflow.potentials.mmtp.prior import with_unknowns
from magflow.potentials.mmtp.residuals import Problem
from magflow.potentials.mmtp.scope import ActiveSet, Scope
from magflow.potentials.mmtp.settings import MmtpSettings
from magflow.potentials.mmtp.state import Ending, State
from magflow.potentials.mmtp.task import FitTask, Prepared, prepare
from magflow.potentials.strata import UsualVolume, residual_report


def fit_mmtp(settings: MmtpSettings, task: FitTask) -> tuple[MmtpPotential, FitReport]:
    """See :meth:`magflow.potentials.mmtp.family.MmtpFamily.fit`.

    Linear algebra runs on one thread: its matrices are small, members are fitted side by side by the workers, and
    threads that wait for each other on a busy machine cost ten times the work.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        return _fit(settings, task)


def _fit(settings: MmtpSettings, task: FitTask) -> tuple[MmtpPotential, FitReport]:
    watch = _Watch()
    ready = prepare(settings, task)
    held = ready.held
    monitor = (lambda p: held.loss(held.residuals(p))) if held else None
    objective = Objective(ready.whole, ready.prior)
    rough = None if ready.rough is None else Objective(ready.rough, ready.prior)
    checkpoint = Checkpoint(task.workdir, _key(settings, task, ready)) if task.workdir is not None else None
    found = checkpoint.load() if checkpoint else None
    tell = _Told(task, ready)

    def trying(state: State) -> None:
        tell(state, "trying starts, ")

    def keep(state: State) -> None:
        if checkpoint:
            checkpoint.save(state, watch.cost)
        tell(state)

    if found:
        state, watch.before = found
    else:
        state = best_start(objective, ready.plan, ready.starts, rough=rough, monitor=monitor, observe=trying)
    minimise(objective, ready.plan, state, rough=rough, monitor=monitor, observe=keep)
    if checkpoint:
        checkpoint.save(state, watch.cost, now=True)
    potential = finish(settings, ready, state.best, task.seed)
    report = _report(state, ready, watch.cost, potential)
    if task.progress:
        task.progress(1.0, "fitted")
    return potential, report


class _Told:
    """Tells the progress of a task, its trial of several starts included."""

    def __init__(self, task: FitTask, ready: Prepared) -> None:
        self.progress, self.done = task.progress, 0
        trials = 0 if len(ready.starts) == 1 else len(ready.starts) * ready.plan.trial_iterations
        self.all = trials + ready.plan.max_iterations

    def __call__(self, state: State, before: str = "") -> None:
        """After an iteration; `before` says what it belongs to."""
        self.done = max(self.done + 1, state.iteration)
        if self.progress:
            fraction = min(self.done / self.all, 0.99)
            self.progress(fraction, f"{before}iteration {state.iteration}: {state.objective:.4g}")


class _Watch:
    """Time this attempt and those before it have taken."""

    def __init__(self) -> None:
        self.cpu, self.wall = time.process_time(), time.perf_counter()
        self.before = Cost()

    @property
    def cost(self) -> Cost:
        return self.before + Cost(time.process_time() - self.cpu, time.perf_counter() - self.wall)


def _key(settings: MmtpSettings, task: FitTask, ready: Prepared) -> str:
    arrays = list(ready.starts)
    for problem in (ready.problem, ready.held):
        if problem is not None:
            geometry, targets = problem.geometry, problem.targets
            arrays += [geometry.type, geometry.moment, geometry.vector, targets.values, targets.weights]
    if ready.curvature is not None:
        arrays += ready.curvature.arrays
    return fit_key(f"{settings.model_dump_json()} {task.species} {task.seed}", arrays)


def finish(settings: MmtpSettings, ready: Prepared, unknowns: FloatArray, seed: int) -> MmtpPotential:
    """The potential with what grades frames: the posterior of the fit, or an active set of its environments."""
    problem = ready.problem
    potential = MmtpPotential(with_unknowns(problem.model, unknowns))
    active: ActiveSet
    if settings.grade is Scope.POSTERIOR:
        posterior = Posterior.of(ready.whole, ready.prior, unknowns)
        active = PosteriorDraws.of(posterior, problem, settings.weights, seed)
    else:
        active = select_active_set(potential, problem.geometry, settings.grade)
    return replace(potential, active=active)


def _report(state: State, ready: Prepared, cost: Cost, potential: MmtpPotential) -> FitReport:
    usual_volume = UsualVolume.of([item.frame for item in ready.items])
    rmse, residuals = {}, {}
    parts = {"train": (ready.problem, ready.items), "validation": (ready.held, ready.held_items)}
    for name, (problem, items) in parts.items():
        if problem is not None:
            rmse[name] = problem.rmse(problem.residuals(state.best))
            residuals[name] = residual_report(items, _as_labelled(potential, problem, items), usual_volume)
    details = _details(potential.model, len(ready.items)) | {"residuals": residuals, "ending": state.ending}
    if ready.curvature is not None:
        details["force_constants"] = {"rows": ready.curvature.known, "rmse": ready.curvature.rmse(state.best)}
    return FitReport(state.ending is Ending.CONVERGED, state.iteration, rmse, cost, tuple(state.history), details)


def _as_labelled(potential: MmtpPotential, problem: Problem, items: Sequence[LabeledFrame]) -> EnsemblePrediction:
    """What the labels of `items` are expected to say."""
    prediction = potential.predict_geometry(problem.geometry)
    offset = potential.label_stress_offset([item.frame for item in items])
    return EnsemblePrediction.from_members([replace(prediction, stress=prediction.stress + offset)])


def _details(model: MmtpModel, labels: int) -> dict[str, Any]:
    return {
        "parameters": len(model.parameters),
        "unique_labels": labels,
        "energy_reference_ev": dict(zip(model.species, model.parameters[-len(model.species) :].tolist(), strict=True)),
        "pulay_constant_ev": dict(zip(model.species, model.pulay.tolist(), strict=True)),
        "max_moment_mub": dict(zip(model.species, model.max_moment.tolist(), strict=True)),
        "r_min_a": model.r_min,
    }
