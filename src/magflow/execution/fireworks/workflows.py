"""A whole workflow changed under its lock; FireWorks itself offers no public way that touches one job alone.

Its ``rerun_fw`` resets all that came after a job as well. What is used here and in
:func:`~magflow.execution.fireworks.launchpad.enforce_settings` is why the version of FireWorks has an upper bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fireworks import LaunchPad, Workflow

_LOOK_UP_S = 1.0  # so often whoever waits for a lock asks whether it is still to wait


class GivenUpError(Exception):
    """Whoever waited for the lock of a workflow was told to end."""


def never() -> bool:
    """Do not give up."""
    return False


@contextmanager
def held(launchpad: LaunchPad, fw_id: int, given_up: Callable[[], bool] = never) -> Iterator[None]:
    """Hold the lock of the workflow that Firework `fw_id` is in.

    A lock that is not let go in FireWorks' ``WFLOCK_EXPIRATION_SECS`` was left by one that died, and is broken.

    Parameters
    ----------
    given_up
        Asked about once a second whether to give up waiting.

    Raises
    ------
    GivenUpError
        If `given_up` said so before the lock was free.
    """
    from fireworks.core.launchpad import LockedWorkflowError, WFLock

    lock = WFLock(launchpad, fw_id)
    deadline = time.monotonic() + lock.expire_secs
    lock.expire_secs = min(_LOOK_UP_S, lock.expire_secs)
    while True:
        lock.kill = time.monotonic() + lock.expire_secs >= deadline
        try:
            lock.__enter__()
        except LockedWorkflowError:
            if given_up():
                raise GivenUpError from None
        else:
            break
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


def write(launchpad: LaunchPad, workflow: Workflow, changed: set[int]) -> None:
    """Write the Fireworks `changed`, and the states and links of their workflow; the caller holds its lock."""
    launchpad._update_wf(workflow, changed)


def reset(workflow: Workflow, fw_id: int) -> set[int]:
    """Forget the launches of a job and make it ready, or waiting; returns the ids of all that changed."""
    workflow.id_fw[fw_id]._rerun()
    changed: set[int] = {fw_id} | workflow.refresh(fw_id, {fw_id})
    return changed
