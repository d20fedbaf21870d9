"""Rows for ``magflow query``: conditions as a Mongo filter, and four ways to write the answer."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from magflow.errors import InputError

if TYPE_CHECKING:
    from magflow.campaign.directory import CampaignDirectory

_CONDITION = re.compile(r"^\s*([A-Za-z_][\w.]*)\s*(!=|<=|>=|=|<|>|~|\bin\b)\s*(.*?)\s*$")
_OPERATORS = {"!=": "$ne", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}

COLUMNS = {
    "labels": (
        "iteration,label_id,state,formula,ordering,source,energy_per_atom,force_max,moment_total,pressure_gpa,"
        "cpu_seconds,failure"
    ),
    "frames": "iteration,frame_id,formula,ordering,source,reason,score,grade,volume,moment_max",
    "models": "iteration,member,family,n_labels,seed,converged,rmse,cpu_seconds",
    "iterations": (
        "iteration,offered,selected,labels_new,labels_failed,labels_total,rmse,within_target,core_hours_total,stop"
    ),
    "jobs": "name,state,category,tries,wall_seconds,cpu_seconds,error",
}
"""Columns shown unless `--fields` names others."""


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
        for text in where:
            key, condition = parse_condition(text)
            criteria.setdefault("$and", []).append({key: condition})
        order = None if sort is None else (sort.lstrip("-"), -1 if sort.startswith("-") else 1)
        return cls(criteria, order, tuple(f.strip() for f in fields.split(",")) if fields else (), limit)


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


def _value(text: str) -> Any:
    plain = text.strip().strip("'\"")
    words = {"true": True, "false": False, "null": None, "none": None}
    if plain.lower() in words:
        return words[plain.lower()]
    for kind in (int, float):
        with suppress(ValueError):
            return kind(plain)
    return plain


def rows(directory: CampaignDirectory, what: str, question: Question) -> list[dict[str, Any]]:
    """The rows that answer a question, all their fields.

    Raises
    ------
    InputError
        If a field is unknown; the fields there are, are named.
    """
    found = _sorted(list(_matching(directory, what, question)), question.sort)
    known = list(dict.fromkeys(k for row in found for k in row))
    asked = [*question.fields, *([question.sort[0]] if question.sort else []), *_keys(question.criteria)]
    unknown = [k for k in asked if found and k.split(".")[0] not in known]
    if unknown:
        raise InputError("no such field", where=f"query {what}", seen=", ".join(unknown), expected=", ".join(known))
    return found[: question.limit] if question.limit else found


def _keys(criteria: Mapping[str, Any]) -> list[str]:
    return [key for part in criteria.get("$and", []) for key in part]


def _matching(directory: CampaignDirectory, what: str, question: Question) -> Iterator[dict[str, Any]]:
    """The rows under the filter; if a number is asked for, at least the first so many in the order asked for."""
    from magflow.stores import queries
    from magflow.stores.indexes import DOCUMENT_SCALARS

    if what == "jobs":
        yield from _jobs(directory, question.criteria)
    elif what == "frames":
        yield from queries.frames(directory.store, question.criteria, directory.id)
    elif question.limit and question.sort and f"output.{question.sort[0]}" in DOCUMENT_SCALARS:
        field, direction = question.sort
        left = question.limit
        # rows without a value come last, whatever the direction
        for condition in ({"$or": [{field: {"$gte": float("-inf")}}, {field: {"$gte": ""}}]}, {field: None}):
            criteria = {"$and": [*question.criteria.get("$and", []), condition]}
            for row in _documents(directory, what, criteria, {field: direction}, left) if left else ():
                left -= 1
                yield row
    else:
        limit = 0 if question.sort else question.limit
        yield from _documents(directory, what, question.criteria, None, limit)


def _documents(
    directory: CampaignDirectory,
    what: str,
    criteria: Mapping[str, Any],
    sort: Mapping[str, int] | None,
    limit: int,
) -> Iterator[dict[str, Any]]:
    from magflow.makers.documents import CampaignDocument, IterationDoc, LabelDoc, ModelDoc
    from magflow.stores import queries

    kinds: dict[str, type[CampaignDocument]] = {"labels": LabelDoc, "models": ModelDoc, "iterations": IterationDoc}
    found = queries.documents(directory.store, kinds[what], criteria, campaign=directory.id, sort=sort, limit=limit)
    for document in found:
        yield document.model_dump(mode="json", exclude={"arrays"})


def _jobs(directory: CampaignDirectory, criteria: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    from magflow.execution.backend import open_reader
    from magflow.stores.filters import matcher

    matches = matcher(criteria)
    for job in open_reader(directory).jobs():
        row = asdict(job) | {"state": str(job.state), "metadata": dict(job.metadata)}
        if matches(row):
            yield row


def _sorted(found: list[dict[str, Any]], sort: tuple[str, int] | None) -> list[dict[str, Any]]:
    if sort is None:
        return found
    key, direction = sort
    with_value = [r for r in found if pick(r, key) is not None]
    without = [r for r in found if pick(r, key) is None]
    return sorted(with_value, key=lambda r: pick(r, key), reverse=direction < 0) + without


def pick(row: Mapping[str, Any], dotted: str) -> Any:
    """The value of a dotted field, None if it is absent."""
    value: Any = row
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def write(found: list[dict[str, Any]], what: str, question: Question, form: str, out: TextIO) -> None:
    """Write rows as a table, JSON or CSV."""
    columns = question.fields or tuple(COLUMNS[what].split(","))
    if form == "json":
        chosen = [{k: pick(r, k) for k in question.fields} for r in found] if question.fields else found
        json.dump(chosen, out, indent=1)
        out.write("\n")
    elif form == "csv":
        writer = csv.writer(out)
        writer.writerow(columns)
        writer.writerows([_cell(pick(r, c)) for c in columns] for r in found)
    else:
        _table(found, columns, out)


def write_extxyz(directory: CampaignDirectory, found: Iterable[Mapping[str, Any]], out: TextIO) -> None:
    """Write the frames of usable labels with their data."""
    from magflow.io.extxyz import format_frame
    from magflow.io.records import as_record
    from magflow.stores import queries

    wanted = {r["label_id"] for r in found}
    for item in queries.labelled_frames(directory.store, campaign=directory.id):
        if item.label_id in wanted:
            out.write(format_frame(as_record(item)))


def _table(found: list[dict[str, Any]], columns: Sequence[str], out: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in found:
        table.add_row(*(str(_cell(pick(row, c))) for c in columns))
    console = Console(file=out, width=None if out.isatty() else 240)
    console.print(table)
    console.print(f"{len(found)} rows", style="dim")


def _cell(value: Any) -> str | int | float:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return " ".join(f"{k}={_cell(v)}" for k, v in value.items())
    if isinstance(value, list):
        return " ".join(str(_cell(v)) for v in value)
    if isinstance(value, bool | int):
        return value
    return str(value).strip().splitlines()[-1] if str(value).strip() else ""
