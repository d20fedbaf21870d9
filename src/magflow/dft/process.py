"""Run one program: return code, time limit, cost, end of its log.

The program gets a session of its own, so that a time limit ends its children (MPI ranks) too, and on Linux it is told
to die with the worker that started it. It and all that it starts carry an environment variable: what is left of them
when it has ended, in whatever session, is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from magflow.core.processes import kill_marked
from magflow.errors import MissingToolError

RUN = "MAGFLOW_RUN"
"""Environment variable that names the run which a process belongs to."""

_PR_SET_PDEATHSIG = 1
_GRACE_S = 2.0
_POLL_S = 0.02
_TAIL_BYTES = 4096

LAST = 2**25
"""Bytes in which the end of an output is looked for, however long it is."""


@dataclass(frozen=True)
class Finished:
    """How one program ended.

    Parameters
    ----------
    returncode
        Exit status; negative: minus the signal that ended it.
    timed_out
        True if it was ended because it ran past its time limit.
    cpu_seconds
        User and system time of the program and of its children that it waited for.
    wall_seconds
        From start to end.
    log_tail
        The last 4 kB that it wrote to stdout and stderr.
    """

    returncode: int
    timed_out: bool
    cpu_seconds: float
    wall_seconds: float
    log_tail: str

    @property
    def ending(self) -> str:
        """How it ended, for a person: ``exit status 14`` or ``signal SIGSEGV``."""
        if self.returncode >= 0:
            return f"exit status {self.returncode}"
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-self.returncode).name}"
        return f"signal {-self.returncode}"


def run_program(
    command: Sequence[str],
    *,
    cwd: Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    time_limit_s: float | None = None,
) -> Finished:
    """Run `command` in `cwd`, stdout and stderr into `log`, and wait for it.

    Parameters
    ----------
    env
        Variables set on top of this process's environment.
    time_limit_s
        Wall seconds after which the whole process group is ended (SIGTERM, 2 s later SIGKILL).

    Raises
    ------
    MissingToolError
        If the program does not exist or may not be executed.

    Notes
    -----
    Whatever it has started and left running is killed.
    """
    started, mark = time.monotonic(), secrets.token_hex(8)
    with log.open("wb") as sink:
        try:
            process = subprocess.Popen(
                list(command),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {}), RUN: mark},
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )
        except (FileNotFoundError, PermissionError) as error:
            raise MissingToolError("a program cannot be started", seen=command[0], hint=str(error)) from error
    timed_out = False
    try:
        if time_limit_s is not None and not _exited_before(process.pid, started + time_limit_s):
            timed_out = True
            _end_group(process)
        returncode, cpu_seconds = _reap(process)
    except BaseException:
        # Ctrl-C, or a signal handler that raises: nothing may be left running behind our back.
        if process.returncode is None:
            _end_group(process)
            _reap(process)
        raise
    finally:
        kill_marked(RUN, mark)
    return Finished(
        returncode=returncode,
        timed_out=timed_out,
        cpu_seconds=cpu_seconds,
        wall_seconds=time.monotonic() - started,
        log_tail=tail(log),
    )


def tail(path: Path, size: int = _TAIL_BYTES) -> str:
    """The last `size` bytes of a text file, from the start of a line; empty if there is no such file."""
    if not path.is_file():  # nor a pipe, which would be waited for
        return ""
    with path.open("rb") as f:
        end = f.seek(0, os.SEEK_END)
        f.seek(max(0, end - size))
        data = f.read()
    text = data.decode(errors="replace")
    return text if end <= size else text.partition("\n")[2]


def _exited_before(pid: int, deadline: float) -> bool:
    """Wait until the child `pid` ends or `deadline` (monotonic) comes; the child is not reaped."""
    try:
        handle = os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, or a kernel before 5.3
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        return True
    try:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        return bool(poller.poll(max(0.0, deadline - time.monotonic()) * 1000.0))
    finally:
        os.close(handle)


def _reap(process: subprocess.Popen[bytes]) -> tuple[int, float]:
    """Exit code and CPU seconds of `process`, waiting for its end."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # else Popen would wait for a child that is gone
    return process.returncode, usage.ru_utime + usage.ru_stime


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the process group: politely, then surely. The leader is not reaped yet, so its id is still its own."""
    _signal_group(process.pid, signal.SIGTERM)
    _exited_before(process.pid, time.monotonic() + _GRACE_S)
    _signal_group(process.pid, signal.SIGKILL)


def _signal_group(leader: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # the leader had ended and nobody else was left
        os.killpg(leader, number)


def _die_with_parent() -> Callable[[], None] | None:
    """What a child runs between fork and exec: be killed when the worker dies (prctl(2), PR_SET_PDEATHSIG)."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def child() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before prctl took effect
            os._exit(1)

    return child
