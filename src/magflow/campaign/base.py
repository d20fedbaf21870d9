"""What every section of a campaign file shares, and how a plug-in's settings become part of the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

from magflow.core import plugins
from magflow.errors import InputError


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values are finite, nothing changes after reading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True, defer_build=True
    )


def problem(expected: str, *, seen: Any = None, hint: str | None = None) -> PydanticCustomError:
    """The error a validator raises: what would have been accepted, what was seen (default: the value), what to do."""
    context = {"expected": expected, "seen": seen, "hint": hint}
    return PydanticCustomError("campaign", "expected {expected}", {k: v for k, v in context.items() if v is not None})


def known_plugin(group: str, name: str) -> str:
    """`name` if somebody registered it in `group`.

    Raises
    ------
    PydanticCustomError
        Otherwise, with the nearest name.
    """
    try:
        plugins.load(group, name)
    except InputError as error:
        raise problem(error.expected or "a registered name", hint=error.hint) from error
    return name


def plugin_settings(group: str, name: str | None, settings: Any) -> Any:
    """`settings` validated by the plug-in's own model, with JSON's strict types.

    pydantic adds the place of the field to the errors of the inner model. Without a valid `name` the settings
    are handed back unread: the file has a graver error.
    """
    if name is None:
        return settings
    model = plugins.load(group, name)
    if isinstance(settings, model):
        return settings
    if not isinstance(settings, dict):
        raise problem(f"a mapping of the settings of {name}")
    return model.model_validate_json(json.dumps(settings), strict=True)


def map_paths(value: Any, change: Callable[[Path], Any]) -> Any:
    """`value` with every Path in it replaced by ``change(path)``; models, mappings, tuples and lists are descended."""
    if isinstance(value, Path):
        return change(value)
    if isinstance(value, BaseModel):
        new = {name: map_paths(getattr(value, name), change) for name in type(value).model_fields}
        changed = {name: new[name] for name in new if new[name] != getattr(value, name)}
        return value.model_copy(update=changed) if changed else value
    if isinstance(value, dict):
        return {key: map_paths(inner, change) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(map_paths(inner, change) for inner in value)
    return value
