"""Old module paths that others import: FireWorks and jobflow when they decode, ``python -m`` lines in scripts.

What magflow decodes itself goes through :func:`magflow.core.moved.renamed`. FireWorks' loader of tasks, jobflow's
resolution of references, jobflow-remote's runner and the scripts that an older magflow has left in the hands of a
queueing system do not. They all import by path, so :func:`install` adds a finder that is asked only for
modules of magflow that are not there, and answers with what :data:`~magflow.core.moved.MOVED` says of them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, ModuleType
from typing import Any, cast

from magflow.core.moved import MOVED, where_now


class MovedFinder(MetaPathFinder):
    """Finds modules that have moved as a whole, and gone ones whose names or submodules have."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module that was called `fullname` in an older magflow."""
        module, _ = where_now(fullname)
        if module != fullname:
            there = find_spec(module)
            return None if there is None else ModuleSpec(fullname, _Moved(module), origin=there.origin)
        if any(old.startswith((f"{fullname}:", f"{fullname}.")) for old in MOVED):
            return ModuleSpec(fullname, _Scattered(), is_package=True)
        return None


class _Moved(InspectLoader):
    """Gives the module itself, under its old name: its classes are not made twice."""

    def __init__(self, module: str) -> None:
        self.module = module

    def exec_module(self, module: ModuleType) -> None:
        """Put the module where it is now in the place of `module`."""
        sys.modules[module.__name__] = import_module(self.module)

    def get_code(self, fullname: str) -> CodeType | None:
        """What ``python -m`` runs."""
        return self._loader().get_code(self.module)

    def get_source(self, fullname: str) -> str | None:
        """Source text of the module where it is now."""
        return self._loader().get_source(self.module)

    def _loader(self) -> InspectLoader:
        spec = find_spec(self.module)
        return cast("InspectLoader", spec and spec.loader)


class _Scattered(InspectLoader):
    """A module that is gone, and whose names, or submodules if it was a package, are elsewhere now."""

    def exec_module(self, module: ModuleType) -> None:
        """Look names up when they are asked for."""

        def find(name: str) -> Any:
            new, there = where_now(module.__name__, name)
            if new == module.__name__:
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            return getattr(import_module(new), there)

        vars(module)["__getattr__"] = find

    def get_source(self, fullname: str) -> str | None:
        """None: there is none."""
        return None


def install() -> None:
    """Add the finder, once, after all others."""
    if not any(isinstance(finder, MovedFinder) for finder in sys.meta_path):
        sys.meta_path.append(MovedFinder())
