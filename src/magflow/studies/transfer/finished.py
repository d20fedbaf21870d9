"""What a transfer keeps of its finished parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from magflow.errors import InputError


def read_finished(path: Path) -> dict[str, Any]:
    """A finished part.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError("a finished part cannot be read", where=str(path), hint="remove it") from error
