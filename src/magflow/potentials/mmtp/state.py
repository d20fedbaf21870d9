"""Where a search for the minimum stands."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from magflow.core.types import FloatArray


@dataclass(eq=False)
class State:
    """Everything a search needs to go on after an iteration; changed in place.

    Parameters
    ----------
    parameters, objective, previous
        The point reached, the objective there, and before the last step (NaN before the first).
    damping, growth
        Of Levenberg-Marquardt.
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
    damping: float = 1e-3
    growth: float = 2.0
    inverse_hessian: FloatArray | None = None
    best_monitor: float = np.inf
    since_best: int = 0
    iteration: int = 0
    converged: bool = False
    history: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def at(cls, start: FloatArray) -> State:
        """A search that has not begun."""
        return cls(start, start)

    def move(self, parameters: FloatArray, objective: float) -> None:
        """Accept a step."""
        self.parameters, self.previous, self.objective = parameters, self.objective, objective
