"""Processes that run another package's program: its trainings, and one server per process of magflow for inference.

Such a program never runs inside magflow's own process: PyTorch would take its start-up time and threads, and versions
that do not fit together can so live in an environment of their own. Both cases take the same path.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from magflow.core.protocols import Probe
from magflow.errors import CampaignError, InputError, MissingToolError
from magflow.potentials.outside.launch import receive, send
from magflow.settings import load_settings

LAUNCH = Path(__file__).with_name("launch.py")
_PROBE_TIMEOUT_S = 300.0
"""Importing PyTorch takes ten seconds of processor time, many times that of a busy machine or a slow disk."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Program:
    """A program and how it is started.

    Parameters
    ----------
    name
        As people call it, and as its backend names its version.
    extra
        The extra of magflow that installs it; ``<extra>_python`` and ``<extra>_threads`` are its settings.
    backend
        The file that runs beside it (:mod:`magflow.potentials.outside.launch`).
    threads
        Environment variables for threads beside OpenMP's.
    variables
        Other environment variables.
    needs
        Extensions it has to have; the backend's ``versions`` is told.
    """

    name: str
    extra: str
    backend: Path
    threads: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def python(self) -> str:
        """The interpreter that has it."""
        found: str | None = getattr(load_settings(), f"{self.extra}_python")
        return found or sys.executable

    @property
    def install(self) -> str:
        """How to get it."""
        return (
            f"pip install 'magflow[{self.extra}]', or name another Python that has {self.name} in the setting "
            f"{self.extra}_python"
        )

    def command(self, task: str, *arguments: str) -> list[str]:
        """The command line of one task of the backend."""
        return [self.python, str(LAUNCH), str(os.getpid()), str(self.backend), task, *arguments]

    def environment(self) -> dict[str, str]:
        """Environment of a backend: threads as the settings say."""
        threads = str(getattr(load_settings(), f"{self.extra}_threads"))
        return {**os.environ, **dict.fromkeys((*_THREADS, *self.threads), threads), **dict(self.variables)}

    def start(self, arguments: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a backend process.

        Raises
        ------
        MissingToolError
            If the interpreter does not exist.
        """
        try:
            return subprocess.Popen(list(arguments), env=self.environment(), start_new_session=True, **options)
        except OSError as error:
            raise MissingToolError(
                f"the Python of {self.name} cannot be started",
                seen=arguments[0],
                hint=f"look at the setting {self.extra}_python",
            ) from error

    def versions(self) -> Mapping[str, str]:
        """Versions of what its interpreter has.

        Raises
        ------
        MissingToolError
            If it does not start there.
        """
        return _versions(self, self.python)

    def probe(self) -> Probe:
        """What ``magflow check`` says about it."""
        try:
            found = dict(self.versions())
        except MissingToolError as error:
            seen = f" ({error.seen})" if error.seen else ""
            return Probe(self.name, False, f"{self.python}: {error.message}{seen}", error.hint or self.install)
        version, torch = found.pop(self.name), found.pop("torch")
        rest = "".join(f", {value} {key}" for key, value in found.items())
        return Probe(self.name, True, f"{version} on torch {torch}{rest}")

    def server(self) -> Server:
        """The server of this process; a process that was forked off gets its own."""
        key = (os.getpid(), self)
        if key not in _servers:
            for other in [k for k in _servers if k[0] != key[0]]:
                del _servers[other]
            _servers[key] = Server(self)
            atexit.register(_servers[key].close)
        return _servers[key]


@cache
def _versions(program: Program, python: str) -> Mapping[str, str]:
    name = program.name
    with tempfile.TemporaryFile() as noise:
        process = program.start(
            program.command("versions", *program.needs), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=noise
        )
        try:
            output, _ = process.communicate(timeout=_PROBE_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            raise MissingToolError(
                f"{name} does not start",
                where=python,
                seen=f"no answer in {_PROBE_TIMEOUT_S:.0f} s",
                hint=f"try again when the machine is less busy, or look what keeps that Python from importing {name}",
            ) from error
        if process.returncode != 0:
            raise MissingToolError(f"{name} does not start", where=python, seen=last_line(noise), hint=program.install)
    found: Mapping[str, str] = json.loads(output.splitlines()[-1])
    return found


class Server:
    """A process that evaluates models; started when first asked."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._noise: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._lock = threading.Lock()

    def ask(self, **request: Any) -> dict[str, np.ndarray]:
        """Send one request.

        Raises
        ------
        MissingToolError
            If the server does not start.
        CampaignError
            If it ended on the way, for want of memory for instance.
        InputError
            If the program cannot do what was asked.
        """
        with self._lock:
            process = self._running()
            try:
                send(process.stdin, request)  # type: ignore[arg-type]  # a pipe, see _running
                answer = receive(process.stdout)  # type: ignore[arg-type]  # and this
            except OSError:
                answer = None
            except BaseException:  # Ctrl-C: the answer to this request must not be taken for that to the next
                self._end()
                raise
            if answer is None:
                seen = last_line(self._noise)
                self._end()
                self.program.versions()  # says what is wrong with the installation, if something is
                raise CampaignError(f"the process that evaluates models of {self.program.name} ended", seen=seen)
        if "error" in answer:
            if answer["error"].item().startswith(ModuleNotFoundError.__name__):
                self.program.versions()  # says how to install it
            raise InputError(f"{self.program.name} cannot use the model", seen=str(answer["error"]))
        return answer

    def evaluate(
        self, name: str, model: Callable[[], Mapping[str, np.ndarray]], **arrays: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Evaluate the model `name`, whose arrays are sent only if the server does not know it."""
        return self.of_model("evaluate", name, model, **arrays)

    def of_model(
        self, op: str, name: str, model: Callable[[], Mapping[str, np.ndarray]], **arrays: np.ndarray
    ) -> dict[str, np.ndarray]:
        """The same with any function `op` of the backend that takes a model and arrays."""
        answer = self.ask(op=op, model=name, **arrays)
        if "unknown" in answer:
            self.ask(op="load", model=name, **model())
            answer = self.ask(op=op, model=name, **arrays)
        return answer

    def renew(self, name: str, model: Callable[[], Mapping[str, np.ndarray]]) -> None:
        """Load the model `name` again, if there is a process that may hold it."""
        if self._process is not None:
            self.ask(op="load", model=name, **model())

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = self.program.start(
                self.program.command("serve"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._noise
            )
        return self._process

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            process.kill()
            process.wait()


def last_line(log: IO[bytes]) -> str:
    """The last line with text that a process wrote to `log`."""
    log.seek(0)
    lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "nothing was printed"


_servers: dict[tuple[int, Program], Server] = {}
