"""Processes that are known by what they have inherited: a variable in their environment."""

from __future__ import annotations

import os
from contextlib import suppress

import psutil

_ROUNDS = 20  # looks: a process may start another one while it is looked for


def kill_marked(variable: str, prefix: str) -> int:
    """Kill every process of this user whose `variable` begins with `prefix`, but not this one; returns their number.

    They are found in whatever session or process group they are, until none is left.
    """
    killed = 0
    for _ in range(_ROUNDS):
        found = _marked(variable, prefix)
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        killed += len(found)
        if not found:
            break
        psutil.wait_procs(found, timeout=0.2)
    return killed


def _marked(variable: str, prefix: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(variable, "").startswith(prefix):
                found.append(process)
    return found
