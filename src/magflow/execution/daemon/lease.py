"""One daemon per cluster and LaunchPad, wherever it was started: a lease in the database."""

from __future__ import annotations

import os
import socket
import time
import uuid
from typing import TYPE_CHECKING, Any

from pymongo.errors import DuplicateKeyError

from magflow.errors import CampaignError
from magflow.execution.cluster.directory import ClusterDirectory
from magflow.execution.fireworks.launchpad import DAEMONS

if TYPE_CHECKING:
    from fireworks import LaunchPad


class Lease:
    """The right to look after a LaunchPad's work on one cluster, for `seconds` at a time.

    A daemon of the same folder and machine takes over at once: the lock on the folder shows that its predecessor is
    dead (:mod:`magflow.execution.daemon.process`).
    """

    def __init__(self, cluster: ClusterDirectory, seconds: float) -> None:
        self.seconds = seconds
        self._id = cluster.spec.name
        self._owner = uuid.uuid4().hex
        self._place = {"host": socket.gethostname(), "directory": str(cluster.path)}

    def take(self, launchpad: LaunchPad) -> None:
        """Become the daemon.

        Raises
        ------
        CampaignError
            If another one is at work.
        """
        free = {"$or": [{"until": {"$lt": time.time()}}, self._place, {"owner": self._owner}]}
        try:
            self._write(launchpad, free, upsert=True)
        except DuplicateKeyError as error:
            held = launchpad.db[DAEMONS].find_one({"_id": self._id}) or {}
            raise CampaignError(
                "another daemon looks after this LaunchPad",
                where=f"cluster {self._id}",
                seen=f"process {held.get('pid')} on {held.get('host')}, for {held.get('directory')}",
                hint="stop it there with `magflow daemon stop`; one that was killed is forgotten after "
                f"{self.seconds:.0f} s",
            ) from error

    def renew(self, launchpad: LaunchPad) -> None:
        """Remain the daemon.

        Raises
        ------
        CampaignError
            If another one took over while this one was out of touch for longer than the lease.
        """
        if self._write(launchpad, {"owner": self._owner}) is None:
            self.take(launchpad)

    def give_up(self, launchpad: LaunchPad) -> None:
        """Be the daemon no longer."""
        launchpad.db[DAEMONS].delete_one({"_id": self._id, "owner": self._owner})

    def _write(self, launchpad: LaunchPad, condition: dict[str, Any], upsert: bool = False) -> Any:
        now = time.time()
        content = {"owner": self._owner, "pid": os.getpid(), "seen": now, "until": now + self.seconds, **self._place}
        return launchpad.db[DAEMONS].find_one_and_update(
            {"_id": self._id, **condition}, {"$set": content}, upsert=upsert
        )
