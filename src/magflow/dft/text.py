"""Text that programs leave behind, in bounded memory: a code in trouble writes gigabytes, or no ends of lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from magflow.dft.runs import TruncatedOutputError

_LONGEST = 65_536


def lines(path: Path) -> Iterator[str]:
    """The lines of a text file, without their ends; one that is too long comes in pieces.

    Raises
    ------
    TruncatedOutputError
        If there is no such file, it is none (a pipe would be waited for), or it cannot be read.
    """
    require_file(path)
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            while line := file.readline(_LONGEST):
                yield line.rstrip("\n")
    except OSError as error:
        raise TruncatedOutputError(f"{path.name} cannot be read: {error.strerror}") from error


def require_file(path: Path) -> None:
    """Raise TruncatedOutputError unless `path` is a file."""
    try:
        found = path.is_file()
    except OSError:  # links in a circle
        found = False
    if not found:
        raise TruncatedOutputError(f"there is no {path.name}")
