"""Engines, families, properties, studies and back ends by name, through entry points: no ladder of names anywhere."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from magflow.errors import InputError, MissingToolError

BACKENDS = "magflow.backends"
LABEL_ENGINES = "magflow.label_engines"
LABEL_SOURCES = "magflow.label_sources"
POTENTIAL_FAMILIES = "magflow.potential_families"
PROPERTIES = "magflow.properties"
STUDIES = "magflow.studies"


@cache
def _found(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in sorted(entry_points(group=group), key=lambda e: e.name)}


def names(group: str) -> list[str]:
    """Registered names of one group, sorted; nothing is imported."""
    return list(_found(group))


def load(group: str, name: str) -> Any:
    """The class registered as `name`.

    Raises
    ------
    InputError
        If nobody registered that name.
    MissingToolError
        If its package is there but does not import.
    """
    entry = _found(group).get(name)
    if entry is None:
        near = difflib.get_close_matches(name, names(group), n=1)
        raise InputError(
            f"unknown name in {group}",
            seen=name,
            expected="one of " + ", ".join(names(group)),
            hint=f"did you mean {near[0]}?" if near else None,
        )
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise MissingToolError(f"{name} does not import: {error}", where=entry.value) from error
