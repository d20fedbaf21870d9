"""Arrays as text: one compact, pickle-free form that any document store and JSON can hold.

Base64 of the zlib stream of: the length of a head (4 bytes, little endian); the head, JSON that gives type and shape
of each array by name; the bytes of the arrays in that order, C order, little endian. (The members of an ``.npz`` have
headers of their own, which are most of it for a label of a few atoms.)
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from magflow.errors import StoreError

DAMAGE = (
    *(OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError),
    *(RuntimeError, SyntaxError, zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
)
"""What reading a damaged file of arrays or of JSON may raise: which of them is a matter of the byte that is wrong."""

_KINDS = "?biufcSU"  # numbers, booleans and fixed-width strings: nothing that runs code when it is read
_LENGTH = struct.Struct("<I")
_LEVEL = 3  # random digits compress no better at higher levels
_NPZ = b"PK"


def read_archive(file: bytes | Path) -> dict[str, Any]:
    """The arrays of an ``.npz``. What is wrong with it is one of :data:`DAMAGE`; nothing is unpickled."""
    with np.load(io.BytesIO(file) if isinstance(file, bytes) else file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    if others := [name for name, found in arrays.items() if not isinstance(found, np.ndarray)]:
        raise ValueError(f"no array: {', '.join(others)}")
    return arrays


def encode_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """`arrays` (numbers, booleans and fixed-width strings) as text.

    Raises
    ------
    ValueError
        If an array holds anything else.
    """
    head: dict[str, tuple[str, tuple[int, ...]]] = {}
    parts = []
    for name, given in arrays.items():
        array = np.asarray(given)
        array = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        if array.dtype.kind not in _KINDS:
            raise ValueError(f"the array {name} holds {array.dtype}, not numbers, booleans or text")
        head[name] = (array.dtype.str, array.shape)
        parts.append(array.tobytes())
    text = json.dumps(head).encode()
    return base64.b64encode(zlib.compress(b"".join([_LENGTH.pack(len(text)), text, *parts]), _LEVEL)).decode("ascii")


def decode_arrays(text: str) -> dict[str, np.ndarray]:
    """Inverse of :func:`encode_arrays`; reads base64 of an ``.npz`` too, as the first campaigns stored it.

    Raises
    ------
    StoreError
        If the text is damaged or holds anything but plain arrays.
    """
    try:
        raw = base64.b64decode(text, validate=True)
        if raw.startswith(_NPZ):
            return read_archive(raw)
        return _read(zlib.decompress(raw))
    except DAMAGE as error:
        raise StoreError("an array blob is damaged", seen=f"{len(text)} characters: {error}") from error


def _read(data: bytes) -> dict[str, np.ndarray]:
    at = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    arrays = {}
    for name, (kind, shape) in json.loads(data[_LENGTH.size : at]).items():
        dtype, count = np.dtype(kind), int(np.prod(shape, dtype=np.int64))
        if dtype.kind not in _KINDS:
            raise ValueError(f"an array of {dtype}")
        size = count * dtype.itemsize
        if size > len(data) - at or count < 0:
            raise ValueError("cut short")
        found = np.frombuffer(data, dtype, count, at) if size else np.zeros(count, dtype)
        arrays[name] = found.reshape(shape).copy()
        at += size
    if at != len(data):
        raise ValueError("more bytes than the head tells of")
    return arrays


def digest(parts: Iterable[bytes], length: int = 24) -> str:
    """Hex SHA-256 of `parts`, each prefixed with its length, cut to `length` characters (4 bits each)."""
    h = hashlib.sha256()
    for part in parts:
        h.update(len(part).to_bytes(8, "little"))
        h.update(part)
    return h.hexdigest()[:length]
