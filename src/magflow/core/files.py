"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from magflow.errors import StoreError


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` in one step that survives a kill and a power cut; missing directories are made.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise StoreError(f"cannot write a file: {error.strerror}", where=str(path)) from error
    finally:
        if partial.is_file():
            partial.unlink(missing_ok=True)
