"""The compiled kernel, or a clear error when it was not built."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType

from magflow.errors import MissingToolError


@cache
def kernel() -> ModuleType:
    """The extension module ``_kernel``.

    Raises
    ------
    MissingToolError
        If the extension is not built or does not load.
    """
    try:
        return import_module("magflow.potentials.mmtp._kernel")
    except ImportError as error:
        raise MissingToolError(
            f"the compiled mMTP kernel does not load: {error}",
            where="magflow.potentials.mmtp",
            hint="install magflow with a C++17 compiler present: pip install .",
        ) from error
