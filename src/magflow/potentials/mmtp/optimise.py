"""Minimisation: Levenberg-Marquardt on a sample of the labels, BFGS on all, Levenberg-Marquardt on all.

Levenberg-Marquardt gets far in a few iterations, but each needs the whole Jacobian. Where labels are many it begins on
a sample of them, and BFGS goes on from the inverse of its last J^T J: that needs only gradients, which cost a small
part of a Jacobian, and mends what the sample got wrong. If the sample does not speak for all labels there is nothing
to mend, and Levenberg-Marquardt goes on with all of them. It also has the last word: only a Gauss-Newton step that
promises next to nothing is convergence. Slow progress is none, nor is a line search that finds no step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.potentials.mmtp.bfgs import begin_bfgs, bfgs_round
from magflow.potentials.mmtp.levenberg import levenberg_marquardt_step
from magflow.potentials.mmtp.objective import Objective
from magflow.potentials.mmtp.state import Ending, Stage, State

Monitor = Callable[[FloatArray], float]
Observer = Callable[[State], None]

STALLED = 1e-3
"""Relative decrease in a round of BFGS below which Levenberg-Marquardt takes over."""
LIKENESS = 2.0
"""A sample speaks for all labels if what it stands for is at most so many times its own objective."""


@dataclass(frozen=True)
class Plan:
    """How a minimum is looked for.

    Parameters
    ----------
    max_iterations
        Levenberg-Marquardt iterations and BFGS rounds together: a guard.
    sample_iterations
        Levenberg-Marquardt iterations on a sample, where there is one.
    tolerance
        The search has converged when a full Gauss-Newton step promises to lower the objective by less than this
        share of it.
    patience
        Iterations without a smaller validation loss that end it.
    trial_iterations
        Iterations after which the best of several starts goes on alone; fewer where all trials together would take
        more than `max_iterations`.
    """

    max_iterations: int
    sample_iterations: int
    tolerance: float
    patience: int
    trial_iterations: int = 10


def best_start(
    objective: Objective,
    plan: Plan,
    starts: Sequence[FloatArray],
    *,
    rough: Objective | None = None,
    monitor: Monitor | None = None,
    observe: Observer | None = None,
) -> State:
    """The search that has got furthest after ``plan.trial_iterations`` iterations from each of `starts`.

    Parameters
    ----------
    rough
        The starts are tried on it, if there is one; all else as in :func:`minimise`.

    Raises
    ------
    InputError
        If the objective is not finite at a start.
    """
    if len(starts) == 1:
        return State.at(starts[0])
    tried = rough or objective
    short = replace(plan, max_iterations=min(plan.trial_iterations, max(1, plan.max_iterations // len(starts))))
    found = [minimise(tried, short, State.at(start), monitor=monitor, observe=observe) for start in starts]
    best = min(found, key=lambda state: state.objective)
    best.stage, best.ending = State.stage, None
    return best


def minimise(
    objective: Objective,
    plan: Plan,
    state: State,
    *,
    rough: Objective | None = None,
    monitor: Monitor | None = None,
    observe: Observer | None = None,
) -> State:
    """Go on from `state` until the plan is done; ``state.ending`` says why it ended.

    Parameters
    ----------
    state
        ``State.at(start)``, or where an earlier search was stopped: the result is the same as if it had not been.
        Changed in place, and returned.
    rough
        What Levenberg-Marquardt minimises before BFGS takes over; None: there is no sample, and no BFGS.
    monitor
        Validation loss; ``state.best`` becomes the parameters with the smallest one.
    observe
        Called after each iteration.

    Raises
    ------
    InputError
        If the objective is not finite at the start.
    """
    if rough is None and state.stage is Stage.SAMPLE:
        state.stage = Stage.NEWTON
    _begin(objective if rough is None else rough, state, monitor)
    while state.ending is None and state.iteration < plan.max_iterations:
        if state.stage is Stage.SAMPLE and rough is not None:
            if state.iteration < plan.sample_iterations and levenberg_marquardt_step(rough, state):
                _note(state, plan, monitor, observe)
                continue
            _hand_over(objective, rough, state)
        if state.stage is Stage.BFGS:
            before = state.objective
            moved = bfgs_round(objective, state)
            if not moved or before - state.objective < STALLED * before:
                _go_newton(state)
        else:
            before = state.objective
            moved = levenberg_marquardt_step(objective, state)
            if state.promise <= plan.tolerance * before:
                state.ending = Ending.CONVERGED
            elif not moved:
                state.ending = Ending.STUCK
        _note(state, plan, monitor, observe)
    if state.ending is None:
        state.ending = Ending.ITERATIONS
    return state


def _begin(objective: Objective, state: State, monitor: Monitor | None) -> None:
    if state.ending is Ending.ITERATIONS:
        state.ending = None  # this plan may allow more
    if np.isfinite(state.objective):
        return
    state.objective = objective.value(state.parameters)
    if not np.isfinite(state.objective):
        raise InputError(
            "the fit starts from values that are not finite", hint="look for broken labels or a broken start"
        )
    if monitor and not state.iteration:
        state.best_monitor = monitor(state.parameters)


def _hand_over(objective: Objective, rough: Objective, state: State) -> None:
    """From the sample to all labels: to BFGS if the one speaks for the other."""
    of_sample, of_all = state.objective, objective.value(state.parameters)
    if of_all <= LIKENESS * of_sample:
        state.stage = Stage.BFGS
        begin_bfgs(rough, state)
    else:
        _go_newton(state)
    state.objective = of_all


def _go_newton(state: State) -> None:
    state.stage, state.inverse_hessian = Stage.NEWTON, None
    state.damping, state.growth = State.damping, State.growth


def _note(state: State, plan: Plan, monitor: Monitor | None, observe: Observer | None) -> None:
    """Write the iteration down, and whether it gave the best point so far."""
    state.iteration += 1
    row = {"iteration": float(state.iteration), "objective": state.objective}
    state.since_best += 1
    if monitor:
        row["monitor"] = monitor(state.parameters)
    if not monitor or row["monitor"] < state.best_monitor:
        state.best, state.best_monitor, state.since_best = state.parameters, row.get("monitor", np.inf), 0
    state.history.append(row)
    if monitor and state.since_best >= plan.patience and state.ending is None:
        state.ending = Ending.PATIENCE
    if observe:
        observe(state)
