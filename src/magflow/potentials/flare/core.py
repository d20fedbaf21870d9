"""The wheel mir-flare-core, where it is installed."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from magflow.core.protocols import Probe
from magflow.errors import MissingToolError

WHEEL = "mir-flare-core"
HINT = "`make flare` builds and installs it"


def core() -> Any:
    """Its module of environments.

    Raises
    ------
    MissingToolError
        If it is not installed, or does not load.
    """
    try:
        return import_module("mir_flare_core._environments")
    except ModuleNotFoundError as error:
        raise MissingToolError(
            f"the family flare needs the wheel {WHEEL}, which is not installed", seen=error.name, hint=HINT
        ) from error
    except ImportError as error:
        raise MissingToolError(f"the wheel {WHEEL} does not load", seen=str(error), hint=HINT) from error


def probe() -> Probe:
    """Whether it is there; never raises."""
    try:
        core()
        return Probe(WHEEL, True, version(WHEEL))
    except PackageNotFoundError:
        return Probe(WHEEL, True, "of no version")
    except MissingToolError as error:
        return Probe(WHEEL, False, error.message, HINT)
