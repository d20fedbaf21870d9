"""vesin's list of neighbours, without PyTorch.

Where PyTorch is installed, ``import vesin`` imports it, so as to take tensors: two seconds of CPU time in each process.
magflow hands over arrays of numpy alone. It loads a vesin of its own that does not see PyTorch, and leaves none behind:
whoever imports vesin gets the whole of it. Both stand on one C library.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vesin import NeighborList

__all__ = ["NeighborList"]


def _load() -> Any:
    hide = not {"vesin", "torch"} & set(sys.modules)  # else the time is spent already
    if hide:
        sys.modules["torch"] = None  # type: ignore[assignment]  # so does Python note what cannot be imported
    try:
        return import_module("vesin").NeighborList
    finally:
        if hide:
            for name in ["torch", *(name for name in sys.modules if name.partition(".")[0] == "vesin")]:
                del sys.modules[name]


if not TYPE_CHECKING:
    NeighborList = _load()
