"""A training in a process of its own: run, follow, stop early, explain, count what it cost."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from magflow.core.files import replace_file
from magflow.core.label import Cost
from magflow.core.protocols import Progress
from magflow.errors import CampaignError, InputError, MagflowError, StoreError
from magflow.potentials.outside.process import Program

LOG, SPENT = "train.log", "spent.json"
"""Files of a training's directory."""
_POLL_S = 0.2
_GRACE_S = 5.0
_TAIL_BYTES = 20_000


class LearningCurve(Protocol):
    """How far a training is."""

    @property
    def step(self) -> int:
        """The last step with a point; 0 before the first."""

    @property
    def diverged(self) -> bool:
        """Whether the loss is not finite."""

    @property
    def validations_since_best(self) -> int:
        """Validations after the best one."""

    def text(self) -> str:
        """The last point, for a person."""


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold `directory` for this process.

    Raises
    ------
    StoreError
        If another process holds it.
    """
    with (directory / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError("another process runs the same training", where=str(directory)) from error
        yield


@dataclass(frozen=True)
class Run:
    """A training that `program` runs in `directory`.

    Parameters
    ----------
    read
        The curve of the training in a directory, as far as it is.
    steps
        Steps of the whole training.
    patience
        Validations without a better one that end it.
    task
        The function of the program's backend that trains.
    """

    program: Program
    directory: Path
    read: Callable[[Path], LearningCurve]
    steps: int
    patience: int
    task: str = "train"

    def run(self, arguments: Sequence[str], progress: Progress | None = None) -> Cost:
        """Run it until it ends, or end it; returns what it cost, with the attempts before it.

        Raises
        ------
        InputError
            If the loss is not finite.
        StoreError
            If the disk is full.
        CampaignError
            If the program ends for another reason.
        """
        began = time.monotonic()
        with (self.directory / LOG).open("ab") as log:
            process = self.program.start(
                self.program.command(self.task, *arguments),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            return self._follow(process, began, progress)
        except BaseException:
            _end(process)
            raise

    def _follow(self, process: subprocess.Popen[bytes], began: float, progress: Progress | None) -> Cost:
        before, seen, stopping = spent(self.directory), 0, False
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            wall = before.wall_seconds + time.monotonic() - began
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                break
            curve = self.read(self.directory)
            if curve.diverged:
                raise diverged(self.directory, f"step {curve.step}")
            if curve.step > seen:
                seen = curve.step
                _note_spent(self.directory, Cost(before.cpu_seconds + _cpu_seconds(process.pid), wall))
                if progress:
                    progress(min(seen / self.steps, 0.99), curve.text())
            if curve.validations_since_best >= self.patience and not stopping:
                stopping = True
                os.killpg(process.pid, signal.SIGTERM)
            time.sleep(_POLL_S)
        if process.returncode != 0 and not stopping:
            raise self._failure(process.returncode)
        curve = self.read(self.directory)
        if progress and curve.step > seen and not curve.diverged:  # written since it was looked at
            progress(min(curve.step / self.steps, 0.99), curve.text())
        return Cost(before.cpu_seconds + usage.ru_utime + usage.ru_stime, wall)

    def _failure(self, returncode: int) -> MagflowError:
        """What a training that ended by itself amounts to, from its log and exit status."""
        directory, name = self.directory, self.program.name
        text = _tail(directory / LOG)
        last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing was printed")
        hint = "the same fit goes on from its last checkpoint"
        if re.search(r"No space left|Errno 28|PytorchStreamWriter failed|unexpected pos", text):
            return StoreError("the disk is full", where=str(directory), seen=last, hint=f"free some space; {hint}")
        if self.read(directory).diverged or re.search(r"NaN detected|[Nn]on-?finite", text):
            return diverged(directory, last)
        self.program.versions()  # says what is wrong with the installation, if something is
        ending = f"exit status {returncode}" if returncode >= 0 else f"signal {signal.Signals(-returncode).name}"
        return CampaignError(
            f"{name} ended with {ending}", where=str(directory / LOG), seen=last, hint=f"asked for again, {hint}"
        )


def diverged(directory: Path, seen: str) -> InputError:
    """The error of a training whose loss is not finite."""
    return InputError(
        "the training diverged: its loss is not finite",
        where=str(directory),
        seen=seen,
        hint="lower the first learning_rate, and look for labels with enormous energies or forces",
    )


def spent(directory: Path) -> Cost:
    """What attempts that were killed had cost when they last wrote a point of the curve."""
    try:
        content: Mapping[str, float] = json.loads((directory / SPENT).read_text())
        return Cost(float(content["cpu_seconds"]), float(content["wall_seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Cost()


def _note_spent(directory: Path, cost: Cost) -> None:
    content = {"cpu_seconds": cost.cpu_seconds, "wall_seconds": cost.wall_seconds}
    with contextlib.suppress(StoreError):  # a full disk is told by the training itself
        replace_file(directory / SPENT, json.dumps(content).encode())


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        return file.read().decode(errors="replace")


def _cpu_seconds(pid: int) -> float:
    with contextlib.suppress(psutil.Error):
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    return 0.0
