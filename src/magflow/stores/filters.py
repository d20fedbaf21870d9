"""The part of MongoDB's query language that magflow speaks, for documents in memory: filters and order.

Written after https://www.mongodb.com/docs/manual/reference/operator/query; an operator that is not in the tables below
is refused by name. Values of different types are never equal and never compare: texts are no numbers, booleans are no
numbers either, and what is missing is null.

==============================  ===================================================================
``{path: value}``, ``$eq``      equal; of a list: the list, or one of its elements
``$ne``, ``$nin``, ``$not``     what ``$eq``, ``$in``, the operators inside do not find
``$in``                         equal to one of a list
``$gt $gte $lt $lte``           within one type: number, text, boolean, bytes or time
``$exists``                     whether the path leads anywhere, null included
``$size``                       a list of so many elements
``$regex``, ``$options``        a text, or one in a list, in which it is found
``$and $or $nor``               of filters
==============================  ===================================================================
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from bson import ObjectId

from magflow.errors import InputError

Matcher = Callable[[Mapping[str, Any]], bool]
_Test = Callable[[list[Any]], bool]

_MISSING = object()
_RANGES = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}
_COMPARABLE = (bool, int, float, str, bytes, datetime)
_OPTIONS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}


def matcher(criteria: Mapping[str, Any] | None) -> Matcher:
    """A function that says whether a document matches a filter.

    Raises
    ------
    InputError
        If the filter uses an operator that is not supported, or misuses one.
    """
    parts = [_clause(key, asked) for key, asked in (criteria or {}).items()]
    return lambda doc: all(part(doc) for part in parts)


def sort_key(path: str, direction: int) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """The key that orders documents by the value at a path as MongoDB does: a list counts as its least element, in
    descending order (`direction` -1) as its greatest, and an empty one comes before null.
    """
    steps = path.split(".")
    choose = min if direction == 1 else max

    def key(doc: Mapping[str, Any]) -> tuple[Any, ...]:
        ranks = [
            rank(leaf) for value in _values(doc, steps) for leaf in (value if isinstance(value, list) else [value])
        ]
        return choose(ranks, default=())

    return key


def rank(value: Any) -> tuple[Any, ...]:
    """A tuple that compares and is equal as the value does in BSON: its type first, then what it holds.

    Raises
    ------
    InputError
        If the value has no place in BSON's order.
    """
    if value is None or value is _MISSING:
        return (5,)
    if isinstance(value, bool):
        return 40, value
    if isinstance(value, int | float):
        return (10, 0) if math.isnan(value) else (10, 1, value)
    if isinstance(value, str):
        return 15, value
    if isinstance(value, Mapping):
        return 20, tuple((rank(v)[0], k, rank(v)) for k, v in value.items())
    if isinstance(value, list | tuple):
        return 25, tuple(rank(v) for v in value)
    if isinstance(value, bytes):
        return 30, len(value), value
    if isinstance(value, ObjectId):
        return 35, value
    if isinstance(value, datetime):
        return 45, value
    raise InputError("a value of this type cannot be compared", where="filter", seen=type(value).__name__)


def values_at(doc: Mapping[str, Any], path: str) -> Iterator[Any]:
    """The values at a path, those in a list one by one."""
    for value in _values(doc, path.split(".")):
        if isinstance(value, list):
            yield from value
        elif value is not _MISSING:
            yield value


def _values(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """The values at a path; what is missing counts, but not in elements of a list that are no documents."""
    if not path:
        yield value
    elif isinstance(value, Mapping):
        yield from _values(value[path[0]], path[1:]) if path[0] in value else (_MISSING,)
    elif isinstance(value, list | tuple):
        by_number = path[0].isdigit()
        if by_number and int(path[0]) < len(value):
            yield from _values(value[int(path[0])], path[1:])
        for item in value:
            if isinstance(item, Mapping) and (path[0] in item or not by_number):
                yield from _values(item, path)
    else:
        yield _MISSING


def _clause(key: str, asked: Any) -> Matcher:
    if key in ("$and", "$or", "$nor"):
        if not isinstance(asked, list | tuple) or not asked or not all(isinstance(a, Mapping) for a in asked):
            raise _misused(key, asked, "a list of filters")
        parts = [matcher(a) for a in asked]
        if key == "$and":
            return lambda doc: all(part(doc) for part in parts)
        wanted = key == "$or"
        return lambda doc: any(part(doc) for part in parts) is wanted
    if key.startswith("$"):
        raise _unsupported(key)
    path, test = key.split("."), _condition(asked)
    return lambda doc: test(list(_values(doc, path)))


def _condition(asked: Any) -> _Test:
    if isinstance(asked, re.Pattern):
        return _any_leaf(lambda leaf: isinstance(leaf, str) and asked.search(leaf) is not None)
    if not isinstance(asked, Mapping) or not any(str(k).startswith("$") for k in asked):
        return _equals([asked])
    tests = [_operator(op, operand, asked) for op, operand in asked.items() if op != "$options"]
    if "$options" in asked and "$regex" not in asked:
        raise _misused("$options", asked["$options"], "a $regex beside it")
    return lambda values: all(test(values) for test in tests)


def _operator(op: str, operand: Any, beside: Mapping[str, Any]) -> _Test:
    if op in ("$eq", "$ne"):
        return _unless(op == "$ne", _equals([operand]))
    if op in ("$in", "$nin"):
        if not isinstance(operand, list | tuple):
            raise _misused(op, operand, "a list")
        return _unless(op == "$nin", _equals(operand))
    if op in _RANGES:
        return _compares(op, operand)
    if op == "$exists":
        return _unless(not operand, lambda values: any(v is not _MISSING for v in values))
    if op == "$size":
        if isinstance(operand, bool) or not isinstance(operand, int):
            raise _misused(op, operand, "a number of elements")
        return lambda values: any(isinstance(v, list | tuple) and len(v) == operand for v in values)
    if op == "$regex":
        return _condition(_pattern(operand, beside.get("$options", "")))
    if op == "$not":
        if not isinstance(operand, Mapping | re.Pattern) or not operand:
            raise _misused(op, operand, "operators, such as {$gt: 1}")
        return _unless(True, _condition(operand))
    raise _unsupported(op)


def _unless(negative: bool, test: _Test) -> _Test:
    return (lambda values: not test(values)) if negative else test


def _any_leaf(holds: Callable[[Any], bool]) -> _Test:
    """Whether one of the values, or of the elements of those that are lists, is so."""

    def test(values: list[Any]) -> bool:
        return any(holds(v) or (isinstance(v, list | tuple) and any(holds(x) for x in v)) for v in values)

    return test


def _equals(wanted: Sequence[Any]) -> _Test:
    ranks = {rank(w) for w in wanted}
    return _any_leaf(lambda leaf: rank(leaf) in ranks)


def _compares(op: str, operand: Any) -> _Test:
    if not isinstance(operand, _COMPARABLE):
        raise _misused(op, operand, "a number, text, boolean, bytes or a time")
    bound, holds = rank(operand), _RANGES[op]

    def compares(leaf: Any) -> bool:
        found = rank(leaf)
        # of the same type; NaN, which is shorter, compares with itself alone
        return found[0] == bound[0] and len(found) == len(bound) and holds(found, bound)

    return _any_leaf(compares)


def _pattern(operand: Any, options: Any) -> re.Pattern[str]:
    try:
        flags = sum(_OPTIONS[letter] for letter in options)
        return re.compile(operand, flags)
    except (KeyError, TypeError, ValueError, re.error) as error:
        raise _misused("$regex", operand, "a regular expression, and $options of i, m, s, x") from error


def _unsupported(op: str) -> InputError:
    return InputError(
        "this operator is not supported",
        where="filter",
        seen=op,
        expected="$eq $ne $gt $gte $lt $lte $in $nin $exists $size $regex $options $not $and $or $nor",
    )


def _misused(op: str, operand: Any, expected: str) -> InputError:
    return InputError(f"{op} is misused", where="filter", seen=repr(operand), expected=expected)
