"""Processes that run deepmd-kit: one command line, and one server per process of magflow for inference.

deepmd-kit never runs inside magflow's own process: PyTorch would take its start-up time and threads, and versions that
do not fit together can so live in an environment of their own. Both cases take the same path.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from magflow.core.protocols import Probe
from magflow.errors import CampaignError, InputError, MissingToolError
from magflow.potentials.deepmd.backend import receive, send
from magflow.settings import load_settings

BACKEND = Path(__file__).with_name("backend.py")
INSTALL = "pip install 'magflow[deepmd]', or name another Python that has deepmd-kit in the setting deepmd_python"
_PROBE_TIMEOUT_S = 300.0
"""Importing PyTorch takes ten seconds of processor time, many times that of a busy machine or a slow disk."""


def command(task: str, *arguments: str) -> list[str]:
    """The command line of one task of the backend."""
    python = load_settings().deepmd_python or sys.executable
    return [python, str(BACKEND), str(os.getpid()), task, *arguments]


def environment() -> dict[str, str]:
    """Environment of a backend: threads as the settings say, and no processes that load batches.

    Batches are small and in memory; loading them elsewhere only adds seconds to the start of a training.
    """
    threads = str(load_settings().deepmd_threads)
    names = ("OMP_NUM_THREADS", "DP_INTRA_OP_PARALLELISM_THREADS", "DP_INTER_OP_PARALLELISM_THREADS")
    return {**os.environ, **dict.fromkeys(names, threads), "NUM_WORKERS": "0"}


def start(arguments: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a backend process.

    Raises
    ------
    MissingToolError
        If the interpreter does not exist.
    """
    try:
        return subprocess.Popen(list(arguments), env=environment(), start_new_session=True, **options)
    except OSError as error:
        raise MissingToolError(
            "the Python of deepmd-kit cannot be started", seen=arguments[0], hint="look at the setting deepmd_python"
        ) from error


@cache
def _versions(python: str) -> Mapping[str, str]:
    """What `python` has installed.

    Raises
    ------
    MissingToolError
        If it has no deepmd-kit that works.
    """
    with tempfile.TemporaryFile() as noise:
        process = start(command("versions"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=noise)
        try:
            output, _ = process.communicate(timeout=_PROBE_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            raise MissingToolError(
                "deepmd-kit does not start",
                where=python,
                seen=f"no answer in {_PROBE_TIMEOUT_S:.0f} s",
                hint="try again when the machine is less busy, or look what keeps that Python from importing deepmd",
            ) from error
        if process.returncode != 0:
            raise MissingToolError("deepmd-kit does not start", where=python, seen=last_line(noise), hint=INSTALL)
    found: Mapping[str, str] = json.loads(output.splitlines()[-1])
    return found


def versions() -> Mapping[str, str]:
    """Versions of deepmd-kit and PyTorch, and which operators are used.

    Raises
    ------
    MissingToolError
        If there is no deepmd-kit that works.
    """
    return _versions(command("versions")[0])


def probe() -> Probe:
    """What ``magflow check`` says about deepmd-kit."""
    python = command("versions")[0]
    try:
        found = versions()
    except MissingToolError as error:
        seen = f" ({error.seen})" if error.seen else ""
        return Probe("deepmd-kit", False, f"{python}: {error.message}{seen}", error.hint or INSTALL)
    detail = f"{found['deepmd-kit']} on torch {found['torch']}, {found['operators']} operators"
    return Probe("deepmd-kit", True, detail)


class Server:
    """A process that evaluates models; started when first asked."""

    def __init__(self) -> None:
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
            If deepmd-kit cannot do what was asked.
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
                versions()  # says what is wrong with the installation, if something is
                raise CampaignError("the process that evaluates DeePMD models ended", seen=seen)
        if "error" in answer:
            raise InputError("deepmd-kit cannot use the model", seen=str(answer["error"]))
        return answer

    def evaluate(self, checkpoint: bytes, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Evaluate the model `checkpoint`, which is sent only if the server does not know it."""
        name = hashlib.sha256(checkpoint).hexdigest()
        answer = self.ask(op="evaluate", model=name, **arrays)
        if "unknown" in answer:
            self.ask(op="load", model=name, checkpoint=np.frombuffer(checkpoint, dtype=np.uint8))
            answer = self.ask(op="evaluate", model=name, **arrays)
        return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = start(command("serve"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._noise)
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


_servers: dict[int, Server] = {}


def server() -> Server:
    """The server of this process; a process that was forked off gets its own."""
    pid = os.getpid()
    if pid not in _servers:
        _servers.clear()
        _servers[pid] = Server()
        atexit.register(_servers[pid].close)
    return _servers[pid]
