"""The runs of a DFT code that one label takes: what they did, and the directory they leave it in."""

from __future__ import annotations

import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from magflow.core.label import Cost
from magflow.core.locks import take_lock
from magflow.dft.process import Finished

_LOCK = ".lock"


class TruncatedOutputError(Exception):
    """Output that a finished run would have is not there."""


@dataclass
class RunRecord:
    """What the runs so far did."""

    started: float = field(default_factory=time.monotonic)
    cpu_seconds: float = 0.0
    runs: list[dict[str, Any]] = field(default_factory=list)

    def add(self, finished: Finished, about: Mapping[str, Any]) -> None:
        """One more run, and what is to be remembered of it."""
        self.cpu_seconds += finished.cpu_seconds
        self.runs.append({"cpu_seconds": finished.cpu_seconds, "wall_seconds": finished.wall_seconds, **about})

    def left(self, time_limit_s: float | None) -> float | None:
        """Wall seconds left of those for all runs together; None without a limit."""
        return None if time_limit_s is None else time_limit_s - (time.monotonic() - self.started)

    def cost(self, cores: int) -> Cost:
        """Of all runs, on so many cores."""
        return Cost(self.cpu_seconds, time.monotonic() - self.started, cores)


@contextmanager
def run_directory(workdir: Path, scratch: Path | None, prefix: str, tidy: Callable[[Path], None]) -> Iterator[Path]:
    """Where to run; folders that begin with `prefix` are in `workdir` afterwards, whatever has happened.

    Parameters
    ----------
    scratch
        Folder to run in; None: `workdir` itself.
    tidy
        Removes from the folder of one run what is not to be kept.
    """
    for old in workdir.glob(f"{prefix}*"):
        shutil.rmtree(old)
    with nullcontext(workdir) if scratch is None else _directory_in(scratch) as root:
        try:
            yield root
        finally:
            for folder in sorted(root.glob(f"{prefix}*")):
                tidy(folder)
                if root != workdir:
                    shutil.move(folder, workdir / folder.name)


@contextmanager
def _directory_in(scratch: Path) -> Iterator[Path]:
    """A directory of this run alone, gone afterwards.

    Beside it is a file that is locked for as long as this process lives: who comes next knows by it what a killed
    process of this machine has left behind, and removes it.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    stem = f"magflow-{socket.gethostname()}-"
    _sweep(scratch, stem)
    root = scratch / f"{stem}{secrets.token_hex(4)}"
    lock, unseen = (root.with_name(root.name + end) for end in (_LOCK, ".new"))
    with unseen.open("w") as handle:
        with suppress(OSError):  # a file system without locks: nothing will be swept
            take_lock(handle)
        unseen.rename(lock)  # never seen unlocked
        try:
            root.mkdir(mode=0o700)
            yield root
        finally:
            shutil.rmtree(root, ignore_errors=True)
            lock.unlink(missing_ok=True)


def _sweep(scratch: Path, stem: str) -> None:
    for lock in scratch.glob(f"{stem}*{_LOCK}"):
        with suppress(OSError), lock.open("r+") as handle:
            if take_lock(handle):
                shutil.rmtree(lock.with_name(lock.name.removesuffix(_LOCK)), ignore_errors=True)
                lock.unlink(missing_ok=True)
