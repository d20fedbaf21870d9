"""Where the jobs of a campaign are queued: on this machine, on a LaunchPad of FireWorks, in jobflow-remote, or yours.

A back end is a class registered in the entry-point group ``magflow.backends``; nothing here knows any by name but the
one that a campaign has until it is submitted elsewhere. A campaign has one back end in its life, noted in
``DIR/backend.json``. Whoever wants to submit or to look does so through :func:`open_queue` and :func:`open_reader`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.lock import Holder
from magflow.core import plugins
from magflow.core.files import replace_file
from magflow.core.versions import Format, read_stamped
from magflow.errors import CampaignError, InputError, StoreError
from magflow.execution.states import ALL_JOBS, CategorySummary, JobFilter, JobRecord, JobState

if TYPE_CHECKING:
    from jobflow import Flow, Job

NOTE: Format[dict[str, Any]] = Format("note of a back end")
FILE = "backend.json"
"""File in the campaign's directory that names its back end."""

UNCLAIMED = "local"
"""Back end of a campaign that has no note."""


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

    def daemons(self) -> list[dict[str, Any]]:
        """Who sends workers for this queue: ``cluster``, ``host``, ``seconds`` since they were heard of."""


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


@dataclass(frozen=True)
class Backend(ABC):
    """A kind of queue, and where one of that kind is.

    Parameters
    ----------
    where
        What describes the queue: a file, the name of a project. It holds the credentials; nothing else does.
    worker
        Who runs the jobs, where a queue serves several.
    """

    where: str = ""
    worker: str = ""

    name: ClassVar[str]
    """Under which it is registered and noted, and chosen with `magflow submit --to`."""

    shared: ClassVar[bool] = True
    """Whether machines other than this one work on it: they must reach the campaign's store."""

    hint: ClassVar[str]
    """What to do with a campaign whose jobs are there."""

    needs_daemon: ClassVar[bool] = False
    """Whether its jobs wait for ever unless a daemon sends workers."""

    def __str__(self) -> str:
        return f"{self.name} ({self.where})" if self.where else self.name

    @abstractmethod
    def reader(self, directory: CampaignDirectory) -> JobReader:
        """Read-only view of the campaign's jobs.

        Raises
        ------
        StoreError
            If the queue cannot be reached, here or at the first question.
        """

    @abstractmethod
    def queue(self, directory: CampaignDirectory) -> JobSubmitter:
        """The campaign's queue.

        Raises
        ------
        StoreError
            If it cannot be reached.
        """

    def runner(self, directory: CampaignDirectory) -> Holder | None:
        """The process that runs the campaign, or was killed when it ran it; None where workers come by themselves."""
        return None

    def resolved(self) -> Self:
        """The same with all that was left open filled in.

        Raises
        ------
        InputError
            If there is no such queue or worker.
        MissingToolError
            If its package is not installed.
        """
        return self

    def prepare(self, directory: CampaignDirectory) -> str:
        """Make sure that the campaign can be submitted and would come to its end; says where the queue is.

        Raises
        ------
        MagflowError
            If something stands in the way.
        """
        return str(self)


def backend_named(name: str, where: str = "", worker: str = "") -> Backend:
    """The back end registered as `name`.

    Raises
    ------
    InputError
        If nobody registered that name.
    """
    kind: type[Backend] = plugins.load(plugins.BACKENDS, name)
    return kind(where, worker)


def backend_of(directory: CampaignDirectory) -> Backend:
    """The back end of a campaign.

    Raises
    ------
    StoreError
        If its note cannot be read, or names a back end that is not installed.
    NewerFormatError
        If a newer magflow wrote the note.
    """
    path = directory.path / FILE
    try:
        noted = read_stamped(NOTE, json.loads(path.read_text(encoding="utf-8")), str(path))
        return backend_named(noted["kind"], noted.get("where", ""), noted.get("worker", ""))
    except FileNotFoundError:
        return backend_named(UNCLAIMED)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, InputError) as error:
        raise StoreError("the campaign's backend cannot be read", where=str(path), seen=str(error)) from error


def require_backend(directory: CampaignDirectory, wanted: Backend) -> None:
    """Refuse a campaign that has jobs in another queue: it would be computed twice.

    Raises
    ------
    CampaignError
        If it has.
    """
    found = backend_of(directory)
    if found == wanted or not ((directory.path / FILE).exists() or _has_jobs(directory, found)):
        return
    raise CampaignError(
        "the jobs of this campaign are in another queue",
        where=str(directory.path),
        seen=str(found),
        expected=str(wanted),
        hint=found.hint,
    )


def claim_backend(directory: CampaignDirectory, backend: Backend) -> None:
    """Note the back end of a campaign.

    Raises
    ------
    CampaignError
        If it has another one.
    """
    require_backend(directory, backend)
    note = {**NOTE.stamp, "kind": backend.name, **asdict(backend)}
    replace_file(directory.path / FILE, json.dumps(note, indent=1).encode())


def open_reader(directory: CampaignDirectory) -> JobReader:
    """Read-only view of the campaign's queue, whatever its back end.

    Raises
    ------
    StoreError
        If it cannot be reached.
    """
    return backend_of(directory).reader(directory)


def open_queue(directory: CampaignDirectory) -> JobSubmitter:
    """The campaign's queue, whatever its back end.

    Raises
    ------
    StoreError
        If it cannot be reached.
    """
    return backend_of(directory).queue(directory)


def _has_jobs(directory: CampaignDirectory, backend: Backend) -> bool:
    try:
        return any(backend.reader(directory).counts().values())
    except StoreError:  # no file, or no queue in it
        return False
