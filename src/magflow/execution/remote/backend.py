"""The queue of a campaign in a project of jobflow-remote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from magflow.errors import InputError
from magflow.execution.backend import Backend

if TYPE_CHECKING:
    from magflow.campaign.directory import CampaignDirectory
    from magflow.execution.remote.queue import RemoteQueue
    from magflow.execution.remote.reader import RemoteReader


@dataclass(frozen=True)
class RemoteBackend(Backend):
    """A project of jobflow-remote; `where` is its name, `worker` the one that runs the jobs."""

    name: ClassVar[str] = "jobflow-remote"
    hint: ClassVar[str] = "watch it with `magflow status`; its jobs are run by `jf runner`"

    def resolved(self) -> Self:
        """With the project that jobflow-remote is set to, and the project's first worker."""
        from magflow.execution.remote.project import project

        found = project(self.where)
        workers = list(found.workers)
        if self.worker not in ("", *workers) or not workers:
            raise InputError(
                "the project has no such worker", where=found.name, seen=self.worker, expected=", ".join(workers)
            )
        return type(self)(found.name, self.worker or workers[0])

    def prepare(self, directory: CampaignDirectory) -> str:
        """Refuse a project under which the campaign would fail at its first batch, or lose its outputs."""
        queue = self.queue(directory)
        queue.require_commands()
        queue.require_same_store()
        return f"project {self.where} of jobflow-remote"

    def reader(self, directory: CampaignDirectory) -> RemoteReader:
        """Read-only view of the campaign's jobs."""
        from magflow.execution.remote.project import connect
        from magflow.execution.remote.reader import RemoteReader

        return RemoteReader(connect(self.where), directory.id)

    def queue(self, directory: CampaignDirectory) -> RemoteQueue:
        """The campaign's queue."""
        from magflow.execution.remote.project import connect
        from magflow.execution.remote.queue import RemoteQueue

        return RemoteQueue(connect(self.where), directory, self.worker)
