"""What the main process sees of its workers: the CPU time that a job's processes use, and since when they use none.

A worker that hangs - stopped, deadlocked, waiting for a disk that has gone - is alive, and its job would be running for
ever. What its processes use of the CPU is what tells: a calculation uses it all the time, and even a program that waits
for another wakes up now and then. Time counts only while this process itself sees it pass, so neither a clock that
jumps nor a laptop that slept makes a job late.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass

import psutil

from magflow.execution.states import Cost

EVERY = 10.0
"""Seconds between two looks."""


@dataclass(frozen=True)
class Sight:
    """One worker with a job in hand: which try, and in seconds what it has cost and for how long it has used no CPU."""

    job: int
    attempt: int
    wall: float = 0.0
    cpu: float = 0.0
    quiet: float = 0.0


class Watch:
    """Looks at workers.

    Parameters
    ----------
    every
        Seconds between two looks.
    """

    def __init__(self, every: float | None = None) -> None:
        self.every = EVERY if every is None else every
        self._last = time.monotonic()
        self._seen: dict[str, Sight] = {}
        self._before: dict[str, float] = {}  # CPU seconds that a worker had used when its job was first seen

    def is_due(self) -> bool:
        """Whether it is time for another look."""
        return time.monotonic() - self._last >= self.every

    def look(self, workers: Mapping[str, int], running: Iterable[tuple[str, int, int]]) -> None:
        """Look at the workers with a job in hand.

        Parameters
        ----------
        workers
            Name and process id.
        running
            Name of the worker, id of the job, number of the try.
        """
        passed = min(time.monotonic() - self._last, 2 * self.every)
        self._last = time.monotonic()
        seen = {}
        for name, job, attempt in running:
            if name not in workers:
                continue
            used = cpu_of_tree(workers[name])
            old = self._seen.get(name)
            if old is None or (old.job, old.attempt) != (job, attempt):
                seen[name], self._before[name] = Sight(job, attempt), used
                continue
            cpu = used - self._before[name]
            quiet = old.quiet + passed if cpu <= old.cpu else 0.0
            seen[name] = Sight(job, attempt, old.wall + passed, max(cpu, old.cpu), quiet)
        self._seen = seen

    def costs(self) -> dict[tuple[int, int], Cost]:
        """What the tries at hand have cost as far as was seen, by id of the job and number of the try."""
        return costs_in(self.told())

    def quiet(self, limit: float) -> list[str]:
        """The workers whose processes have used no CPU time for `limit` seconds."""
        return [name for name, sight in self._seen.items() if sight.quiet >= limit]

    def told(self) -> dict[str, dict[str, float]]:
        """All of it, JSON-ready, by worker."""
        return {name: asdict(sight) for name, sight in self._seen.items()}


def cpu_of_tree(pid: int) -> float:
    """CPU seconds of a process, of all below it, and of those that any of them has waited for."""
    used = 0.0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                used += sum(one.cpu_times()[:4])  # user and system, own and of children that have ended
    return used


def costs_in(told: Mapping[str, Mapping[str, float]]) -> dict[tuple[int, int], Cost]:
    """What :meth:`Watch.told` says that each try of a job had cost."""
    found = {}
    for sight in told.values():
        with suppress(KeyError, TypeError, ValueError):
            cost = Cost(float(sight["wall"]), float(sight["cpu"]))
            found[int(sight["job"]), int(sight["attempt"])] = cost
    return found
