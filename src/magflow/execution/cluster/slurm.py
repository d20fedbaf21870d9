"""Slurm, through its commands: submit a script, ask what became of jobs, look at partitions.

An answer that could not be had is an error, never an empty answer: a job counts as gone only if Slurm answered and
did not know it, or said that it had ended.
"""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from magflow.errors import InputError, MagflowError, MissingToolError

_TIMEOUT = 60.0  # seconds a command of Slurm may take: a busy controller answers late


class SlurmError(MagflowError):
    """Slurm refused a command or did not answer."""


class Phase(StrEnum):
    """What a daemon has to know of a Slurm job."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"


_PENDING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
_RUNNING = {"RUNNING", "SUSPENDED", "COMPLETING", "STAGE_OUT", "SIGNALING", "RESIZING", "STOPPED"}
UNKNOWN = "UNKNOWN"
"""State of a job that Slurm has forgotten: it has ended, nobody knows how."""


@dataclass(frozen=True)
class SlurmJob:
    """One job: its number, name and state in Slurm's words (``TIMEOUT``), why it waits."""

    number: int
    name: str
    state: str
    reason: str = ""

    @property
    def phase(self) -> Phase:
        """Whether it waits, runs or has ended."""
        if self.state in _PENDING:
            return Phase.PENDING
        return Phase.RUNNING if self.state in _RUNNING else Phase.ENDED


@dataclass(frozen=True)
class Partition:
    """A partition: whether it takes jobs, its longest walltime in seconds (None: unlimited)."""

    name: str
    up: bool
    max_seconds: int | None


def submit(script: Path, environment: Mapping[str, str] | None = None) -> int:
    """Give `script` to sbatch; returns the number of the job.

    Raises
    ------
    SlurmError
        If Slurm does not accept it; `seen` holds its own words.
    """
    out = _run("sbatch", "--parsable", str(script), cwd=script.parent, environment=environment)
    number = out.strip().split(";")[0]
    if not number.isdigit():
        raise SlurmError("sbatch did not answer with a job's number", seen=out)
    return int(number)


def test(script: Path) -> None:
    """Ask whether `script` would be accepted, without submitting it.

    Raises
    ------
    SlurmError
        If it would not; `seen` holds Slurm's own words.
    """
    _run("sbatch", "--test-only", str(script), cwd=script.parent)


def jobs_named(prefix: str) -> list[SlurmJob]:
    """Jobs of this user whose name begins with `prefix`, waiting or running."""
    out = _run("squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i|%T|%r|%j")
    return [job for job in _parse(out) if job.name.startswith(prefix) and job.phase is not Phase.ENDED]


def states(numbers: Iterable[int]) -> dict[int, SlurmJob]:
    """What became of jobs: every number asked for is in the answer; forgotten ones are :data:`UNKNOWN`.

    squeue knows waiting, running and just ended jobs, sacct (where the site has accounting) all of them.
    """
    wanted = sorted(set(numbers))
    if not wanted:
        return {}
    # all of the user's jobs: squeue fails as a whole if one number it is asked for is no longer known
    out = _run("squeue", "--noheader", "--states=all", f"--user={getpass.getuser()}", "--format=%i|%T|%r|%j")
    found = {job.number: job for job in _parse(out) if job.number in set(wanted)}
    missing = [n for n in wanted if n not in found]
    if missing:
        found |= {job.number: job for job in _accounted(missing)}
    return {n: found.get(n, SlurmJob(n, "", UNKNOWN)) for n in wanted}


def cancel(numbers: Iterable[int]) -> None:
    """Cancel jobs; those that have ended are no error."""
    wanted = [str(n) for n in numbers]
    if wanted:
        _run("scancel", *wanted)


def partitions() -> dict[str, Partition]:
    """The partitions this user can see, by name."""
    out = _run("sinfo", "--noheader", "--format=%R|%a|%l")
    rows = [line.strip().split("|") for line in out.splitlines() if line.count("|") == 2]
    return {name: Partition(name, up == "up", parse_time(limit)) for name, up, limit in rows}


def version() -> str:
    """Slurm's version, such as ``slurm 23.11.4``."""
    return _run("sbatch", "--version").strip()


def parse_time(text: str) -> int | None:
    """Seconds of one of Slurm's times: ``minutes``, ``[days-]hours:minutes:seconds``; None for ``infinite``.

    (man sbatch, --time)
    """
    text = text.strip()
    if text.lower() in ("infinite", "unlimited", "n/a", "not_set"):
        return None
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if match is None:
        raise InputError("this is no time limit", seen=text, expected="minutes, HH:MM:SS or D-HH:MM:SS")
    days, *rest = (None if part is None else int(part) for part in match.groups())
    numbers = [part for part in rest if part is not None]
    if days is not None:  # days-hours[:minutes[:seconds]]
        hours, minutes, seconds = (*numbers, 0, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:  # minutes[:seconds]
        hours, (minutes, seconds) = 0, (*numbers, 0)[:2]
    return (((days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def format_time(seconds: int) -> str:
    """``D-HH:MM:SS``, or ``HH:MM:SS`` below a day."""
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days}-{clock}" if days else clock


def _accounted(numbers: list[int]) -> list[SlurmJob]:
    """What sacct says; nothing where the site has no accounting."""
    if shutil.which("sacct") is None:
        return []
    words = ("sacct", "--noheader", "--allocations", "--parsable2", f"--jobs={','.join(map(str, numbers))}")
    try:
        out = _run(*words, "--format=JobID,State,JobName")
    except SlurmError:
        return []
    rows = (line.split("|", 2) for line in out.splitlines() if line.count("|") >= 2)
    return _parse("\n".join(f"{number}|{state}||{name}" for number, state, name in rows))  # as squeue writes them


def _parse(text: str) -> list[SlurmJob]:
    jobs = []
    for line in text.splitlines():
        number, _, rest = line.strip().partition("|")
        if number.isdigit() and rest.count("|") >= 2:  # not the parts of array jobs
            state, reason, name = rest.split("|", 2)
            jobs.append(SlurmJob(int(number), name, state.split()[0], reason))  # "CANCELLED by 1000"
    return jobs


def _run(*words: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, cwd=cwd, env=environment, timeout=_TIMEOUT, check=False
        )
    except FileNotFoundError as error:
        raise MissingToolError(
            f"there is no {words[0]} here", expected="Slurm's commands on PATH", hint="run this on a login node"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"{words[0]} did not answer", seen=f"nothing for {_TIMEOUT:g} s") from error
    if done.returncode:
        raise SlurmError(f"{words[0]} failed", seen=done.stderr.strip() or f"exit code {done.returncode}")
    return done.stdout
