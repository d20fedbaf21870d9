"""What a file or folder of labels holds, as a hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

from magflow.core.arrays import digest
from magflow.errors import InputError


def content_digest(path: Path) -> str:
    """24 hex digits of the bytes of a file, or of the names and bytes of all files in a folder.

    Raises
    ------
    InputError
        If it is absent or cannot be read.
    """
    try:
        if not path.is_dir():
            return digest([_bytes(path)])
        files = sorted(p for p in path.rglob("*") if p.is_file())
        return digest([part for p in files for part in (p.relative_to(path).as_posix().encode(), _bytes(p))])
    except FileNotFoundError as error:
        raise InputError("no such file or folder", where=str(path)) from error
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}", where=str(path)) from error


def _bytes(path: Path) -> bytes:
    """A hash of the content, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
