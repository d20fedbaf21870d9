"""The queue of a campaign on a LaunchPad of FireWorks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from magflow.execution.backend import Backend

if TYPE_CHECKING:
    from magflow.campaign.directory import CampaignDirectory
    from magflow.execution.fireworks.queue import LaunchPadQueue
    from magflow.execution.fireworks.reader import LaunchPadReader


@dataclass(frozen=True)
class FireworksBackend(Backend):
    """A LaunchPad; `where` is the file that describes it, `worker` is empty: the categories of the jobs say who."""

    name: ClassVar[str] = "fireworks"
    hint: ClassVar[str] = "watch it with `magflow status`; its jobs are run by `magflow daemon` or `rlaunch`"
    needs_daemon: ClassVar[bool] = True

    def resolved(self) -> Self:
        """With the file that FireWorks is configured with, or one in the current directory."""
        from magflow.execution.fireworks.launchpad import launchpad_file

        return replace(self, where=str(launchpad_file(Path(self.where) if self.where else None)))

    def prepare(self, directory: CampaignDirectory) -> str:
        """Make the database a LaunchPad if it is none; refuse a campaign that was submitted from elsewhere."""
        from magflow.execution.fireworks.launchpad import described

        queue = self.queue(directory)
        queue.prepare()
        return described(queue.launchpad)

    def reader(self, directory: CampaignDirectory) -> LaunchPadReader:
        """Read-only view of the campaign's jobs."""
        from magflow.execution.fireworks.launchpad import connect
        from magflow.execution.fireworks.reader import LaunchPadReader

        return LaunchPadReader(connect(self.where), directory.id)

    def queue(self, directory: CampaignDirectory) -> LaunchPadQueue:
        """The campaign's queue."""
        from magflow.execution.fireworks.launchpad import connect
        from magflow.execution.fireworks.queue import LaunchPadQueue

        return LaunchPadQueue(connect(self.where), directory)
