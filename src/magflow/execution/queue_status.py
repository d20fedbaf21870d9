"""Where the queue of a campaign stands: each category of work, runs that were lost, who works on it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from magflow.campaign.directory import CampaignDirectory
from magflow.execution.backend import BackendKind, JobReader, backend_of
from magflow.execution.daemon.lease import COLLECTION
from magflow.execution.states import JobState

_WINDOW = 3600.0  # seconds over which jobs per hour are counted
_SILENT = 300.0  # seconds after which a daemon counts as gone


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
    daemons
        Daemons that send pilot jobs for this queue: ``cluster``, ``host``, ``seconds`` since they were heard of.
    """

    backend: str
    categories: dict[str, CategoryStatus]
    losses: int
    jobs_per_hour: float
    daemons: tuple[dict[str, Any], ...] = ()

    @property
    def shared(self) -> bool:
        """Whether other machines work on it."""
        return not self.backend.startswith(BackendKind.LOCAL)

    @property
    def needs_daemon(self) -> bool:
        """Whether jobs wait that a daemon would send pilots for."""
        waiting = any(c.waiting or c.ready or c.running for c in self.categories.values())
        return waiting and self.backend.startswith(BackendKind.FIREWORKS)

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
    launchpad = getattr(reader, "launchpad", None)
    return QueueStatus(
        backend=str(backend),
        categories=categories,
        losses=reader.losses(),
        jobs_per_hour=3600 * reader.throughput(_WINDOW),
        daemons=() if launchpad is None else _daemons(launchpad),
    )


def _daemons(launchpad: Any) -> tuple[dict[str, Any], ...]:
    now = time.time()
    found = [
        {"cluster": held["_id"], "host": held["host"], "seconds": round(now - held["seen"], 1)}
        for held in launchpad.db[COLLECTION].find({})
    ]
    return tuple(d for d in found if d["seconds"] < _SILENT)
