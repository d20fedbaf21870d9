"""vesin's list of neighbours, without PyTorch.

Where PyTorch is installed, ``import vesin`` imports it, so as to take tensors: two seconds of CPU time in each process.
magflow hands over arrays of numpy alone. It loads a vesin of its own that does not find PyTorch, and leaves none
behind: whoever imports vesin gets the whole of it. Both stand on one C library.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from threading import get_ident
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vesin import NeighborList

__all__ = ["NeighborList"]


class _NoTorch(MetaPathFinder):
    """Says, to the thread that made it alone, that there is no PyTorch."""

    def __init__(self) -> None:
        self.thread = get_ident()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """None, so that others are asked, for everything else."""
        if name == "torch" and get_ident() == self.thread:
            raise ModuleNotFoundError("vesin is loaded without torch", name=name)


def _load() -> Any:
    if {"vesin", "torch"} & set(sys.modules):  # the time is spent already
        return import_module("vesin").NeighborList
    sys.meta_path.insert(0, finder := _NoTorch())
    try:
        return import_module("vesin").NeighborList
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] == "vesin"]:
            del sys.modules[name]


if not TYPE_CHECKING:
    NeighborList = _load()
