"""Modules under the names by which files and databases still call them.

Tasks on a LaunchPad, queue adapters that `magflow cluster init` wrote and projects of jobflow-remote name modules as
they were called when they were written. FireWorks and ``python -m`` import them by those names; here they find them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import InspectLoader, Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, ModuleType

from magflow.core.moved import MOVED


class FormerNames(MetaPathFinder, Loader):
    """Finds a module under a former name, if no module has that name now."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module that :data:`~magflow.core.moved.MOVED` tells of."""
        return ModuleSpec(fullname, self, origin=_now(fullname)) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        """Put the module itself in the place of `module`: its classes are not made twice."""
        sys.modules[module.__name__] = import_module(_now(module.__name__))

    def get_code(self, fullname: str) -> CodeType | None:
        """What ``python -m`` runs."""
        now = _now(fullname)
        spec = find_spec(now)
        return spec.loader.get_code(now) if spec and isinstance(spec.loader, InspectLoader) else None


def install() -> None:
    """Let imports look here last."""
    if not any(isinstance(finder, FormerNames) for finder in sys.meta_path):
        sys.meta_path.append(FormerNames())


def _now(name: str) -> str:
    """Today's name of a module, however often it has moved."""
    while name in MOVED:
        name = MOVED[name]
    return name
