"""The lock on a campaign's directory: one process runs it, and others see which, and that it is alive.

The kernel lets go of the lock when the process ends, however it ends: no process id is ever asked for, which another
process may have by then, and no clock. What the file says of its holder is for people, and for who comes after a holder
that was killed.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from magflow.core.locks import take_lock
from magflow.errors import CampaignError, StoreError

LOCK = "campaign.lock"

_LOOKS = 10
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

_held: dict[tuple[str, int, int], Lock] = {}  # by directory, process and thread


@dataclass(frozen=True)
class Holder:
    """Who runs a campaign, or ran it and was killed.

    Parameters
    ----------
    pid, host
        Its process; None if the file does not say.
    alive
        Whether it holds the lock now.
    since, seen
        When it began, and last gave a sign of life: seconds since the epoch.
    workers
        What it knew of its workers then, by name: see :class:`magflow.execution.local.watch.Sight`.
    """

    pid: int | None
    host: str | None
    alive: bool
    since: float | None = None
    seen: float | None = None
    workers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        return "an unknown process" if self.pid is None else f"process {self.pid} on {self.host}"


class Lock:
    """The lock, held. `before` is a holder that ended without letting go, None if there was none."""

    def __init__(self, handle: IO[str], before: Holder | None) -> None:
        self.before = before
        self._handle = handle
        self._about = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}

    def tell(self, workers: Mapping[str, Mapping[str, Any]]) -> None:
        """Give a sign of life, and say how the workers stand."""
        text = json.dumps({**self._about, "seen": time.time(), "workers": workers}).encode()
        with suppress(OSError):  # a full disk: the lock holds without its description
            os.pwrite(self._handle.fileno(), text, 0)
            os.ftruncate(self._handle.fileno(), len(text))


@contextmanager
def campaign_lock(directory: Path) -> Iterator[Lock]:
    """Be the only process that runs the campaign in `directory`; within a thread that holds it, the same lock.

    Raises
    ------
    CampaignError
        If another process, or another thread, holds it.
    StoreError
        If the directory cannot be written.
    """
    mine = (str(directory.resolve()), os.getpid(), threading.get_ident())
    if mine in _held:
        yield _held[mine]
        return
    try:
        handle = os.fdopen(os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o666), "r+", encoding="utf-8")
    except OSError as error:
        hint = "make the directory writable, or choose another one"
        raise StoreError(
            "the campaign's directory cannot be written", where=str(directory), seen=str(error), hint=hint
        ) from error
    with handle:
        if not _taken(handle):
            raise CampaignError(
                "this campaign is being run by another process",
                where=str(directory),
                seen=str(_read(handle, alive=True)),
                hint="watch it with `magflow status`, or stop it (Ctrl-C, or kill the process) before you start again",
            )
        before = _read(handle, alive=False)
        lock = _held[mine] = Lock(handle, before if before.pid is not None else None)
        lock.tell({} if lock.before is None else lock.before.workers)  # until its jobs are offered again
        try:
            yield lock
        finally:
            del _held[mine]
            with suppress(OSError):
                handle.truncate(0)


def holder_of(directory: Path) -> Holder | None:
    """Who runs the campaign in `directory`, or was killed when it ran it; None if nobody has left it half done."""
    try:
        with (directory / LOCK).open(encoding="utf-8") as handle:
            if not take_lock(handle, shared=True):
                return _read(handle, alive=True)
            found = _read(handle, alive=False)
            return found if found.pid is not None else None
    except OSError:
        return None


def is_running(directory: Path) -> bool:
    """Whether a process holds the lock on `directory`."""
    found = holder_of(directory)
    return found is not None and found.alive


def _taken(handle: IO[str]) -> bool:
    """Take the lock, unless it is held for longer than by somebody who looks whether it is."""
    for _ in range(_LOOKS):
        try:
            if take_lock(handle):
                return True
        except OSError as error:
            if error.errno in _NO_LOCKS:  # on a network file system, whose campaigns several machines work on
                return True
            raise
        time.sleep(0.02)
    return False


def _read(handle: IO[str], *, alive: bool) -> Holder:
    try:
        handle.seek(0)
        held = json.JSONDecoder().raw_decode(handle.read())[0]  # a longer text may have stood there
        return Holder(int(held["pid"]), str(held["host"]), alive, held.get("since"), held.get("seen"), held["workers"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Holder(None, None, alive)
