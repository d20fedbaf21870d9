"""When a campaign ends: on evidence, an exhausted pool or a spent budget, whichever comes first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


class StopReason(StrEnum):
    """Why a campaign ended."""

    TARGET_REACHED = "target-reached"
    POOL_EXHAUSTED = "pool-exhausted"
    LABEL_BUDGET = "label-budget"
    CORE_HOUR_BUDGET = "core-hour-budget"
    ITERATIONS = "iterations"
    BATCH_FAILED = "batch-failed"


@dataclass(frozen=True)
class StopRules:
    """Targets and budgets; what is None is not looked at.

    Parameters
    ----------
    targets
        RMSE by quantity, house units (energy in eV/atom).
    consecutive
        Iterations in a row in which the old ensemble must predict the chosen labels within all targets, or the random
        ones so that the error over the domain is within all of them with 95 % confidence.
    labels, core_hours, iterations
        Budgets: usable and failed labels together, core-hours of all phases, iterations with iteration 0 counted.
    """

    targets: Mapping[str, float] = field(default_factory=dict)
    consecutive: int = 2
    labels: int | None = None
    core_hours: float | None = None
    iterations: int | None = None

    def within(self, rmse: Mapping[str, float]) -> bool:
        """True if there are targets and every one of them is met; a quantity without a figure is not met."""
        return bool(self.targets) and all(rmse.get(q, float("inf")) <= t for q, t in self.targets.items())

    def after(self, labels: int, core_hours: float) -> StopRules:
        """With what is left of the budgets once others have had `labels` and `core_hours`."""
        return replace(
            self,
            labels=None if self.labels is None else max(0, self.labels - labels),
            core_hours=None if self.core_hours is None else max(0.0, self.core_hours - core_hours),
        )


@dataclass(frozen=True)
class Progress:
    """Where a campaign stands after one iteration."""

    iteration: int
    streak: int
    exhausted: bool
    labels: int
    core_hours: float


def decide(progress: Progress, rules: StopRules) -> tuple[StopReason, str] | None:
    """The reason to stop and one sentence about it, or None to go on.

    Evidence comes before budgets, so that a campaign that reaches its target with its last label says so.
    """
    if progress.streak >= rules.consecutive and rules.targets:
        return (
            StopReason.TARGET_REACHED,
            f"the ensemble predicted new labels of {progress.streak} iterations in a row within every target",
        )
    if progress.exhausted:
        explanation = "nothing offered was worth a label: below the lower trust level, a duplicate or unphysical"
        return StopReason.POOL_EXHAUSTED, explanation
    if rules.labels is not None and progress.labels >= rules.labels:
        return StopReason.LABEL_BUDGET, f"the budget of {rules.labels} labels is spent"
    if rules.core_hours is not None and progress.core_hours >= rules.core_hours:
        return (
            StopReason.CORE_HOUR_BUDGET,
            f"{progress.core_hours:.2f} of {rules.core_hours:g} core-hours are spent",
        )
    if rules.iterations is not None and progress.iteration + 1 >= rules.iterations:
        return StopReason.ITERATIONS, f"{rules.iterations} iterations are done"
    return None
