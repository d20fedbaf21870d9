"""The side of the DeePMD families that runs beside deepmd-kit, in the interpreter the settings name.

``backend.py PARENT versions|dp|serve ...``; started by :mod:`magflow.potentials.deepmd.child`, never imported by
magflow. It imports nothing of magflow, because its environment may hold deepmd-kit alone.

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
import tempfile
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


def prepare() -> dict[str, str]:
    """Versions of what is installed, with deepmd-kit ready to be imported in full.

    The wheel of deepmd-kit carries operators compiled against one release of PyTorch (and an MPI library they link
    to) and refuses to start beside any other. Everything used here also exists in plain PyTorch, so beside another
    release the compiled ones are hidden.
    """
    import deepmd.env
    import torch

    built_for = deepmd.env.GLOBAL_CONFIG.get("pt_version", "")
    matches = built_for == torch.__version__.partition("+")[0]
    if not matches:
        deepmd.env.GLOBAL_CONFIG["cibuildwheel"] = "0"
        deepmd.env.SHARED_LIB_DIR = Path(tempfile.gettempdir()) / "no-compiled-operators"
    return {
        "deepmd-kit": deepmd.__version__,
        "torch": torch.__version__,
        "operators": "compiled" if matches else "plain PyTorch",
    }


def versions() -> None:
    """Print the versions as JSON, having imported what a training imports."""
    found = prepare()
    importlib.import_module("deepmd.pt.entrypoints.main")
    print(json.dumps(found))


def dp(arguments: list[str]) -> None:
    """Run deepmd-kit's command line."""
    prepare()
    from deepmd.main import main

    main(arguments)


class Server:
    """Loads checkpoints and evaluates them."""

    def __init__(self) -> None:
        self.versions = prepare()
        self.models: OrderedDict[str, Any] = OrderedDict()

    def answer(self, request: dict[str, np.ndarray]) -> dict[str, Any]:
        """The answer to one request; what went wrong comes back under ``error``."""
        try:
            return dict(getattr(self, f"do_{request['op']}")(request))
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def do_slim(self, request: dict[str, np.ndarray]) -> dict[str, Any]:
        """The weights of the checkpoint at ``path``, without the state of its optimiser, and what runs here."""
        import torch

        state = torch.load(str(request["path"]), map_location="cpu", weights_only=True)
        buffer = io.BytesIO()
        torch.save(state["model"], buffer)
        return {"checkpoint": np.frombuffer(buffer.getvalue(), dtype=np.uint8), "versions": json.dumps(self.versions)}

    def do_load(self, request: dict[str, np.ndarray]) -> dict[str, Any]:
        """Make the bytes ``checkpoint`` known as ``model``; deepmd-kit reads weights only and runs no code of them."""
        from deepmd.infer import DeepPot

        with tempfile.NamedTemporaryFile(suffix=".pt") as file:
            file.write(request["checkpoint"].tobytes())
            file.flush()
            # Compiling by torch.jit takes seconds per model and batch shape and makes nothing faster here.
            self.models[str(request["model"])] = DeepPot(file.name, auto_batch_size=False, no_jit=True)
        while len(self.models) > KEPT_MODELS:
            self.models.popitem(last=False)
        return {}

    def do_evaluate(self, request: dict[str, np.ndarray]) -> dict[str, Any]:
        """Energy (n,), force (n, N, 3), virial (n, 3, 3) and, of a spin model, force_mag (n, N, 3) of n frames.

        All frames share ``types`` (N,); ``coord`` (n, N, 3), ``cell`` (n, 3, 3) and ``spin`` (n, N, 3) differ.
        """
        name = str(request["model"])
        if name not in self.models:
            return {"unknown": True}
        self.models.move_to_end(name)
        spin = {"spin": request["spin"]} if "spin" in request else {}
        found = self.models[name].eval(request["coord"], request["cell"], request["types"], atomic=False, **spin)
        n, atoms = request["coord"].shape[:2]
        shapes = {"energy": (n,), "force": (n, atoms, 3), "virial": (n, 3, 3)}
        if spin:
            shapes["force_mag"] = (n, atoms, 3)
        pairs = zip(shapes.items(), found, strict=False)  # the mask of atoms that carry spins comes last
        return {quantity: np.reshape(values, shape).astype(float) for (quantity, shape), values in pairs}


def serve() -> None:
    """Answer requests until stdin closes. Whatever else prints to stdout is sent to stderr."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    server = Server()
    while (request := receive(requests)) is not None:
        send(answers, server.answer(request))


def main() -> None:
    """Run what the command line asks for."""
    sys.path.pop(0)  # the modules beside this file are not for deepmd-kit to import
    parent, task, *rest = sys.argv[1:]
    die_with(int(parent))
    if task == "versions":
        versions()
    elif task == "dp":
        dp(rest)
    else:
        serve()


if __name__ == "__main__":
    main()
