"""Timing on a busy machine: CPU time of this process, the contenders in turn, the least of several rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ENOUGH = 0.03
"""CPU seconds one sample takes at least: calls are repeated until it does."""
PATIENCE = 4.0
"""CPU seconds; a call that takes longer is sampled once more and no further."""


@dataclass(frozen=True)
class Row:
    """One line of the table. `ratio`: its value over that of magflow in the same case; None where there is none."""

    section: str
    case: str
    who: str
    value: float
    unit: str
    ratio: float | None = None
    note: str = ""


def cpu_seconds(call: Callable[[], object], times: int = 1) -> float:
    """CPU seconds of one call, mean of `times`."""
    begin = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - begin) / times


def race(calls: Mapping[str, Callable[[], object]], *, rounds: int = 5) -> dict[str, float]:
    """CPU seconds of each call: one warm-up, then the least of `rounds` samples taken in turn."""
    times, best = {}, {}
    for name, call in calls.items():
        call()
        best[name] = cpu_seconds(call)
        times[name] = max(1, round(ENOUGH / max(best[name], 1e-7)))
    for k in range(rounds):
        for name, call in calls.items():
            if best[name] < PATIENCE or k == 0:
                best[name] = min(best[name], cpu_seconds(call, times[name]))
    return best
