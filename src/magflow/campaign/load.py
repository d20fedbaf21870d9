"""Reading a campaign file; every error comes back at once as ``FILE:LINE key: seen, expected, hint``."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from magflow.campaign.schema import CampaignSpec
from magflow.campaign.source import CampaignFileError, Key, Problem, Source, dotted, read_source
from magflow.core import plugins
from magflow.core.credentials import remember
from magflow.core.masking import mask
from magflow.errors import InputError

SETTINGS: dict[Key, tuple[str, str]] = {
    ("label", "settings"): ("engine", plugins.LABEL_ENGINES),
    ("train", "settings"): ("family", plugins.POTENTIAL_FAMILIES),
}
"""Where a plug-in's settings stand, the key beside them that names the plug-in, and its group."""

MOST = 200
"""Problems of one file that are told."""

_SHORT = 80


def load_campaign(path: str | Path) -> CampaignSpec:
    """Read and validate a campaign file. Paths of structure files in it are relative to the file.

    Raises
    ------
    CampaignFileError
        With one line per problem.
    InputError
        If the file cannot be read.
    MissingToolError
        If a plug-in that it names does not import.
    """
    return parse_campaign(read_source(path), str(path)).resolve(Path(path).absolute().parent)


def parse_campaign(source: Source, name: str) -> CampaignSpec:
    """As :func:`load_campaign`, from a source that was read already; paths stay as they are."""
    remember(source.data)
    try:
        return CampaignSpec.model_validate_json(json.dumps(source.data), strict=True)
    except ValidationError as error:
        raise CampaignFileError(name, tuple(_problems(error, source))) from error
    except InputError as error:
        hidden = Problem(1, error.where or "", f"{error.message} ({error.seen})", error.expected or "", error.hint)
        raise CampaignFileError(name, (hidden,)) from error


def _problems(error: ValidationError, source: Source) -> Iterator[Problem]:
    """One problem per key; of the branches of a union, those that got furthest."""
    found: dict[Key, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        found.setdefault(_key(details["loc"], source.data), []).append(details)
    parents = {key[:n] for key in found for n in range(len(key))}
    for number, (key, group) in enumerate(found.items()):
        if number == MOST:
            more = f"{len(found) - MOST} more problems"
            yield Problem(source.line(key), "", more, "a campaign file", "`magflow init` writes one to begin with")
            return
        if key in parents and all(_is_union_branch(details, key) for details in group):
            continue
        problems = [_problem(key, details, source) for details in group]
        expected = " or ".join(dict.fromkeys(p.expected for p in problems))
        hint = next((p.hint for p in problems if p.hint), None)
        yield Problem(problems[0].line, problems[0].key, problems[0].seen, expected, hint)


def _key(loc: tuple[int | str, ...], data: Any) -> Key:
    """`loc` without the names of union branches that pydantic puts into it."""
    key: list[int | str] = []
    for i, part in enumerate(loc):
        last = i == len(loc) - 1
        if isinstance(data, Mapping) and isinstance(part, str) and (part in data or (last and part.isidentifier())):
            key.append(part)
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int):
            key.append(part)
            data = data[part] if part < len(data) else None
    return tuple(key)


def _is_union_branch(details: ErrorDetails, key: Key) -> bool:
    return len(details["loc"]) > len(key)


def _problem(key: Key, details: ErrorDetails, source: Source) -> Problem:
    line, name = source.line(key), dotted(key)
    context = details.get("ctx", {})
    seen = _short(details.get("input"))
    field = _field(key, source.data)
    match details["type"]:
        case "extra_forbidden":
            keys = sorted({name for model in _models(key[:-1], source.data) for name in model.model_fields})
            return Problem(line, name, "an unknown key", "one of " + ", ".join(keys), _hint(str(key[-1]), keys))
        case "missing":
            about = _about(field) or "a value"
            return Problem(line, name, "nothing", about, f"add the key {key[-1]}")
        case "campaign":
            return Problem(line, name, context.get("seen", seen), context["expected"], context.get("hint"))
        case _:
            message = details["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            about = _about(field)
            return Problem(line, name, seen, f"{message} ({about})" if about else message)


def _short(value: Any) -> str:
    text = mask(json.dumps(value, default=str, ensure_ascii=False))  # before it is cut: a piece would not be known
    return text if len(text) <= _SHORT else text[: _SHORT - 3] + "..."


def _about(field: FieldInfo | None) -> str:
    return (field.description or "").rstrip(".") if field else ""


def _hint(key: str, siblings: list[str]) -> str | None:
    """The nearest valid key beside `key`, else where a key of that name would belong."""
    near = difflib.get_close_matches(key, siblings, n=1)
    if near:
        return f"did you mean {near[0]}?"
    places = [dotted(place) for place in all_keys(CampaignSpec) if place[-1] == key]
    return f"a key of that name belongs at {places[0]}" if places else None


def all_keys(model: type[BaseModel], above: Key = ()) -> Iterator[Key]:
    """Every key of a model and of the models in it."""
    for name, field in model.model_fields.items():
        yield (*above, name)
        for inner in _models_in(field.annotation):
            yield from all_keys(inner, (*above, name))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [] if annotation is BaseModel else [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _models(key: Key, data: Any) -> list[type[BaseModel]]:
    """The models that may stand at `key`."""
    models: list[type[BaseModel]] = [CampaignSpec]
    for i, part in enumerate(key):
        if key[: i + 1] in SETTINGS:
            models = _plugin_model(key[: i + 1], data)
            continue
        fields = [model.model_fields[part] for model in models if isinstance(part, str) and part in model.model_fields]
        if fields:
            models = [inner for field in fields for inner in _models_in(field.annotation)]
    return models


def _plugin_model(key: Key, data: Any) -> list[type[BaseModel]]:
    naming, group = SETTINGS[key]
    section = data.get(key[0]) if isinstance(data, Mapping) else None
    name = section.get(naming) if isinstance(section, Mapping) else None
    return [plugins.load(group, name)] if name in plugins.names(group) else []


def _field(key: Key, data: Any) -> FieldInfo | None:
    """The field at `key`; for an item of a list or mapping, the field that holds it."""
    while key:
        for model in _models(key[:-1], data):
            if isinstance(key[-1], str) and key[-1] in model.model_fields:
                return model.model_fields[key[-1]]
        key = key[:-1]
    return None
