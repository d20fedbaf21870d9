"""What of a Mongo filter SQLite can answer from its indexed columns, and the matcher for the rest.

Each declared field has one column. What the column holds for a document:

======================================  =====================
value at the field's path               column
======================================  =====================
text, a number that is not NaN          the same value
missing, or null                        NULL
anything else; any list on the path     :data:`OTHER` (a blob)
======================================  =====================

A compiled condition never excludes a document that matches: rows holding :data:`OTHER` always pass. It is *exact*
if besides those rows it admits only matches; all other rows go through mongomock-ng's own matcher, the one
behind maggma's MemoryStore, so that both stores give the same answers.

SQLite orders NULL < numbers < text < blobs, and text by code point, as MongoDB does within one type.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OTHER = b"\x00"
"""Column value of what SQLite cannot compare as MongoDB does."""

_RANGE = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_MAX_INT = 2**63


@dataclass(frozen=True)
class Condition:
    """An SQL condition that every matching row satisfies.

    Attributes
    ----------
    sql, parameters
        The condition; ``""`` admits every row.
    exact
        Whether the rows it admits match, but for those with :data:`OTHER` in one of `columns`.
    columns
        The columns it looked at.
    """

    sql: str = ""
    parameters: tuple[Any, ...] = ()
    exact: bool = True
    columns: frozenset[str] = frozenset()


NOTHING_KNOWN = Condition(exact=False)


def column_value(doc: Mapping[str, Any], path: Sequence[str]) -> str | int | float | bytes | None:
    """What the column of the field at `path` holds for `doc` (table in the module's docstring)."""
    value: Any = doc
    for part in path:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list | tuple):
            return OTHER
        else:
            return None
    if value is None:
        return None
    return value if _is_plain(value) else OTHER


def compile_filter(criteria: Mapping[str, Any] | None, fields: Iterable[str]) -> Condition:
    """The part of a Mongo filter that the columns of `fields` can answer."""
    known = frozenset(fields)
    return _all(_clause(key, value, known) for key, value in (criteria or {}).items())


def quoted(field: str) -> str:
    """The SQL name of a field's column."""
    return '"' + field.replace('"', '""') + '"'


def _clause(key: str, value: Any, known: frozenset[str]) -> Condition:
    if key == "$and" and isinstance(value, list):
        return _all(compile_filter(part, known) for part in value)
    if key == "$or" and isinstance(value, list):
        return _any([compile_filter(part, known) for part in value])
    if key not in known:
        return NOTHING_KNOWN
    if value is None or _is_plain(value):
        return _equals(key, value)
    if isinstance(value, Mapping) and value:
        return _all(_operator(key, str(op), operand) for op, operand in value.items())
    return NOTHING_KNOWN


def _operator(field: str, op: str, operand: Any) -> Condition:
    if op == "$eq" and (operand is None or _is_plain(operand)):
        return _equals(field, operand)
    if op == "$in" and isinstance(operand, list | tuple) and all(_is_plain(x) for x in operand):
        return _one_of(field, operand)
    if op in _RANGE and _is_plain(operand):
        return _compare(field, _RANGE[op], operand)
    return NOTHING_KNOWN


def _equals(field: str, value: Any) -> Condition:
    name = quoted(field)
    if value is None:
        return Condition(f"({name} IS NULL OR {name} = ?)", (OTHER,), True, frozenset([field]))
    return Condition(f"{name} IN (?, ?)", (value, OTHER), True, frozenset([field]))


def _one_of(field: str, values: Sequence[Any]) -> Condition:
    name, columns = quoted(field), frozenset([field])
    if len(values) <= 500:
        marks = ", ".join("?" * (len(values) + 1))
        return Condition(f"{name} IN ({marks})", (*values, OTHER), True, columns)
    if not all(isinstance(v, str) for v in values):
        return NOTHING_KNOWN
    # one parameter instead of thousands: SQLite bounds their number
    sql = f"({name} IN (SELECT value FROM json_each(?)) OR {name} = ?)"  # noqa: S608
    return Condition(sql, (json.dumps(list(values)), OTHER), True, columns)


def _compare(field: str, sign: str, value: Any) -> Condition:
    """MongoDB compares within one type only: numbers end where text begins, text where blobs begin."""
    name = quoted(field)
    if isinstance(value, str):
        other_bound = f"{name} < x''" if sign[0] == ">" else f"{name} >= ''"
    else:
        other_bound = f"{name} < ''" if sign[0] == ">" else "1"
    sql = f"(({name} {sign} ? AND {other_bound}) OR {name} = ?)"
    return Condition(sql, (value, OTHER), True, frozenset([field]))


def _all(conditions: Iterable[Condition]) -> Condition:
    parts = list(conditions)
    return Condition(
        " AND ".join(p.sql for p in parts if p.sql),
        tuple(x for p in parts for x in p.parameters),
        all(p.exact for p in parts),
        frozenset[str]().union(*(p.columns for p in parts)),
    )


def _any(parts: list[Condition]) -> Condition:
    if not parts or not all(p.sql for p in parts):
        return NOTHING_KNOWN
    return Condition(
        "(" + " OR ".join(f"({p.sql})" for p in parts) + ")",
        tuple(x for p in parts for x in p.parameters),
        all(p.exact for p in parts),
        frozenset[str]().union(*(p.columns for p in parts)),
    )


def _is_plain(value: Any) -> bool:
    """Text or a number that SQLite holds without loss; booleans are a type of their own in MongoDB."""
    if isinstance(value, str):
        return True
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return -_MAX_INT <= value < _MAX_INT
    return isinstance(value, float) and not math.isnan(value)
