"""Files that are there whole or not at all: the one way in which magflow writes what it or a person reads again.

Files that only grow are cut back to what was on disk when somebody last took note of their size.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from magflow.core.locks import take_lock
from magflow.errors import InputError, StoreError


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
    with _finished(path, data, mode) as partial:
        partial.replace(path)


def create_file(path: Path, data: bytes) -> None:
    """As :func:`replace_file`, where there is no file yet.

    Raises
    ------
    InputError
        If the name, or that of its directory, is taken by another file.
    StoreError
        If it cannot be written.
    """
    try:
        with _finished(path, data, 0o666) as partial:
            path.hardlink_to(partial)  # a rename would replace
    except StoreError as error:
        if isinstance(error.__cause__, FileExistsError):
            taken = path if path.exists() else path.parent
            raise InputError("this name is taken already", where=str(taken), hint="name another directory") from error
        raise


@contextmanager
def held(directory: Path, work: str) -> Iterator[None]:
    """Be the only process that does `work` in `directory`, which is made; a kill lets go of it.

    Raises
    ------
    StoreError
        If another process does it, or the directory cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = (directory / "lock").open("w")
    except OSError as error:
        raise StoreError(f"cannot write: {error.strerror}", where=str(directory)) from error
    with file:
        try:
            taken = take_lock(file)
        except OSError:  # a file system without locks
            taken = True
        if not taken:
            raise StoreError(f"another process runs {work}", where=str(directory))
        yield


def is_listed(path: Path) -> bool:
    """Whether there is a file of this name, by the list of its directory, which must exist.

    An NFS client that has asked for a name in vain goes on for half a minute saying that it is not there, whoever makes
    the file meanwhile; a directory that is opened it looks at anew.
    """
    return any(entry.name == path.name for entry in os.scandir(path.parent))


def append_to_file(path: Path, data: bytes) -> None:
    """Add `data` to a file that grows; it may be lost, or be there in part, until :func:`size_on_disk` has returned.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    try:
        with path.open("ab") as file:
            file.write(data)
    except OSError as error:
        raise StoreError(f"cannot write: {error.strerror}", where=str(path)) from error


def size_on_disk(path: Path) -> int:
    """Bytes of a file, once they would survive a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def cut_file(path: Path, size: int) -> None:
    """Leave the first `size` bytes of a file that grew.

    Raises
    ------
    InputError
        If it is not there or shorter.
    """
    if not path.is_file() or path.stat().st_size < size:
        raise InputError("a file of the run has lost its end", where=str(path))
    os.truncate(path, size)


def install_directory(prepared: Path, directory: Path) -> None:
    """Give the finished directory `prepared` its name: who finds the name finds all its files, after a power cut too.

    Raises
    ------
    OSError
        If that is impossible, or the name is taken.
    """
    for path in prepared.rglob("*"):
        if path.is_dir():
            _to_disk(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    _to_disk(prepared)
    prepared.rename(directory)
    _to_disk(directory.parent)


@contextmanager
def _finished(path: Path, data: bytes | Iterable[bytes], mode: int) -> Iterator[Path]:
    """A file beside `path` that holds `data`, on disk; what is done to it is on disk when the block has ended."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        _make_directory(path.parent)
        try:
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.writelines((data,) if isinstance(data, bytes) else data)
                file.flush()
                os.fsync(file.fileno())
            yield partial
        finally:
            partial.unlink(missing_ok=True)
        _to_disk(path.parent)
    except OSError as error:
        raise StoreError(f"cannot write a file: {error.strerror}", where=str(path)) from error


def _make_directory(directory: Path) -> None:
    new = [d for d in (directory, *directory.parents) if not d.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for made in new:
        _to_disk(made.parent)


def _to_disk(directory: Path) -> None:
    """A name in a directory, new or changed, outlives a power cut only once the directory itself is on disk."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some network file systems cannot do it for a directory, and need not
            os.fsync(handle)
    finally:
        os.close(handle)
