"""Prints docs/campaign-file.md: every key of a campaign file, from the models that validate it."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from magflow.campaign.schema import CampaignSpec
from magflow.core import plugins
from page_text import escaped, filled

HEAD = """# The campaign file

One YAML file says what the potential is for, how good it has to be, and how it is to be made. `magflow init` writes a
commented one, `magflow check FILE` explains every error as `FILE:LINE key: seen, expected, hint`, `magflow schema`
prints a JSON schema for editors. Unknown keys are refused.

A campaign's directory keeps a copy of its file. Run it again with a larger budget (`stop.labels`, `stop.core_hours`,
`stop.iterations`) or another `execution` section and it goes on; anything else makes it another campaign, which needs
another directory.

(This page is printed by `scripts/campaign_reference.py`; a test keeps the two equal.)
"""


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Pydantic models within an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation is not BaseModel:
        yield annotation
    for part in typing.get_args(annotation):
        yield from models_in(part)


def kind(annotation: Any) -> str:
    """An annotation in a few words."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " / ".join(f"`{member.value}`" for member in annotation)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return kind(args[0])
    if origin is typing.Literal:
        return " / ".join(f"`{a}`" for a in args)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(kind(a) for a in args if a is not type(None)))
    if origin in (tuple, list):
        return "list of " + kind(args[0]) if args[-1] is Ellipsis or len(args) == 1 else f"list of {len(args)}"
    if origin is dict:
        return "mapping"
    names = {float: "number", int: "whole number", str: "text", bool: "true / false", Path: "path"}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return names.get(annotation, "any")


def default(field: Any) -> str:
    """The default of a field as it would be written."""
    if field.is_required():
        return "**required**"
    value = field.default if field.default is not PydanticUndefined else None
    if field.default_factory is not None or isinstance(value, BaseModel):
        return ""
    value = value.value if isinstance(value, Enum) else value
    if isinstance(value, tuple):
        value = [v.value if isinstance(v, Enum) else v for v in value]
    return "" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def rows(model: type[BaseModel], path: str) -> Iterator[tuple[str, str, str, str]]:
    """One row per key below `path`, sections opened."""
    for name, field in model.model_fields.items():
        here = f"{path}.{name}" if path else name
        text = (field.description or "").replace("\n", " ")
        yield here, kind(field.annotation), default(field), text
        repeated = typing.get_origin(field.annotation) in (tuple, list)
        for inner in dict.fromkeys(models_in(field.annotation)):
            yield from rows(inner, here + "[]" if repeated else here)


def keys(model: type[BaseModel], path: str = "") -> str:
    """A Markdown list of all keys."""
    return "\n".join(_item(*row) for row in rows(model, path))


def _item(key: str, value: str, standard: str, meaning: str) -> str:
    about = f"{value}; {standard if standard.startswith('**') else f'default {standard}'}" if standard else value
    text = f"- `{key}` ({about})" + (f": {escaped(meaning)}" if meaning else "")
    return filled(text, "  ")


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, field in CampaignSpec.model_fields.items():
        inner = next(models_in(field.annotation), None)
        if inner is not None:
            here = f"{name}[]" if typing.get_origin(field.annotation) is tuple else name
            parts.append(f"## {name}\n\n{filled(escaped(field.description or ''))}\n\n{keys(inner, here)}\n")
    for group, title, key in (
        (plugins.LABEL_ENGINES, "Label engine", "label.settings"),
        (plugins.POTENTIAL_FAMILIES, "Potential family", "train.settings"),
    ):
        for name in plugins.names(group):
            plugin = plugins.load(group, name)
            if not getattr(plugin, "needs_start", False):  # a campaign begins from nothing
                parts.append(f"## {title} `{name}`\n\n{keys(plugin, key)}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
