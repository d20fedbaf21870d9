"""The nouns of the queue: what state a job is in, what is known of it, which jobs are meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any


class JobState(StrEnum):
    """State of a job.

    ::

        WAITING ──parents settled──> READY ──claim──> RUNNING ──ok──────────────────────> COMPLETED
           │                           ^                 │────error, retries left──────> READY
           │                           │                 │────worker died, < 3 times──> READY
           │                           │                 │────interrupted─────────────> READY
           │                           │                 └────otherwise───────────────> FAILED
           └──a parent failed, or stop_children / stop_jobflow──> CANCELLED
                                       └───────retry─────────── FAILED

    A uuid is *settled* when none of its indices is WAITING, READY or RUNNING.
    """

    WAITING = "WAITING"
    READY = "READY"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


UNSETTLED = (JobState.WAITING, JobState.READY, JobState.RUNNING)


class CancelReason(StrEnum):
    """Why a job was cancelled."""

    PARENT = "a parent failed"
    STOPPED = "a parent stopped its children"
    FLOW_STOPPED = "the flow was stopped"


@dataclass(frozen=True)
class JobRecord:
    """What the queue knows of one job. Times are seconds since the epoch; costs are sums over all tries, in seconds."""

    uuid: str
    index: int
    name: str
    flow: str
    category: str
    state: JobState
    tries: int
    errors: int
    crashes: int
    submitted: float
    started: float | None
    ended: float | None
    wall_seconds: float
    cpu_seconds: float
    worker: str | None
    directory: str | None
    error: str | None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CategorySummary:
    """Jobs of one category: how many in each state, and what they have cost in seconds."""

    counts: dict[JobState, int]
    wall_seconds: float
    cpu_seconds: float


def summarise(jobs: Iterable[JobRecord]) -> dict[str, CategorySummary]:
    """Counts and costs of each category of `jobs`."""
    by: dict[str, list[JobRecord]] = {}
    for job in jobs:
        by.setdefault(job.category, []).append(job)
    found = {}
    for category, some in sorted(by.items()):
        counts = Counter(job.state for job in some)
        wall, cpu = sum(j.wall_seconds for j in some), sum(j.cpu_seconds for j in some)
        found[category] = CategorySummary({s: counts[s] for s in JobState}, wall, cpu)
    return found


@dataclass(frozen=True)
class JobFilter:
    """Which jobs: every given condition holds. `name` may hold ``*`` and ``?``; a uuid may be abbreviated."""

    states: tuple[JobState, ...] = ()
    category: str | None = None
    name: str | None = None
    uuid: str | None = None

    def sql(self) -> tuple[str, list[Any]]:
        """The WHERE clause and its parameters."""
        parts, values = ["1"], list[Any]()
        if self.states:
            parts.append(f"state IN ({', '.join('?' * len(self.states))})")
            values += [str(s) for s in self.states]
        if self.category is not None:
            parts.append("category = ?")
            values.append(self.category)
        if self.name is not None:
            parts.append("name GLOB ?")
            values.append(self.name)
        if self.uuid is not None:
            parts.append("substr(uuid, 1, ?) = ?")
            values += [len(self.uuid), self.uuid]
        return " AND ".join(parts), values

    def fits(self, job: JobRecord) -> bool:
        """Whether it describes `job`."""
        return (
            (not self.states or job.state in self.states)
            and self.category in (None, job.category)
            and (self.name is None or fnmatchcase(job.name, self.name))
            and (self.uuid is None or job.uuid.startswith(self.uuid))
        )


ALL_JOBS = JobFilter()


@dataclass(frozen=True)
class Cost:
    """What one try of a job took, in seconds; `cpu` includes child processes."""

    wall: float = 0.0
    cpu: float = 0.0


NO_COST = Cost()


@dataclass(frozen=True)
class Claim:
    """A job that a worker has taken: `payload` is the serialised jobflow Job, `lost` what earlier tries have cost."""

    id: int
    uuid: str
    index: int
    name: str
    flow: str
    worker: str
    attempt: int
    payload: str
    directory: Path
    lost: Cost = NO_COST
