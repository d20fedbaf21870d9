"""Kill what writes files at each of its steps."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

_STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "os.chmod", "os.truncate")
_KILLED = 86


def killed_at_every_step(action: Callable[[], object], before: Callable[[], object]) -> Iterator[int]:
    """Yield after `action` was killed, in a process of its own, when it was about to take its first, second, ... step.

    A step opens, renames, removes or makes a file or directory. `before` prepares each try. The last try is not killed.
    """
    step, code = 0, _KILLED
    while code == _KILLED:
        before()
        pid = os.fork()
        if pid == 0:
            try:
                sys.addaudithook(_killer(step))
                action()
                os._exit(0)
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code in (0, _KILLED), f"failed by itself at step {step}"
        yield step
        step += 1
    assert step > 2, "nothing was written"


def _killer(step: int) -> Callable[[str, tuple], None]:
    left = step

    def hook(event: str, _: tuple) -> None:
        nonlocal left
        if event in _STEPS:
            if left == 0:
                os._exit(_KILLED)
            left -= 1

    return hook
