"""Processes of a campaign: the end of everything a worker has started.

Worker processes and all that they start carry the environment variable :data:`TAG`, so that what a killed worker
or main process has left behind is found whatever process group or session it is in.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil

from magflow.core.processes import kill_marked

TAG = "MAGFLOW_WORKER"


def tag(directory: Path, worker: str = "") -> str:
    """Value of :data:`TAG` for a worker; without a name, what the tags of all workers of `directory` begin with."""
    return f"{directory}:{worker}:" if worker else f"{directory}:"


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
