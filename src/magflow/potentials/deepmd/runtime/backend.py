"""The side of the DeePMD families that runs beside deepmd-kit (:mod:`magflow.potentials.outside.launch`)."""

from __future__ import annotations

import importlib
import io
import json
import tempfile
from copy import deepcopy
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


def describe(request: dict[str, np.ndarray]) -> dict[str, Any]:
    """``model_params`` of a checkpoint, whose optimiser and program are not looked at."""
    _prepare()
    return {"model": json.dumps(_weights(request["checkpoint"])["_extra_state"]["model_params"])}


def adapt(request: dict[str, np.ndarray]) -> dict[str, Any]:
    """The parameters of ``branch`` of a checkpoint as those of the ``section`` model of an input.

    Its elements may be fewer and in another order. It may read moments that the checkpoint knows nothing of: their
    parameters begin as those of a new model do.
    """
    _prepare()
    import torch
    from deepmd.pt.model.model import get_model

    weights, wanted = _weights(request["checkpoint"]), json.loads(str(request["section"]))
    params, prefix = weights["_extra_state"]["model_params"], f"model.{str(request['branch']) or 'Default'}."
    params = params.get("model_dict", {}).get(str(request["branch"]), params)
    source, target = get_model(deepcopy(params)), get_model(deepcopy(wanted))
    source.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
    if params["type_map"] != wanted["type_map"]:
        source.change_type_map(wanted["type_map"])
    missing, unexpected = target.load_state_dict(source.state_dict(), strict=False)
    if other := [name for name in (*missing, *unexpected) if "spin" not in name]:
        raise ValueError(f"parameters differ: {', '.join(other[:3])}")
    state: dict[str, Any] = {f"model.Default.{name}": value for name, value in target.state_dict().items()}
    state["_extra_state"] = {"model_params": wanted, "train_infos": {"lr": 0, "step": 0}}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return {"checkpoint": np.frombuffer(buffer.getvalue(), dtype=np.uint8)}


def _weights(checkpoint: np.ndarray) -> dict[str, Any]:
    """Parameters by name, and ``_extra_state``; no code of the file is run."""
    import torch

    state = torch.load(io.BytesIO(checkpoint.tobytes()), map_location="cpu", weights_only=True)
    found: dict[str, Any] = state.get("model", state)
    return found


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
