"""Questions to a campaign as people ask them: conditions, an order, columns, a number of rows."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from magflow.errors import InputError
from magflow.makers.documents import CampaignDocument, IterationDoc, LabelDoc, MeasurementDoc, ModelDoc
from magflow.stores import queries
from magflow.stores.filters import matcher
from magflow.stores.layout import DOCUMENT_SCALARS, ReadableStore
from magflow.stores.projection import pick

_CONDITION = re.compile(r"^\s*([A-Za-z_][\w.]*)\s*(!=|<=|>=|=|<|>|~|\bin\b)\s*(.*?)\s*$")
_KINDS: dict[str, type[CampaignDocument]] = {
    "labels": LabelDoc,
    "models": ModelDoc,
    "iterations": IterationDoc,
    "measurements": MeasurementDoc,
}
_OPERATORS = {"!=": "$ne", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}


@dataclass(frozen=True)
class Question:
    """What is asked: a Mongo filter, an order, columns, a number of rows."""

    criteria: Mapping[str, Any] = field(default_factory=dict)
    sort: tuple[str, int] | None = None
    fields: tuple[str, ...] = ()
    limit: int = 0

    @classmethod
    def parse(cls, where: Sequence[str], sort: str | None, fields: str | None, limit: int) -> Question:
        """From the options of the command.

        Raises
        ------
        InputError
            If a condition is not of the form KEY OP VALUE.
        """
        criteria: dict[str, Any] = {}
        for option, given in (*(("--where", text) for text in where), ("--sort", sort), ("--fields", fields)):
            _require_text(option, given or "")
        for text in where:
            key, condition = parse_condition(text)
            if key == "formula":
                condition = _as_stored(condition)
            criteria.setdefault("$and", []).append({key: condition})
        order = None if sort is None else (sort.lstrip("-"), -1 if sort.startswith("-") else 1)
        return cls(criteria, order, tuple(f.strip() for f in fields.split(",")) if fields else (), limit)

    @property
    def keys(self) -> list[str]:
        """All fields it names."""
        conditions = [key for part in self.criteria.get("$and", []) for key in part]
        return [*self.fields, *([self.sort[0]] if self.sort else []), *conditions]

    def matching(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The rows that meet all conditions."""
        return filter(matcher(self.criteria), rows)

    def arranged(self, rows: Iterable[dict[str, Any]], where: str) -> list[dict[str, Any]]:
        """Rows that meet the conditions in the order asked for, as many as are asked for, all their fields.

        Parameters
        ----------
        where
            What is asked, for errors.

        Raises
        ------
        InputError
            If a field is unknown; the fields there are, are named.
        """
        found = list(rows)
        self.require_known(found, where)
        found = _sorted(found, self.sort)
        return found[: self.limit] if self.limit else found

    def require_known(self, rows: Sequence[Mapping[str, Any]], where: str) -> None:
        """Refuse fields that none of `rows` has; without rows nothing is known. Raises as :meth:`arranged`."""
        known = list(dict.fromkeys(k for row in rows for k in row))
        unknown = [k for k in self.keys if rows and k.split(".")[0] not in known]
        if unknown:
            near = difflib.get_close_matches(unknown[0].split(".")[0], known, n=1)
            hint = f"did you mean {near[0]}?" if near else None
            raise InputError(
                "no such field", where=where, seen=", ".join(unknown), expected=", ".join(known), hint=hint
            )


def parse_condition(text: str) -> tuple[str, Any]:
    """``force_max > 2`` to ``("force_max", {"$gt": 2.0})``; ``~`` is "contains", ``in`` takes a list with commas."""
    match = _CONDITION.match(text)
    if match is None or not match[3]:
        raise InputError(
            "a condition cannot be read",
            where="--where",
            seen=text,
            expected="KEY OP VALUE with OP one of = != < <= > >= in ~",
            hint="quote it: --where 'force_max > 2'",
        )
    key, operator, value = match.groups()
    if operator == "=":
        return key, _value(value)
    if operator == "~":
        return key, {"$regex": re.escape(value)}
    if operator == "in":
        return key, {"$in": [_value(v) for v in value.split(",")]}
    return key, {_OPERATORS[operator]: _value(value)}


def _as_stored(condition: Any) -> Any:
    """Formulas as frames spell them, elements by the alphabet, each with its number: FeAl is Al1Fe1."""
    if isinstance(condition, str):
        from magflow.core.frame import spelt_formula  # ASE knows the elements; few questions are about formulas

        return spelt_formula(condition) or condition
    if isinstance(condition, dict):
        return {operator: value if operator == "$regex" else _as_stored(value) for operator, value in condition.items()}
    return [_as_stored(value) for value in condition] if isinstance(condition, list) else condition


def _require_text(option: str, given: str) -> None:
    try:
        given.encode()
    except UnicodeEncodeError as error:
        raise InputError("this is not text", where=option, seen=ascii(given), expected="UTF-8") from error


def _value(text: str) -> Any:
    plain = text.strip().strip("'\"")
    words = {"true": True, "false": False, "null": None, "none": None}
    if plain.lower() in words:
        return words[plain.lower()]
    for kind in (int, float):
        with suppress(ValueError):
            return _finite(kind(plain), text)
    return plain


def _finite(number: float, text: str) -> float:
    """SQLite, BSON and numbers of documents know integers of 64 bits."""
    if isinstance(number, int) and not -(2**63) <= number < 2**63:
        raise InputError("the number is too large", where="--where", seen=text, expected="an integer of 64 bits")
    return number


def stored_rows(store: ReadableStore, campaign: str, what: str, question: Question) -> Iterator[dict[str, Any]]:
    """Rows of a store that may answer a question, not fewer than it wants; the store is asked for little else.

    Parameters
    ----------
    what
        ``labels``, ``models``, ``iterations``, ``measurements``, or ``frames``: all that were ever offered.
    """
    if what == "frames":
        from magflow.stores.contents import frames  # arrays, which no other question is about

        yield from frames(store, question.criteria, campaign)
        return
    if not (question.limit and question.sort and f"output.{question.sort[0]}" in DOCUMENT_SCALARS):
        limit = 0 if question.sort else question.limit
        yield from _documents(store, campaign, what, question.criteria, None, limit)
        return
    field, direction = question.sort
    left = question.limit
    # rows without a value come last, whatever the direction
    for condition in ({"$or": [{field: {"$gte": float("-inf")}}, {field: {"$gte": ""}}]}, {field: None}):
        criteria = {"$and": [*question.criteria.get("$and", []), condition]}
        for row in _documents(store, campaign, what, criteria, {field: direction}, left) if left else ():
            left -= 1
            yield row


def _documents(
    store: ReadableStore,
    campaign: str,
    what: str,
    criteria: Mapping[str, Any],
    sort: Mapping[str, int] | None,
    limit: int,
) -> Iterator[dict[str, Any]]:
    found = queries.documents(store, _KINDS[what], criteria, campaign=campaign, sort=sort, limit=limit)
    for document in found:
        yield document.model_dump(mode="json", exclude={"arrays", "measurement"})


def _sorted(found: list[dict[str, Any]], sort: tuple[str, int] | None) -> list[dict[str, Any]]:
    if sort is None:
        return found
    key, direction = sort
    with_value = [r for r in found if pick(r, key) is not None]
    without = [r for r in found if pick(r, key) is None]
    kinds = {_sort_kind(pick(r, key)) for r in with_value}
    if not kinds <= {"number"} and not kinds <= {"text"}:
        inner = sorted({f"{key}.{k}" for r in with_value if isinstance(v := pick(r, key), Mapping) for k in v})
        raise InputError(
            "rows cannot be put into an order by this field",
            where="--sort",
            seen=f"{key}: {', '.join(sorted(kinds))}",
            expected=", ".join(inner) or "a field of numbers, or of text",
        )
    return sorted(with_value, key=lambda r: pick(r, key), reverse=direction < 0) + without


def _sort_kind(value: Any) -> str:
    kinds = {bool: "number", int: "number", float: "number", str: "text"}
    return kinds.get(type(value), type(value).__name__)
