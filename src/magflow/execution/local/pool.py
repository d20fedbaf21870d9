"""The worker processes of one executor: started, watched, ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from magflow.errors import CampaignError, StoreError
from magflow.execution.local.processes import TAG, kill_group, kill_tagged, tag
from magflow.execution.local.worker import EXIT_STORE

_TOLERATED_DEATHS = 8  # of workers without a job in hand, in a row, beyond one each
_PATIENCE = 5.0  # seconds given to idle workers to end by themselves
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Death:
    """A worker that ended unasked, and why; `store_error` if it could not write the store."""

    worker: str
    cause: str
    store_error: StoreError | None = None


@dataclass
class _Member:
    name: str
    process: subprocess.Popen[bytes]
    lifeline: IO[bytes]
    report: int  # read end of the pipe on which it reports a broken store
    cause: str = ""  # why it was killed, if this pool has done it


class WorkerPool:
    """Up to `size` processes ``python -m magflow.execution.local.worker``, each the leader of its own session.

    A member that dies is replaced, until `size` + 8 have died in a row without having had a job in hand.
    """

    def __init__(self, directory: Path, size: int, threads: int, config: dict[str, Any]) -> None:
        self.directory, self.size, self.threads, self.config = directory, size, threads, config
        self.deaths = 0
        self._idle_deaths = 0
        self._started = 0
        self._members: list[_Member] = []

    def fill(self) -> None:
        """Start what is missing."""
        while len(self._members) < self.size:
            self._members.append(self._start())

    def reap(self) -> list[Death]:
        """The members that have ended since the last call; what was left of their process group is killed."""
        deaths = []
        for member in list(self._members):
            # look without reaping: while the zombie exists, its process group cannot be anyone else's
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT
            if os.waitid(os.P_PID, member.process.pid, options) is None:
                continue
            kill_group(member.process.pid)
            code = member.process.wait()
            self._members.remove(member)
            deaths.append(Death(member.name, member.cause or _cause(code), _store_error(member, code)))
            self._close(member)
        return deaths

    def pids(self) -> dict[str, int]:
        """Process id of each member, by name."""
        return {member.name: member.process.pid for member in self._members}

    def give_up(self, name: str, cause: str) -> None:
        """Kill a member and all that it has started; :meth:`reap` will tell of it."""
        for member in self._members:
            if member.name == name:
                member.cause = cause
                kill_group(member.process.pid)
                kill_tagged(tag(self.directory, name))

    def note_death(self, progress: bool) -> None:
        """Count a death.

        Raises
        ------
        CampaignError
            If workers die again and again although they have no job in hand.
        """
        self.deaths += 1
        self._idle_deaths = 0 if progress else self._idle_deaths + 1
        if self._idle_deaths >= self.size + _TOLERATED_DEATHS:
            raise CampaignError(
                "worker processes die before they can run anything",
                where=str(self._log(self._started - 1)),
                seen=self._log_tail(),
                hint="the end of the worker's log says why; repair it and run again",
            )

    def finish(self) -> None:
        """End idle members: ask, wait, kill."""
        for member in self._members:
            with suppress(OSError):
                member.lifeline.write(b"stop\n")
                member.lifeline.flush()
        deadline = time.monotonic() + _PATIENCE
        for member in self._members:
            with suppress(subprocess.TimeoutExpired):
                member.process.wait(max(0.0, deadline - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """Kill all members and all that they have started, at once."""
        if not self._members:
            return
        for member in self._members:
            if member.process.poll() is None:
                kill_group(member.process.pid)
        kill_tagged(tag(self.directory))
        for member in self._members:
            member.process.wait()
            self._close(member)
        self._members.clear()

    def _start(self) -> _Member:
        number, self._started = self._started, self._started + 1
        name = f"{os.getpid()}.{number}"
        read, write = os.pipe()
        far, near = os.pipe()
        env = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(self.threads))}
        env |= {TAG: tag(self.directory, name), "MAGFLOW_REPORT_FD": str(write)}
        try:
            self._log(number).parent.mkdir(exist_ok=True)
            with self._log(number).open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "magflow.execution.local.worker"],
                    stdin=far,
                    stdout=log,
                    stderr=log,
                    env=env,
                    pass_fds=[write],
                    start_new_session=True,
                )
        except OSError as error:
            os.close(read)
            os.close(near)
            raise StoreError("a worker cannot be started", where=str(self.directory), seen=str(error)) from error
        finally:
            os.close(write)
            os.close(far)
        member = _Member(name, process, os.fdopen(near, "wb"), read)
        with suppress(BrokenPipeError):  # it died already: reap() will tell
            member.lifeline.write(json.dumps({**self.config, "name": name}).encode() + b"\n")
            member.lifeline.flush()
        return member

    def _close(self, member: _Member) -> None:
        os.close(member.report)
        with suppress(OSError):
            member.lifeline.close()

    def _log(self, number: int) -> Path:
        return self.directory / "logs" / f"worker-{number % self.size}.log"

    def _log_tail(self) -> str:
        try:
            lines = self._log(self._started - 1).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            return str(error)
        return " | ".join(lines[-5:])


def _cause(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def _store_error(member: _Member, code: int) -> StoreError | None:
    """What the worker reported before it gave up on the store."""
    if code != EXIT_STORE:
        return None
    os.set_blocking(member.report, False)
    try:
        fields = json.loads(os.read(member.report, 65536))
    except (OSError, ValueError):
        fields = {"message": "a worker could not use the store"}
    return StoreError(fields.pop("message"), **fields)
