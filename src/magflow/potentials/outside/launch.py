"""Runs one task of a backend in the interpreter that has its program.

``launch.py PARENT BACKEND versions|serve|TASK ...``; started by :mod:`magflow.potentials.outside.process`. It imports
nothing of magflow, because its environment may hold the program alone. A backend is a module with

- ``versions(*needs)``: name to version of what is installed, after everything that a training imports was imported;
  fails without an extension that a program needs;
- ``train(arguments)``: run the program's own training, and a function for each other task that takes long;
- ``load(arrays)``: a model;
- ``evaluate(model, arrays)``: what it says;
- a function for each other request that its family sends: of the arrays, or of a model and the arrays.

Messages of ``serve`` are ``.npz`` archives behind eight bytes of length, no pickle: requests on stdin, answers on
stdout. The server ends when stdin closes.
"""

from __future__ import annotations

import ctypes
import importlib
import io
import json
import os
import signal
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

KEPT_MODELS = 32
"""Models a server holds in memory; the one that was not used for longest goes first."""
_PR_SET_PDEATHSIG = 1


def send(stream: BinaryIO, message: dict[str, Any]) -> None:
    """Write one message."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **message)
    data = buffer.getvalue()
    stream.write(len(data).to_bytes(8, "little"))
    stream.write(data)
    stream.flush()


def receive(stream: BinaryIO) -> dict[str, np.ndarray] | None:
    """The next message; None if the other side is gone."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    data = stream.read(int.from_bytes(head, "little"))
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def die_with(parent: int) -> None:
    """Be killed when the process `parent` ends (prctl(2), Linux only)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before prctl took effect
            os._exit(1)


class Server:
    """Holds models of a backend and evaluates them."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.models: OrderedDict[str, Any] = OrderedDict()

    def answer(self, request: dict[str, np.ndarray]) -> dict[str, Any]:
        """The answer to one request; what went wrong comes back under ``error``."""
        op = str(request.pop("op"))
        try:
            if "model" not in request:
                return dict(getattr(self.backend, op)(request))
            name = str(request.pop("model"))
            return self.load(name, request) if op == "load" else self.asked(op, name, request)
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def load(self, name: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """Make the model that `arrays` describe known as `name`."""
        self.models[name] = self.backend.load(arrays)
        while len(self.models) > KEPT_MODELS:
            self.models.popitem(last=False)
        return {}

    def asked(self, op: str, name: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """What the function `op` makes of the model `name` and `arrays`."""
        if name not in self.models:
            return {"unknown": True}
        self.models.move_to_end(name)
        return dict(getattr(self.backend, op)(self.models[name], arrays))


def serve(load_backend: Any) -> None:
    """Answer requests until stdin closes. Whatever else prints to stdout is sent to stderr."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    server = Server(load_backend())
    while (request := receive(requests)) is not None:
        send(answers, server.answer(request))


def main() -> None:
    """Run what the command line asks for."""
    parent, backend, task, *rest = sys.argv[1:]
    die_with(int(parent))
    file = Path(backend)
    shared = Path(__file__).with_name("runtime")
    sys.path[:1] = [str(file.parent), str(shared)]  # what stands beside the backend and what backends share, no more

    def load_backend() -> Any:
        return importlib.import_module(file.stem)

    if task == "versions":
        print(json.dumps(load_backend().versions(*rest)))
    elif task == "serve":
        serve(load_backend)
    else:
        getattr(load_backend(), task)(rest)


if __name__ == "__main__":
    main()
