"""Processes that are known by what they have inherited: a variable in their environment."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import psutil

_ROUNDS = 20  # looks: a process may start another one while it is looked for


def kill_marked(variable: str, prefix: str) -> int:
    """Kill every process of this user whose `variable` begins with `prefix`, but not this one; returns their number.

    They are found in whatever session or process group they are, until none is left.
    """
    killed = set[psutil.Process]()
    for _ in range(_ROUNDS):
        found = _marked(variable, prefix)
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        killed.update(found)
        if not found:
            break
        time.sleep(0.01)  # no more: to wait for children of this process would take their exit status from others
    return len(killed)


def _marked(variable: str, prefix: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(variable, "").startswith(prefix):
                found.append(process)
    return found
