"""The queue of a campaign that runs on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from magflow.campaign.lock import Holder, holder_of
from magflow.execution.backend import Backend

if TYPE_CHECKING:
    from magflow.campaign.directory import CampaignDirectory
    from magflow.execution.local.queue import JobQueue
    from magflow.execution.local.reader import QueueReader


@dataclass(frozen=True)
class LocalBackend(Backend):
    """The campaign's own SQLite file; `where` and `worker` are empty."""

    name: ClassVar[str] = "local"
    shared: ClassVar[bool] = False
    hint: ClassVar[str] = "go on with `magflow run`, or choose another directory with --dir"

    def reader(self, directory: CampaignDirectory) -> QueueReader:
        """Read-only view of the campaign's jobs."""
        from magflow.execution.local.reader import QueueReader

        return QueueReader(directory.path)

    def queue(self, directory: CampaignDirectory) -> JobQueue:
        """The campaign's queue."""
        from magflow.execution.local.queue import JobQueue

        return JobQueue(directory.path)

    def runner(self, directory: CampaignDirectory) -> Holder | None:
        """Who holds the lock on the directory, or held it when it was killed."""
        return holder_of(directory.path)
