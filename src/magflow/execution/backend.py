"""Where the jobs of a campaign are queued: in its own directory, on a LaunchPad of FireWorks, in jobflow-remote.

A campaign has one backend in its life, noted in ``DIR/backend.json`` unless it is the embedded queue. Whoever wants to
submit or to look does so through :func:`open_queue` and :func:`open_reader`, whatever the backend.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from magflow.campaign.directory import CampaignDirectory
from magflow.errors import CampaignError, StoreError
from magflow.execution.states import ALL_JOBS, JobFilter, JobRecord, JobState

if TYPE_CHECKING:
    from jobflow import Flow, Job

    from magflow.execution.local.reader import CategorySummary

FILE = "backend.json"
"""File in the campaign's directory that names its backend."""


class BackendKind(StrEnum):
    """Kinds of queue."""

    LOCAL = "local"
    FIREWORKS = "fireworks"
    JOBFLOW_REMOTE = "jobflow-remote"


@dataclass(frozen=True)
class Backend:
    """The queue of a campaign.

    Parameters
    ----------
    kind
        Of the queue.
    where
        The file that describes the LaunchPad, or the project of jobflow-remote. It holds the credentials; nothing
        else does.
    worker
        jobflow-remote only: the worker of that project that runs the jobs.
    """

    kind: BackendKind = BackendKind.LOCAL
    where: str = ""
    worker: str = ""

    def __str__(self) -> str:
        return f"{self.kind} ({self.where})" if self.where else str(self.kind)


class JobReader(Protocol):
    """Reads a queue, from any process; never writes."""

    def counts(self) -> dict[JobState, int]:
        """Number of jobs in each state."""

    def categories(self) -> dict[str, CategorySummary]:
        """Counts and costs of each category of jobs."""

    def jobs(self, which: JobFilter = ALL_JOBS, limit: int | None = None) -> list[JobRecord]:
        """The jobs that `which` describes, in order of submission."""

    def running(self) -> list[tuple[JobRecord, float]]:
        """What runs now, each with the seconds since it began."""

    def failed(self) -> list[JobRecord]:
        """The failed jobs, with their errors."""

    def losses(self) -> int:
        """Number of runs whose worker was lost."""

    def throughput(self, window: float = 600.0) -> float:
        """Jobs completed per second over the last `window` seconds (or since the first submission, if later)."""


class JobSubmitter(Protocol):
    """Takes flows, and offers failed jobs again."""

    def submit(self, flow: Flow | Job | list[Job], allow_external_references: bool = False) -> int:
        """Add a flow; jobs that are known already (same uuid and index) are left as they are.

        Returns
        -------
        int
            The number of new jobs.
        """

    def retry(self, which: JobFilter = ALL_JOBS) -> int:
        """Offer failed jobs again, and revive what was cancelled because of them; returns the number of failed jobs."""


def backend_of(directory: CampaignDirectory) -> Backend:
    """The backend of a campaign.

    Raises
    ------
    StoreError
        If its note cannot be read.
    """
    path = directory.path / FILE
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        return Backend(BackendKind(noted.pop("kind")), **noted)
    except FileNotFoundError:
        return Backend()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError("the campaign's backend cannot be read", where=str(path), seen=str(error)) from error


def require_backend(directory: CampaignDirectory, wanted: Backend) -> None:
    """Refuse a campaign that has jobs in another queue: it would be computed twice.

    Raises
    ------
    CampaignError
        If it has.
    """
    found = backend_of(directory)
    if found == wanted or (found == Backend() and not _has_local_jobs(directory)):
        return
    hints = {
        BackendKind.LOCAL: "go on with `magflow run`, or choose another directory with --dir",
        BackendKind.FIREWORKS: "watch it with `magflow status`; its jobs are run by `magflow daemon` or `rlaunch`",
        BackendKind.JOBFLOW_REMOTE: "watch it with `magflow status`; its jobs are run by `jf runner`",
    }
    raise CampaignError(
        "the jobs of this campaign are in another queue",
        where=str(directory.path),
        seen=str(found),
        expected=str(wanted),
        hint=hints[found.kind],
    )


def claim_backend(directory: CampaignDirectory, backend: Backend) -> None:
    """Note the backend of a campaign.

    Raises
    ------
    CampaignError
        If it has another one.
    """
    require_backend(directory, backend)
    (directory.path / FILE).write_text(json.dumps(asdict(backend), indent=1), encoding="utf-8")


def open_reader(directory: CampaignDirectory) -> JobReader:
    """Read-only view of the campaign's queue.

    Raises
    ------
    StoreError
        If it cannot be reached.
    """
    backend = backend_of(directory)
    if backend.kind is BackendKind.FIREWORKS:
        from magflow.execution.fireworks.launchpad import connect
        from magflow.execution.fireworks.reader import LaunchPadReader

        return LaunchPadReader(connect(backend.where), directory.id)
    if backend.kind is BackendKind.JOBFLOW_REMOTE:
        from magflow.execution.remote import queue as remote

        return remote.RemoteReader(remote.connect(backend.where), directory.id)
    from magflow.execution.local.reader import QueueReader

    return QueueReader(directory.path)


def open_queue(directory: CampaignDirectory) -> JobSubmitter:
    """The campaign's queue.

    Raises
    ------
    StoreError
        If it cannot be reached.
    """
    backend = backend_of(directory)
    if backend.kind is BackendKind.FIREWORKS:
        from magflow.execution.fireworks.launchpad import connect
        from magflow.execution.fireworks.queue import LaunchPadQueue

        return LaunchPadQueue(connect(backend.where), directory)
    if backend.kind is BackendKind.JOBFLOW_REMOTE:
        from magflow.execution.remote import queue as remote

        return remote.RemoteQueue(remote.connect(backend.where), directory, backend.worker)
    from magflow.execution.local.queue import JobQueue

    return JobQueue(directory.path)


def _has_local_jobs(directory: CampaignDirectory) -> bool:
    from magflow.execution.local.reader import QueueReader

    try:
        return any(QueueReader(directory.path).counts().values())
    except StoreError:  # no file, or no queue in it
        return False
