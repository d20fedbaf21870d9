"""The ABINIT program: which one, its version, and what its error messages mean."""

from __future__ import annotations

import os
import re
import shlex
import time
from functools import lru_cache
from pathlib import Path
from shutil import which
from subprocess import DEVNULL, CompletedProcess, TimeoutExpired
from subprocess import run as run_command

from magflow.core.label import Failure, FailureKind
from magflow.dft.abinit.datasets import INSTALL_HINT
from magflow.dft.abinit.settings import AbinitSettings
from magflow.dft.mpi import mpi_environment
from magflow.errors import MissingToolError
from magflow.settings import MagflowSettings

ENVIRONMENT = {"OMPI_MCA_ess_singleton_isolated": "1"}
"""Without mpirun, Open MPI need not start a daemon: 0.1 s per run."""

_INPUT_ERROR = 14
_MPI_ABORT, _MPI_TRIES, _MPI_PAUSE = "abort before MPI_INIT", 4, 0.5
"""What Open MPI says when another program that ends has removed the directory they share; tries, and s between them."""


def executable(settings: AbinitSettings, installation: MagflowSettings) -> str:
    """The program with its options."""
    return settings.command or installation.abinit_command


def version_of(command: str) -> str:
    """Version of the ABINIT that `command` starts. Raises MissingToolError if it is absent or does not say."""
    path = which(shlex.split(command)[0])
    if path is None:
        raise MissingToolError("ABINIT is not installed", seen=command, hint=INSTALL_HINT)
    return _version(command, path, Path(path).stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _version(command: str, path: str, _mtime: int) -> str:
    done = _asked(command, path)
    for _ in range(_MPI_TRIES - 1):
        if _MPI_ABORT not in done.stdout + done.stderr:
            break
        time.sleep(_MPI_PAUSE)
        done = _asked(command, path)
    found = re.fullmatch(r"\d+\.\d+(\.\d+)*\S*", done.stdout.strip())  # the version and nothing else
    if done.returncode or not found:
        raise MissingToolError(
            "this program does not answer --version as ABINIT does",
            where=path,
            seen=(done.stdout + done.stderr)[-200:].strip() or f"exit status {done.returncode}",
        )
    return found.group(0)


def _asked(command: str, path: str) -> CompletedProcess[str]:
    try:
        return run_command(
            [*shlex.split(command), "--version"],
            stdin=DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **ENVIRONMENT, **mpi_environment(1)},
        )
    except (OSError, TimeoutExpired) as error:
        raise MissingToolError("ABINIT does not run", where=path, hint=str(error)) from error


def named_failure(returncode: int, message: str, *, started: bool) -> Failure | None:
    """The failure that ABINIT's own error message names; None if that is no more than a crash.

    Parameters
    ----------
    message
        On one line; empty if it wrote none.
    started
        Whether it had done an SCF step.
    """
    if "SPHERES ARE OVERLAPPING" in message or "DENSITIES ARE OVERLAPPING" in message:
        return Failure(FailureKind.OVERLAPPING_SPHERES, message)
    if returncode == _INPUT_ERROR and message and not started:
        return Failure(FailureKind.INVALID_INPUT, message)
    return None
