"""Arrays as text: one compact, pickle-free form that any document store and JSON can hold."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping

import numpy as np

from magflow.errors import StoreError


def encode_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """Base64 of a compressed ``.npz`` holding `arrays` (numbers, booleans and fixed-width strings)."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **dict(arrays))
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def decode_arrays(text: str) -> dict[str, np.ndarray]:
    """Inverse of :func:`encode_arrays`.

    Raises
    ------
    StoreError
        If the text is damaged or holds anything but plain arrays.
    """
    try:
        with np.load(io.BytesIO(base64.b64decode(text, validate=True)), allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (ValueError, OSError, EOFError, binascii.Error, zipfile.BadZipFile, KeyError) as error:
        raise StoreError("an array blob is damaged", seen=f"{len(text)} characters: {error}") from error


def digest(parts: Iterable[bytes], length: int = 24) -> str:
    """Hex SHA-256 of `parts`, each prefixed with its length, cut to `length` characters (4 bits each)."""
    h = hashlib.sha256()
    for part in parts:
        h.update(len(part).to_bytes(8, "little"))
        h.update(part)
    return h.hexdigest()[:length]
