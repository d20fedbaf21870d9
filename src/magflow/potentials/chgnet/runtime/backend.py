"""The side of the family ``chgnet`` that runs beside chgnet (:mod:`magflow.potentials.outside.launch`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from network import graphs, network, published, said

SUPPORTED = "0.4."
"""Releases whose modules are known here."""
LEAST_TORCH = (2, 6)
"""The first PyTorch whose ``torch.load(weights_only=True)`` runs nothing from a file."""
_PARAMETER = "parameter:"


def versions(*needs: str) -> dict[str, str]:
    """Versions of what is installed."""
    found = {"chgnet": version("chgnet"), "torch": torch.__version__}
    if not found["chgnet"].startswith(SUPPORTED):
        sys.exit(f"chgnet {found['chgnet']} is installed, {SUPPORTED}* is needed")
    if tuple(int(n) for n in torch.__version__.split(".")[:2]) < LEAST_TORCH:
        sys.exit(f"torch {found['torch']} is installed, {'.'.join(map(str, LEAST_TORCH))} or later is needed")
    return found


def pretrained(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Arguments and parameters of the ``weights`` of that name."""
    arguments, parameters = published(str(arrays["weights"]))
    named = {f"{_PARAMETER}{name}": values for name, values in parameters.items()}
    return {"arguments": np.array(json.dumps(arguments)), **named}


def finetune(arguments: list[str]) -> None:
    """Tune a network in the current directory, as a file there says."""
    from finetune import run

    Path("versions.json").write_text(json.dumps(versions()))
    run(arguments)


def load(arrays: Mapping[str, np.ndarray]) -> Any:
    """The network of a definition and its parameters."""
    named = {k.removeprefix(_PARAMETER): v for k, v in arrays.items() if k.startswith(_PARAMETER)}
    return network(json.loads(str(arrays["definition"])), named).eval().requires_grad_(False)


def evaluate(model: Any, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Energy (n,), forces (sum N, 3), stress (n, 3, 3)."""
    found = said(model, graphs(model, arrays))
    return {name: getattr(found, name).detach().double().numpy() for name in ("energy", "forces", "stress")}


def products(model: Any, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """``products`` (k, N, 4): the Hessian of the energy of one frame times each of ``vectors`` (k, N, 4)."""
    vectors = torch.as_tensor(arrays.pop("vectors"))
    found = torch.zeros_like(vectors)
    if len(vectors):
        slopes = said(model, graphs(model, arrays), again=True)
        for k, vector in enumerate(vectors):
            found[k, :, :3] = slopes.times(vector)
    return {"products": found.numpy()}
