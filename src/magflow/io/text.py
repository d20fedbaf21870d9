"""Text files: plain or gzip, with or without a byte order mark; read as a stream, written whole or not at all."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from magflow.core.files import replace_file
from magflow.errors import InputError, StoreError

_GZIP = b"\x1f\x8b"


def read_lines(path: str | Path, what: str) -> Iterator[str]:
    """Lines of a UTF-8 text file without their ends, one after the other.

    Raises
    ------
    InputError
        If it is absent, a directory, unreadable or not text.
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP
            raw.seek(0)
            with gzip.open(raw) if packed else raw as data:
                for line in io.TextIOWrapper(data, encoding="utf-8-sig"):
                    yield line.rstrip("\n")
    except FileNotFoundError as error:
        raise InputError("no such file", where=str(path), expected=what) from error
    except IsADirectoryError as error:
        raise InputError("the file cannot be read: it is a folder", where=str(path), expected=what) from error
    except UnicodeDecodeError as error:
        raise InputError("the file is not text", where=str(path), expected=what) from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"the file cannot be read: {error}", where=str(path), expected=what) from error


def read_text(path: str | Path, what: str) -> str:
    """Contents of a UTF-8 text file, lines ended by line feeds; errors as in :func:`read_lines`."""
    return "".join(line + "\n" for line in read_lines(path, what))


def write_text(path: str | Path, parts: str | Iterable[str]) -> int:
    """Write `parts` to `path` in one step: an interrupted write leaves no half file. Returns how many parts.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    count = 0

    def encoded() -> Iterator[bytes]:
        nonlocal count
        for part in [parts] if isinstance(parts, str) else parts:
            count += 1
            yield part.encode()

    try:
        replace_file(Path(path), encoded())
    except StoreError as error:
        raise InputError(error.message, where=error.where, expected="a writable place") from error
    return count
