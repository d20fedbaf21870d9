"""MongoDB's projection: which fields of a document a query returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from magflow.errors import InputError

Tree = dict[str, Any]
"""Nested field names: ``{"a": {"b": None}}`` for ``a.b``; None marks a whole field."""


def parse(properties: Mapping[str, Any] | Sequence[str] | None) -> tuple[Tree, bool] | None:
    """The tree of the fields of a projection, and whether it includes (or else excludes) them.

    None if every field is returned. Documents carry no ``_id``, so ``_id`` is accepted and ignored.

    Raises
    ------
    InputError
        If inclusion and exclusion are mixed, or an operator such as ``$slice`` is used.
    """
    if properties is None or not len(properties):
        return None
    given = dict(properties) if isinstance(properties, Mapping) else dict.fromkeys(properties, 1)
    only_id = set(given) == {"_id"}
    keep_id = bool(given.pop("_id", 1))
    if only_id:
        return ({}, True) if keep_id else None
    odd = {k: v for k, v in given.items() if not isinstance(v, bool | int) or "$" in k}
    if odd or len({bool(v) for v in given.values()}) > 1:
        raise InputError(
            "this projection is not supported",
            where="properties",
            seen=dict(properties) if isinstance(properties, Mapping) else list(properties),
            expected="fields that are all included (1) or all excluded (0)",
        )
    return _tree(given), bool(next(iter(given.values())))


def project(doc: Mapping[str, Any], tree: Tree, include: bool) -> dict[str, Any]:
    """The part of `doc` that the projection keeps; within lists it applies to each element."""
    kept = {}
    for key, value in doc.items():
        if key not in tree:
            if not include:
                kept[key] = value
        elif tree[key] is None:
            if include:
                kept[key] = value
        else:
            part = _project_value(value, tree[key], include)
            if part is not _ABSENT:
                kept[key] = part
    return kept


def pick(row: Mapping[str, Any], dotted: str) -> Any:
    """The value of a dotted field, None if it is absent; a number counts elements of a list from 0."""
    value: Any = row
    for part in dotted.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


_ABSENT = object()


def _project_value(value: Any, tree: Tree, include: bool) -> Any:
    if isinstance(value, Mapping):
        return project(value, tree, include)
    if isinstance(value, list):
        parts = (_project_value(v, tree, include) for v in value)
        return [p for p in parts if p is not _ABSENT]
    return _ABSENT if include else value  # a scalar has none of the fields asked for


def _tree(fields: Mapping[str, Any]) -> Tree:
    tree: Tree = {}
    for field in fields:
        node = tree
        *path, last = field.split(".")
        for part in path:
            if node.setdefault(part, {}) is None:  # a wider field was named before
                break
            node = node[part]
        else:
            node[last] = None
    return tree
