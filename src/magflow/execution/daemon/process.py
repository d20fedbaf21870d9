"""The daemon as a process: started, stopped, asked after; its lock and its log.

``python -m magflow.execution.daemon.process DIR`` is what `magflow daemon start` leaves behind.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path

from magflow.core.locks import take_lock
from magflow.core.masking import mask
from magflow.errors import CampaignError, MagflowError, StoreError
from magflow.execution.cluster.directory import ClusterDirectory
from magflow.execution.daemon.rounds import STATE, Daemon

LOCK = "daemon.pid"
LOG = "daemon.log"
_SAID = "daemon.err"

_LOG_BYTES, _LOG_FILES = 2_000_000, 5
_READY = 20.0  # seconds that `start` waits for the first round
_LEAVING = 60.0  # seconds that `stop` waits for the last one


@dataclass(frozen=True)
class Holder:
    """The daemon at work: its process, machine, and since when (seconds since the epoch)."""

    pid: int
    host: str
    since: float

    @property
    def here(self) -> bool:
        """Whether it runs on this machine."""
        return self.host == socket.gethostname()


def holder(cluster: ClusterDirectory) -> Holder | None:
    """The daemon of this folder; None if none is at work."""
    path = cluster.path / LOCK
    try:
        with path.open(encoding="utf-8") as handle:
            if take_lock(handle, shared=True):
                return None
    except OSError:
        return None
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # it has not written yet
        return Holder(0, "unknown", time.time())


def start(cluster: ClusterDirectory) -> Holder:
    """Start the daemon in the background and wait until it is at work.

    Raises
    ------
    CampaignError
        If one is at work already.
    MagflowError
        What the daemon gave up for.
    """
    refuse_second(cluster)
    with suppress(OSError):
        (cluster.path / STATE).unlink()
    try:
        with (cluster.path / _SAID).open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "magflow.execution.daemon.process", str(cluster.path)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=cluster.path,
                start_new_session=True,
            )
    except OSError as error:
        raise StoreError("the daemon cannot be started", where=str(cluster.path), seen=str(error)) from error
    deadline = time.monotonic() + _READY
    while time.monotonic() < deadline and not (cluster.path / STATE).exists():
        if process.poll() is not None:
            text = (cluster.path / _SAID).read_text(encoding="utf-8", errors="replace").strip()
            raise CampaignError("the daemon gave up", where=str(cluster.path), seen=text.splitlines()[-1:] or "nothing")
        time.sleep(0.05)
    return holder(cluster) or Holder(process.pid, socket.gethostname(), time.time())


def stop(cluster: ClusterDirectory) -> Holder | None:
    """End the daemon; None if there was none.

    Raises
    ------
    CampaignError
        If it runs on another machine, or does not end.
    """
    found = holder(cluster)
    if found is None:
        return None
    if not found.here:
        raise CampaignError(
            "the daemon runs on another machine",
            where=str(cluster.path),
            seen=f"process {found.pid} on {found.host}",
            hint=f"run `magflow daemon stop` on {found.host}",
        )
    with suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + _LEAVING
    while holder(cluster) is not None:
        if time.monotonic() > deadline:
            raise CampaignError("the daemon does not end", where=f"process {found.pid}", hint=f"kill -9 {found.pid}")
        time.sleep(0.05)
    return found


def refuse_second(cluster: ClusterDirectory) -> None:
    """Raise :class:`CampaignError` if a daemon is at work."""
    found = holder(cluster)
    if found is not None:
        raise CampaignError(
            "a daemon is at work already",
            where=str(cluster.path),
            seen=f"process {found.pid} on {found.host}",
            hint="see it with `magflow daemon status`, end it with `magflow daemon stop`",
        )


def serve(cluster: ClusterDirectory, foreground: bool = False) -> None:
    """Be the daemon until SIGTERM or SIGINT.

    Parameters
    ----------
    foreground
        Write the log to standard error as well.

    Raises
    ------
    CampaignError
        If another daemon is at work.
    """
    with _lock(cluster):
        _log_to(cluster, foreground)
        cluster.pilots.mkdir(exist_ok=True)
        daemon = Daemon(cluster)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: daemon.stop())
        daemon.run()


@contextmanager
def _lock(cluster: ClusterDirectory) -> Iterator[None]:
    """Be the only daemon of this folder; the lock goes with the process, however it ends."""
    path = cluster.path / LOCK
    try:
        handle = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise StoreError("the cluster's folder cannot be written", where=str(cluster.path), seen=str(error)) from error
    with handle:
        if not take_lock(handle):
            refuse_second(cluster)
            raise CampaignError("a daemon has just ended, or begun", where=str(cluster.path), hint="try again")
        handle.truncate(0)
        handle.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}))
        handle.flush()
        os.fsync(handle.fileno())  # other machines see what has left this one's memory
        yield
        handle.truncate(0)


class _Masked(logging.Formatter):
    """Lines without credentials."""

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))


def _log_to(cluster: ClusterDirectory, foreground: bool) -> None:
    handlers: list[logging.Handler] = [
        RotatingFileHandler(cluster.path / LOG, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES, encoding="utf-8")
    ]
    if foreground:
        handlers.append(logging.StreamHandler())
    log = logging.getLogger("magflow")
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in handlers:
        handler.setFormatter(_Masked("%(asctime)s %(levelname)-7s %(message)s"))
        log.addHandler(handler)


def main(arguments: list[str]) -> int:
    """Be the daemon of a folder; errors go to the log and to standard error."""
    try:
        serve(ClusterDirectory.existing(Path(arguments[0])))
    except MagflowError as error:
        logging.getLogger("magflow.daemon").error("%s", error)
        print(mask(str(error)), file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
