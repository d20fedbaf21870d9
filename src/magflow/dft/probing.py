"""One look each at what the engine of a code needs; none of them raises."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from shutil import which

from magflow.core.protocols import Probe
from magflow.errors import MagflowError
from magflow.settings import SETTINGS_FILE


def looked_at(name: str, look: Callable[[], str], hint: str) -> Probe:
    """What `look` says, or the error it meets; `hint` is for one that has none."""
    try:
        return Probe(name, True, look())
    except (MagflowError, OSError, ValueError, IndexError) as error:
        own = error.hint if isinstance(error, MagflowError) else None
        return Probe(name, False, str(error).removesuffix(f"; hint: {own}"), own or hint)


def on_path(name: str, command: str, hint: str) -> Probe:
    """Whether the program of `command` is there."""
    path = which(command.split()[0])
    return Probe(name, path is not None, path or f"no {command}", "" if path else hint)


def writable(name: str, folder: Path) -> Probe:
    """Whether `folder` can be written, or made in the nearest folder that exists."""
    folder = folder.expanduser()
    there = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    try:
        with tempfile.TemporaryFile(dir=there):
            return Probe(name, True, str(folder))
    except OSError as error:
        return Probe(name, False, f"{folder}: {error}", f"name a folder that can be written in {SETTINGS_FILE}")
