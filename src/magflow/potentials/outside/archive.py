"""A network as one ``.npz``: a definition of plain numbers, its parameters as arrays and their SHA-256; no pickle."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from magflow.core.arrays import DAMAGE
from magflow.core.versions import Mark
from magflow.errors import InputError

PARAMETER = "parameter:"
"""Start of the names of parameters in a model's file."""

Network = tuple[dict[str, Any], dict[str, np.ndarray]]
"""Definition and parameters."""


def arrays_of(definition: Mapping[str, Any], parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a network, as a backend loads them."""
    named = {f"{PARAMETER}{name}": values for name, values in parameters.items()}
    return {"definition": np.array(json.dumps(dict(definition), sort_keys=True)), **named}


def key_of(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the content."""
    parts = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        parts.update(f"{name} {values.dtype} {values.shape}".encode())
        parts.update(np.ascontiguousarray(values).tobytes())
    return parts.hexdigest()


def to_bytes(mark: Mark, family: str, arrays: Mapping[str, np.ndarray]) -> bytes:
    """The file of the network with these :func:`arrays_of`."""
    header = {"format": str(mark), "family": family, "sha256": key_of(arrays)}
    buffer = io.BytesIO()
    head = np.array(json.dumps(header, sort_keys=True))
    np.savez(buffer, allow_pickle=False, header=head, **arrays)
    return buffer.getvalue()


def from_bytes(mark: Mark, data: bytes, *, family: str, what: str) -> Network:
    """Inverse of :func:`to_bytes`.

    Parameters
    ----------
    what
        The kind of model, in messages.

    Raises
    ------
    InputError
        If the bytes are damaged, or hold a model of another family.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            header = mark.upgraded(json.loads(str(archive["header"])))
            definition = json.loads(str(archive["definition"]))
            named = [name for name in archive.files if name.startswith(PARAMETER)]
            parameters = {name.removeprefix(PARAMETER): archive[name] for name in named}
        found = str(header["family"])
        whole = header["sha256"] == key_of(arrays_of(definition, parameters)) and bool(definition["species"])
    except DAMAGE as error:
        raise InputError(f"not a {what} model", seen=f"{len(data)} bytes: {error}") from error
    if not whole:
        raise InputError(f"the {what} model is damaged", seen=f"{len(data)} bytes")
    if found != family:
        raise InputError("the model is of another family", seen=found, expected=family)
    return definition, parameters
