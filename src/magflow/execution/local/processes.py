"""Processes of a campaign: the lock on its directory, and the end of everything a worker has started.

Worker processes and all that they start carry the environment variable :data:`TAG`, so that what a killed worker
or main process has left behind is found whatever process group or session it is in.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from magflow.core.processes import kill_marked
from magflow.errors import CampaignError, StoreError

TAG = "MAGFLOW_WORKER"
LOCK = "campaign.lock"


def tag(directory: Path, worker: str = "") -> str:
    """Value of :data:`TAG` for a worker; without a name, what the tags of all workers of `directory` begin with."""
    return f"{directory}:{worker}:" if worker else f"{directory}:"


@contextmanager
def campaign_lock(directory: Path) -> Iterator[None]:
    """Be the only executor of `directory`; the lock goes when the process ends, however it ends.

    Raises
    ------
    CampaignError
        If another process holds it.
    StoreError
        If the directory cannot be written.
    """
    path = directory / LOCK
    try:
        handle = path.open("a+", encoding="utf-8")
    except OSError as error:
        hint = "make the directory writable, or choose another one"
        raise StoreError(
            "the campaign's directory cannot be written", where=str(directory), seen=str(error), hint=hint
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            raise CampaignError(
                "this campaign is being run by another process",
                where=str(directory),
                seen=_holder(handle.read()),
                hint="watch it with `magflow status`, or stop it (Ctrl-C, or kill the process) before you start again",
            ) from error
        with suppress(OSError):  # a full disk: the lock holds without its description
            handle.truncate(0)
            handle.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}))
            handle.flush()
        try:
            yield
        finally:
            with suppress(OSError):
                handle.truncate(0)


def is_running(directory: Path) -> bool:
    """Whether an executor holds the lock on `directory`."""
    try:
        with (directory / LOCK).open(encoding="utf-8") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def kill_tagged(prefix: str) -> int:
    """Kill every process of this user whose tag begins with `prefix`, but not this one; returns their number."""
    return kill_marked(TAG, prefix)


def kill_group(pid: int) -> None:
    """Kill the process group that `pid` leads."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def kill_own_tree() -> None:
    """Kill all that this process has started, and itself."""
    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _holder(text: str) -> str:
    try:
        held = json.loads(text)
        return f"process {held['pid']} on {held['host']}"
    except (ValueError, KeyError, TypeError):
        return "an unknown process"
