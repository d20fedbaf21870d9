"""One ABINIT run in a fresh directory: start it, wait, say how it ended."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from shutil import which
from subprocess import DEVNULL, TimeoutExpired
from subprocess import run as run_command

from magflow.core.label import Failure, FailureKind
from magflow.dft.abinit.datasets import INSTALL_HINT
from magflow.dft.abinit.output import Output, TruncatedOutputError, error_message, read_output, scf_steps
from magflow.dft.mpi import mpi_command, mpi_environment
from magflow.dft.process import Finished, run_program
from magflow.errors import MissingToolError

STEM = "run"

_ENVIRONMENT = {"OMPI_MCA_ess_singleton_isolated": "1"}
"""Without mpirun, Open MPI need not start a daemon: 0.1 s per run."""

_INPUT_ERROR = 14


@dataclass(frozen=True)
class Launcher:
    """How ABINIT is started."""

    abinit: str
    mpirun: str
    cores: int

    def command(self, input_file: str) -> list[str]:
        """The input file goes first: after an option ABINIT reads its standard input instead."""
        return [*mpi_command(self.abinit, self.mpirun, self.cores), input_file]

    @property
    def environment(self) -> dict[str, str]:
        """Variables the run needs."""
        return {**_ENVIRONMENT, **mpi_environment(self.cores)}

    def version(self) -> str:
        """ABINIT's version. Raises MissingToolError if it is absent or does not say."""
        program = shlex.split(self.abinit)
        path = which(program[0])
        if path is None:
            raise MissingToolError("ABINIT is not installed", seen=self.abinit, hint=INSTALL_HINT)
        return _version(self.abinit, path, Path(path).stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _version(command: str, path: str, _mtime: int) -> str:
    try:
        done = run_command(
            [*shlex.split(command), "--version"],
            stdin=DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **_ENVIRONMENT, **mpi_environment(1)},
        )
    except (OSError, TimeoutExpired) as error:
        raise MissingToolError("ABINIT does not run", where=path, hint=str(error)) from error
    found = re.fullmatch(r"\d+\.\d+(\.\d+)*\S*", done.stdout.strip())  # the version and nothing else
    if done.returncode or not found:
        raise MissingToolError(
            "this program does not answer --version as ABINIT does",
            where=path,
            seen=(done.stdout + done.stderr)[-200:].strip() or f"exit status {done.returncode}",
        )
    return found.group(0)


def run_abinit(
    folder: Path, text: str, links: Mapping[str, Path], launcher: Launcher, time_limit_s: float | None
) -> Finished:
    """Run the input `text` in `folder` (fresh), with `links` (name to dataset) beside it."""
    folder.mkdir(parents=True)
    for name, path in links.items():
        (folder / name).symlink_to(path)
    (folder / f"{STEM}.abi").write_text(text)
    return run_program(
        launcher.command(f"{STEM}.abi"),
        cwd=folder,
        log=folder / f"{STEM}.log",
        env=launcher.environment,
        time_limit_s=time_limit_s,
    )


def outcome(folder: Path, finished: Finished, n_atoms: int, *, polarised: bool, constrained: bool) -> Output | Failure:
    """What a run that ended gave: numbers (perhaps not converged), or the reason why there are none."""
    if finished.timed_out:
        return Failure(
            FailureKind.TIME_LIMIT, f"ended after {finished.wall_seconds:.0f} s; raise time_limit_s or use more cores"
        )
    if finished.returncode:
        return _failed_run(folder, finished)
    try:
        return read_output(folder, STEM, n_atoms, polarised=polarised, constrained=constrained)
    except TruncatedOutputError as error:
        return Failure(FailureKind.TRUNCATED_OUTPUT, str(error))


def _failed_run(folder: Path, finished: Finished) -> Failure:
    log = _read(folder / f"{STEM}.log")
    message = error_message(log)
    if "SPHERES ARE OVERLAPPING" in message or "DENSITIES ARE OVERLAPPING" in message:
        return Failure(FailureKind.OVERLAPPING_SPHERES, message)
    started = scf_steps(_read(folder / f"{STEM}.abo")) > 0 or scf_steps(log) > 0
    if finished.returncode == _INPUT_ERROR and message and not started:
        return Failure(FailureKind.INVALID_INPUT, message)
    detail = message or finished.log_tail.strip().rpartition("\n")[2] or "it wrote no log"
    return Failure(FailureKind.CRASH, f"{finished.ending}: {detail}")


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


def heavy_files(folder: Path) -> Iterator[Path]:
    """Files nobody needs once the numbers are read: everything but the input and the main output."""
    keep = {f"{STEM}.abi", f"{STEM}.abo"}
    return (path for path in folder.iterdir() if path.name not in keep)
