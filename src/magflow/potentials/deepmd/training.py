"""One training by deepmd-kit's command line in a directory of its own: run, follow, stop early, go on after a kill."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from magflow.core.files import replace_file
from magflow.core.label import Cost
from magflow.core.protocols import Progress
from magflow.errors import CampaignError, InputError, MagflowError, StoreError
from magflow.potentials.deepmd import child
from magflow.potentials.deepmd.curve import Curve, read_curve

INPUT, LOG, START, SPENT = "input.json", "train.log", "start.pt", "spent.json"
"""Files of a training's directory, beside those deepmd-kit writes."""
_POLL_S = 0.2
_GRACE_S = 5.0
_TAIL_BYTES = 20_000
_CHECKPOINT = re.compile(r"model\.ckpt-(\d+)\.pt")
_BEST = re.compile(r"best\.ckpt-(\d+)\.t-1\.pt")


@dataclass(frozen=True)
class Trained:
    """How a training ended.

    Parameters
    ----------
    checkpoint
        The file to use: the best validated step if there was a validation, else the last.
    step
        The step of that checkpoint.
    stopped_early
        True if it ended before its last step because the validation did not get better.
    """

    checkpoint: Path
    step: int
    curve: Curve
    stopped_early: bool
    cost: Cost


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


def checkpoints(directory: Path, pattern: re.Pattern[str] = _CHECKPOINT) -> dict[int, Path]:
    """Complete checkpoints by step, oldest first; a file cut short by a kill or a full disk is left out."""
    found = {int(m[1]): path for path in directory.iterdir() if (m := pattern.fullmatch(path.name))}
    return {step: found[step] for step in sorted(found) if zipfile.is_zipfile(found[step])}


def train(
    directory: Path, *, steps: int, patience: int, start: str | None = None, progress: Progress | None = None
) -> Trained:
    """Run the training that ``input.json`` in `directory` describes, from its last checkpoint if there is one.

    Parameters
    ----------
    steps
        Steps of the whole training.
    patience
        Validations without a better one that end it.
    start
        Option of ``dp train`` that reads ``start.pt``: ``--finetune`` or ``--init-model``.

    Raises
    ------
    InputError
        If the loss is not finite.
    StoreError
        If the disk is full.
    CampaignError
        If deepmd-kit ends for another reason.
    """
    began, before = time.monotonic(), _spent(directory)
    cost = before
    curve = read_curve(directory)
    done = checkpoints(directory)
    last = max(done, default=0)
    if last < steps and curve.validations_since_best < patience:
        arguments = ["--restart", done[last].name] if done else [start, START] if start else []
        process = _launch(directory, arguments)
        try:
            cost = _follow(process, directory, began, before, steps, patience, progress)
        except BaseException:
            _end(process)
            raise
        curve, done = read_curve(directory), checkpoints(directory)
        last = max(done, default=0)
    if curve.diverged:
        raise _diverged(directory, f"step {curve.step}")
    best = checkpoints(directory, _BEST) if curve.validated else {}
    chosen = best or done
    if not chosen:
        raise CampaignError("the training left no checkpoint", where=str(directory / LOG))
    step = max(chosen)
    return Trained(chosen[step], step, curve, last < steps, cost)


def _launch(directory: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    with (directory / LOG).open("ab") as log:
        return child.start(
            child.command("dp", "--pt", "train", INPUT, "--skip-neighbor-stat", *arguments),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _follow(
    process: subprocess.Popen[bytes],
    directory: Path,
    began: float,
    before: Cost,
    steps: int,
    patience: int,
    progress: Progress | None,
) -> Cost:
    """Watch a training until it ends, or end it; returns what it cost, with the attempts before it."""
    seen, stopping = 0, False
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        wall = before.wall_seconds + time.monotonic() - began
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            break
        curve = read_curve(directory)
        if curve.diverged:
            raise _diverged(directory, f"step {curve.step}")
        if curve.step > seen:
            seen = curve.step
            _note_spent(directory, Cost(before.cpu_seconds + _cpu_seconds(process.pid), wall))
            if progress:
                progress(min(seen / steps, 0.99), curve.text())
        if curve.validations_since_best >= patience and not stopping:
            stopping = True
            os.killpg(process.pid, signal.SIGTERM)
        time.sleep(_POLL_S)
    if process.returncode != 0 and not stopping:
        raise _failure(directory, process.returncode)
    return Cost(before.cpu_seconds + usage.ru_utime + usage.ru_stime, wall)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _diverged(directory: Path, seen: str) -> MagflowError:
    return InputError(
        "the training diverged: its loss is not finite",
        where=str(directory),
        seen=seen,
        hint="lower the first learning_rate, and look for labels with enormous energies or forces",
    )


def _failure(directory: Path, returncode: int) -> MagflowError:
    """What a training that ended by itself amounts to, from its log and exit status."""
    text = _tail(directory / LOG)
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing was printed")
    hint = "the same fit goes on from its last checkpoint"
    if re.search(r"No space left|Errno 28|PytorchStreamWriter failed|unexpected pos", text):
        return StoreError("the disk is full", where=str(directory), seen=last, hint=f"free some space; {hint}")
    if re.search(r"NaN detected|[Nn]on-?finite", text):
        return _diverged(directory, last)
    child.versions()  # says what is wrong with the installation, if something is
    ending = f"exit status {returncode}" if returncode >= 0 else f"signal {signal.Signals(-returncode).name}"
    return CampaignError(
        f"deepmd-kit ended with {ending}", where=str(directory / LOG), seen=last, hint=f"asked for again, {hint}"
    )


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        return file.read().decode(errors="replace")


def _cpu_seconds(pid: int) -> float:
    with contextlib.suppress(psutil.Error):
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    return 0.0


def _spent(directory: Path) -> Cost:
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
