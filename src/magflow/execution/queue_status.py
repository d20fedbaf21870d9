"""Where the queue of a campaign stands: each category of work, runs that were lost, who works on it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from magflow.campaign.directory import CampaignDirectory
from magflow.execution.backend import JobReader, backend_of
from magflow.execution.states import JobState

_WINDOW = 3600.0  # seconds over which jobs per hour are counted


@dataclass(frozen=True)
class CategoryStatus:
    """Jobs of one category, by state, and the core-hours they have used (CPU time of the jobs)."""

    waiting: int
    ready: int
    running: int
    completed: int
    failed: int
    cancelled: int
    core_hours: float


@dataclass(frozen=True)
class QueueStatus:
    """The queue of a campaign.

    Parameters
    ----------
    backend
        Kind of queue, and where it is.
    categories
        Jobs by category of work.
    losses
        Runs whose worker was lost; each was offered again or, after too many, recorded as failed.
    jobs_per_hour
        Completed over the last hour.
    shared
        Whether other machines work on it.
    needs_daemon
        Whether its jobs wait for ever unless a daemon sends workers.
    daemons
        Daemons that send workers for this queue: ``cluster``, ``host``, ``seconds`` since they were heard of.
    """

    backend: str
    categories: dict[str, CategoryStatus]
    losses: int
    jobs_per_hour: float
    shared: bool
    needs_daemon: bool
    daemons: tuple[dict[str, Any], ...]

    @property
    def unattended(self) -> bool:
        """Whether jobs are left for which nobody sends workers."""
        left = any(c.waiting or c.ready or c.running for c in self.categories.values())
        return left and self.needs_daemon and not self.daemons

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def queue_status(directory: CampaignDirectory, reader: JobReader) -> QueueStatus:
    """Read the queue; writes nothing."""
    categories = {}
    for name, found in reader.categories().items():
        counts = {state.lower(): found.counts[state] for state in JobState}
        categories[name] = CategoryStatus(core_hours=found.cpu_seconds / 3600, **counts)
    backend = backend_of(directory)
    return QueueStatus(
        backend=str(backend),
        categories=categories,
        losses=reader.losses(),
        jobs_per_hour=3600 * reader.throughput(_WINDOW),
        shared=backend.shared,
        needs_daemon=backend.needs_daemon,
        daemons=tuple(reader.daemons()),
    )
