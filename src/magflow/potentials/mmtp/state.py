"""Where a search for the minimum stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from magflow.core.types import FloatArray


class Stage(StrEnum):
    """What a search does next; see :mod:`magflow.potentials.mmtp.optimise`."""

    SAMPLE = "sample"
    BFGS = "bfgs"
    NEWTON = "newton"


class Ending(StrEnum):
    """Why a search ended; only the first is convergence."""

    CONVERGED = "converged"
    PATIENCE = "the validation loss fell no more"
    STUCK = "no step lowered the objective"
    ITERATIONS = "max_iterations"


@dataclass(eq=False)
class State:
    """Everything a search needs to go on after an iteration; changed in place.

    Parameters
    ----------
    parameters, objective, previous
        The point reached, the objective there (NaN before it is known), and before the last step (NaN before the
        first).
    stage, ending
        What comes next; why nothing does.
    damping, growth
        Of Levenberg-Marquardt.
    promise
        What its last step would have taken off the objective if the residuals were linear.
    inverse_hessian
        (n, n) of BFGS; None before it has begun.
    best, best_monitor, since_best
        The point of smallest validation loss (the point reached, without one), that loss, and the iterations since.
    history
        One row per iteration.
    """

    parameters: FloatArray
    best: FloatArray
    objective: float = np.nan
    previous: float = np.nan
    stage: Stage = Stage.SAMPLE
    ending: Ending | None = None
    damping: float = 0.1
    growth: float = 2.0
    promise: float = np.nan
    inverse_hessian: FloatArray | None = None
    best_monitor: float = np.inf
    since_best: int = 0
    iteration: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def at(cls, start: FloatArray) -> State:
        """A search that has not begun."""
        return cls(start, start)

    def move(self, parameters: FloatArray, objective: float) -> None:
        """Accept a step."""
        self.parameters, self.previous, self.objective = parameters, self.objective, objective
