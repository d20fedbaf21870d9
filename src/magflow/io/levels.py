"""Levels of theory as one line of JSON, for formats that have no place of their own for them."""

from __future__ import annotations

import json
from functools import lru_cache

from magflow.core.label import LevelOfTheory
from magflow.errors import InputError
from magflow.io.records import UNSPECIFIED


@lru_cache(maxsize=256)
def level_text(level: LevelOfTheory) -> str:
    """`level` as JSON without spaces; empty for one that a file did not name."""
    nameless = level.code == UNSPECIFIED and not level.parameters
    return "" if nameless else json.dumps(level.as_dict(), sort_keys=True, separators=(",", ":"))


@lru_cache(maxsize=256)
def level_from_text(text: str | None) -> LevelOfTheory | None:
    """Inverse of :func:`level_text`; None without a text.

    Raises
    ------
    InputError
        If the text is damaged.
    """
    if not text:
        return None
    try:
        return LevelOfTheory.from_dict(json.loads(text))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise InputError(f"the level of theory is malformed: {error}", seen=str(text)[:80]) from error
