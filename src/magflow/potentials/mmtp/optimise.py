"""Minimisation: Levenberg-Marquardt, then BFGS from its inverse Hessian.

Levenberg-Marquardt gets far in a few iterations, but each needs the whole Jacobian. BFGS started from the inverse of
its last J^T J needs only gradients, which cost a small part of that. The Jacobian may be that of a sample of the
labels: BFGS mends what the sample got wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.potentials.mmtp.bfgs import begin_bfgs, bfgs_round
from magflow.potentials.mmtp.levenberg import levenberg_marquardt_step
from magflow.potentials.mmtp.objective import Objective
from magflow.potentials.mmtp.state import State

Monitor = Callable[[FloatArray], float]
Observer = Callable[[State], None]


@dataclass(frozen=True)
class Plan:
    """How a minimum is looked for.

    Parameters
    ----------
    max_iterations
        Levenberg-Marquardt iterations and BFGS rounds together.
    newton_iterations
        Levenberg-Marquardt iterations before BFGS takes over; BFGS never does if it is `max_iterations` or more.
    tolerance
        The relative decrease of the objective in one iteration that ends the search.
    patience
        Iterations without a smaller validation loss that end it.
    """

    max_iterations: int
    newton_iterations: int
    tolerance: float
    patience: int


def minimise(
    objective: Objective,
    plan: Plan,
    state: State,
    *,
    rough: Objective | None = None,
    monitor: Monitor | None = None,
    observe: Observer | None = None,
) -> State:
    """Go on from `state` until the plan is done.

    Parameters
    ----------
    state
        ``State.at(start)``, or where an earlier search was stopped: the result is the same as if it had not been.
        Changed in place, and returned.
    rough
        What Levenberg-Marquardt minimises instead of `objective` before BFGS takes over.
    monitor
        Validation loss; ``state.best`` becomes the parameters with the smallest one.
    observe
        Called after each iteration.

    Raises
    ------
    InputError
        If the objective is not finite at the start.
    """
    newton_only = plan.newton_iterations >= plan.max_iterations
    rough = objective if newton_only or rough is None else rough
    if not state.iteration:
        _begin(rough, state, monitor)
    while not state.converged and state.iteration < plan.max_iterations:
        if state.iteration < plan.newton_iterations:
            before = state.objective
            moved = levenberg_marquardt_step(rough, state)
            final = newton_only
        else:
            if state.inverse_hessian is None:
                begin_bfgs(objective, rough, state)
            before, final = state.objective, True
            moved = bfgs_round(objective, state)
        state.iteration += 1
        _note(state, monitor)
        small = not moved or before - state.objective < plan.tolerance * before
        state.converged = bool((final and small) or (monitor is not None and state.since_best >= plan.patience))
        if observe:
            observe(state)
    return state


def _begin(objective: Objective, state: State, monitor: Monitor | None) -> None:
    state.objective = objective.value(state.parameters)
    if not np.isfinite(state.objective):
        raise InputError(
            "the fit starts from values that are not finite", hint="look for broken labels or a broken start"
        )
    if monitor:
        state.best_monitor = monitor(state.parameters)


def _note(state: State, monitor: Monitor | None) -> None:
    """Write the iteration down, and whether it gave the best point so far."""
    row = {"iteration": float(state.iteration), "objective": state.objective}
    state.since_best += 1
    if monitor:
        row["monitor"] = monitor(state.parameters)
    if not monitor or row["monitor"] < state.best_monitor:
        state.best, state.best_monitor, state.since_best = state.parameters, row.get("monitor", np.inf), 0
    state.history.append(row)
