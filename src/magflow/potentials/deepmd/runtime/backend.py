"""The side of the DeePMD families that runs beside deepmd-kit (:mod:`magflow.potentials.outside.launch`)."""

from __future__ import annotations

import importlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np


def versions() -> dict[str, str]:
    """Versions of what is installed, having imported what a training imports."""
    found = _prepare()
    importlib.import_module("deepmd.pt.entrypoints.main")
    return found


def _prepare() -> dict[str, str]:
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


def train(arguments: list[str]) -> None:
    """Run deepmd-kit's command line."""
    _prepare()
    from deepmd.main import main

    main(arguments)


def slim(request: dict[str, np.ndarray]) -> dict[str, Any]:
    """The weights of the checkpoint at ``path``, without the state of its optimiser, and what runs here."""
    found = _prepare()
    import torch

    state = torch.load(str(request["path"]), map_location="cpu", weights_only=True)
    buffer = io.BytesIO()
    torch.save(state["model"], buffer)
    return {"checkpoint": np.frombuffer(buffer.getvalue(), dtype=np.uint8), "versions": json.dumps(found)}


def load(arrays: dict[str, np.ndarray]) -> Any:
    """The model of the bytes ``checkpoint``; deepmd-kit reads weights only and runs no code of them."""
    _prepare()
    from deepmd.infer import DeepPot

    with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        file.write(arrays["checkpoint"].tobytes())
        file.flush()
        # Compiling by torch.jit takes seconds per model and batch shape and makes nothing faster here.
        return DeepPot(file.name, auto_batch_size=False, no_jit=True)


def evaluate(model: Any, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Energy (n,), force (n, N, 3), virial (n, 3, 3) and, of a spin model, force_mag (n, N, 3) of n frames.

    All frames share ``types`` (N,); ``coord`` (n, N, 3), ``cell`` (n, 3, 3) and ``spin`` (n, N, 3) differ.
    """
    spin = {"spin": arrays["spin"]} if "spin" in arrays else {}
    found = model.eval(arrays["coord"], arrays["cell"], arrays["types"], atomic=False, **spin)
    n, atoms = arrays["coord"].shape[:2]
    shapes = {"energy": (n,), "force": (n, atoms, 3), "virial": (n, 3, 3)}
    if spin:
        shapes["force_mag"] = (n, atoms, 3)
    pairs = zip(shapes.items(), found, strict=False)  # the mask of atoms that carry spins comes last
    return {quantity: np.reshape(values, shape).astype(float) for (quantity, shape), values in pairs}
