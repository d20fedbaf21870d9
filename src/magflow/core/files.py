"""Files that are there whole or not at all: the one way in which magflow writes what it or a person reads again."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from magflow.errors import StoreError


def replace_file(path: Path, data: bytes | Iterable[bytes], *, mode: int = 0o666) -> None:
    """Write `data` to `path` in one step that survives a kill and a power cut; missing directories are made.

    A reader meets the file as it was or as it will be. When the call has returned, the file and its name are on disk.

    Parameters
    ----------
    data
        The content, whole or in parts that are made while they are written.
    mode
        Permissions, less what the umask takes away; 0o600 for what nobody else may read.

    Raises
    ------
    StoreError
        If it cannot be written; the file is then as it was.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        _make_directory(path.parent)
        try:
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.writelines((data,) if isinstance(data, bytes) else data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _to_disk(path.parent)
    except OSError as error:
        raise StoreError(f"cannot write a file: {error.strerror}", where=str(path)) from error


def _make_directory(directory: Path) -> None:
    new = [d for d in (directory, *directory.parents) if not d.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for made in new:
        _to_disk(made.parent)


def _to_disk(directory: Path) -> None:
    """A name in `directory`, new or changed, outlives a power cut only once the directory itself is on disk."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some network file systems cannot do it for a directory, and need not
            os.fsync(handle)
    finally:
        os.close(handle)
