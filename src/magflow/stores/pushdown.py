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
if besides those rows it admits only matches; all other rows go through :mod:`magflow.stores.filters`.

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
_MOST_PARAMETERS = 500


@dataclass(frozen=True)
class Term:
    """One SQL condition on the columns of `fields`; the terms of a condition are joined by AND."""

    sql: str
    parameters: tuple[Any, ...]
    fields: frozenset[str]

    def without_index(self) -> str:
        """The same, in a form that SQLite does not answer from an index (unary plus)."""
        sql = self.sql
        for field in self.fields:
            sql = sql.replace(quoted(field), "+" + quoted(field))
        return sql


@dataclass(frozen=True)
class Condition:
    """An SQL condition that every matching row satisfies.

    Attributes
    ----------
    terms
        All hold; none admits every row.
    exact
        Whether the rows it admits match, but for those with :data:`OTHER` in one of its columns.
    """

    terms: tuple[Term, ...] = ()
    exact: bool = True

    @property
    def fields(self) -> frozenset[str]:
        """The fields it looks at."""
        return frozenset[str]().union(*(t.fields for t in self.terms))

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Of all terms, in order."""
        return tuple(x for t in self.terms for x in t.parameters)

    def where(self, leading: Term | None = None) -> str:
        """The WHERE clause; if `leading` is given, only that term may use an index."""
        parts = [t.sql if leading in (None, t) else t.without_index() for t in self.terms]
        return f" WHERE {' AND '.join(parts)}" if parts else ""


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
    if op == "$ne" and _is_plain(operand):
        return _none_of(field, [operand])
    if op == "$nin" and isinstance(operand, list | tuple) and all(_is_plain(x) for x in operand):
        return _none_of(field, operand)
    if op in _RANGE and _is_plain(operand):
        return _compare(field, _RANGE[op], operand)
    return NOTHING_KNOWN


def _equals(field: str, value: Any) -> Condition:
    name = quoted(field)
    if value is None:
        return _one(f"({name} IS NULL OR {name} = ?)", (OTHER,), field)
    return _one(f"{name} IN (?, ?)", (value, OTHER), field)


def _one_of(field: str, values: Sequence[Any]) -> Condition:
    name = quoted(field)
    if len(values) <= _MOST_PARAMETERS:
        marks = ", ".join("?" * (len(values) + 1))
        return _one(f"{name} IN ({marks})", (*values, OTHER), field)
    if not all(isinstance(v, str) for v in values):
        return NOTHING_KNOWN
    # one parameter instead of thousands: SQLite bounds their number
    sql = f"({name} IN (SELECT value FROM json_each(?)) OR {name} = ?)"  # noqa: S608
    return _one(sql, (json.dumps(list(values)), OTHER), field)


def _none_of(field: str, values: Sequence[Any]) -> Condition:
    """A missing value is none of `values` either; neither is OTHER, which the matcher looks at."""
    if not values or len(values) > _MOST_PARAMETERS:
        return NOTHING_KNOWN
    marks = ", ".join("?" * len(values))
    return _one(f"({quoted(field)} IS NULL OR {quoted(field)} NOT IN ({marks}))", tuple(values), field)


def _compare(field: str, sign: str, value: Any) -> Condition:
    """MongoDB compares within one type only: numbers end where text begins, text where blobs begin."""
    name = quoted(field)
    if isinstance(value, str):
        other_bound = f"{name} < x''" if sign[0] == ">" else f"{name} >= ''"
    else:
        other_bound = f"{name} < ''" if sign[0] == ">" else "1"
    return _one(f"(({name} {sign} ? AND {other_bound}) OR {name} = ?)", (value, OTHER), field)


def _one(sql: str, parameters: tuple[Any, ...], field: str) -> Condition:
    return Condition((Term(sql, parameters, frozenset([field])),))


def _all(conditions: Iterable[Condition]) -> Condition:
    parts = list(conditions)
    return Condition(tuple(t for p in parts for t in p.terms), all(p.exact for p in parts))


def _any(parts: list[Condition]) -> Condition:
    if not parts or not all(p.terms for p in parts):
        return NOTHING_KNOWN
    sql = " OR ".join("(" + " AND ".join(t.sql for t in p.terms) + ")" for p in parts)
    parameters = tuple(x for p in parts for x in p.parameters)
    fields = frozenset[str]().union(*(p.fields for p in parts))
    return Condition((Term(f"({sql})", parameters, fields),), all(p.exact for p in parts))


def _is_plain(value: Any) -> bool:
    """Text or a number that SQLite holds without loss; booleans are a type of their own in MongoDB."""
    if isinstance(value, str):
        return True
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return -_MAX_INT <= value < _MAX_INT
    return isinstance(value, float) and not math.isnan(value)
