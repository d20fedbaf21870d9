"""Documents as bytes: BSON, plain or compressed, behind one byte that says which."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import bson
from bson.errors import BSONError

from magflow.errors import StoreError

_PLAIN, _ZLIB = b"\x00", b"\x01"


def pack(doc: Mapping[str, Any], compress: bool, where: str) -> bytes:
    """The document as bytes.

    Raises
    ------
    StoreError
        If BSON cannot hold it (an integer beyond 64 bits, a key with a NUL, a lone surrogate).
    """
    try:
        blob = bson.encode(doc)
    except (BSONError, OverflowError, ValueError, TypeError, AttributeError) as error:
        raise StoreError("a document cannot be stored", where=where, seen=str(error)) from error
    return _ZLIB + zlib.compress(blob, 1) if compress else _PLAIN + blob


def unpack(blob: bytes, where: str) -> dict[str, Any]:
    """Inverse of :func:`pack`.

    Raises
    ------
    StoreError
        If the bytes are damaged.
    """
    try:
        return bson.decode(zlib.decompress(blob[1:]) if blob[:1] == _ZLIB else blob[1:])
    except (BSONError, zlib.error) as error:
        raise StoreError("a document of the store is damaged", where=where, seen=str(error)) from error
