"""The labels of a campaign, counted: from sums that the embedded store keeps, or label by label in any other.

Triggers keep the sums, whichever version of magflow writes: a row per campaign, purpose, state, kind of failure and
format. What sums cannot tell is which labels are the same one again, tried anew or asked for twice; those few are
listed, and looked at one by one. So a count takes as long for a million labels as for none.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from magflow.core.versions import FORMAT
from magflow.makers.documents import LabelDoc, Purpose
from magflow.stores import connection, queries
from magflow.stores.layout import ReadableStore
from magflow.stores.table import DocumentTable

SUMS, REPEATS = "label_sums", "label_repeats"
"""Tables beside that of the documents."""


@dataclass
class Sums:
    """Of labels that have something in common.

    Parameters
    ----------
    labels
        How many there are.
    core_hours, cpu_seconds
        What they cost.
    priced, timed
        How many of them cost core-hours, and CPU seconds; one that was reused costs nothing.
    """

    labels: int = 0
    core_hours: float = 0.0
    cpu_seconds: float = 0.0
    priced: int = 0
    timed: int = 0

    def add(self, other: Sums) -> None:
        """Take others in."""
        self.labels += other.labels
        self.core_hours += other.core_hours
        self.cpu_seconds += other.cpu_seconds
        self.priced += other.priced
        self.timed += other.timed


@dataclass(frozen=True)
class LabelTally:
    """All labels of a campaign that were computed or imported, counted.

    Parameters
    ----------
    tried
        Sums over all labels of a purpose, failed ones and repeated ones included.
    done
        How many different labels of each purpose are computed; suspect ones are among them.
    failures
        Kind of failure to the number of labels that the loop chose and that have no usable result.
    """

    tried: dict[Purpose, Sums] = field(default_factory=lambda: {p: Sums() for p in Purpose})
    done: Counter[Purpose] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)


_Kind = tuple[Purpose, str, str]
"""Purpose, state, kind of failure."""


def label_tally(store: ReadableStore, campaign: str) -> LabelTally:
    """The labels of a campaign, counted.

    Raises
    ------
    NewerFormatError
        If a newer magflow wrote one of them, in a format this one does not know.
    """
    kept = _kept(store.docs_store, campaign) if isinstance(store.docs_store, DocumentTable) else None
    return _tally(*(kept or _counted(queries.label_summaries(store, campaign))))


def keep_sums(table: DocumentTable) -> None:
    """Let a connected table of documents keep the sums from now on, those of the documents in it included.

    A file that may only be read stays as it is.
    """
    with table.snapshot() as con:
        if _are_kept(con):
            return
    if not connection.is_writable(table.path):
        return
    with table.transaction() as con, connection.explained(table.path):
        if not _are_kept(con):
            for statement in _statements(table.table):
                con.execute(statement)


def _tally(sums: Mapping[_Kind, Sums], repeated: Sequence[tuple[str, _Kind]]) -> LabelTally:
    """From sums over all labels, and those that are there more than once, each with its id."""
    tally = LabelTally()
    for (purpose, state, failure), some in sums.items():
        tally.tried[purpose].add(some)
        if state == "ok":
            tally.done[purpose] += some.labels
        elif purpose is Purpose.CAMPAIGN:
            tally.failures[failure] += some.labels
    again = Counter((label, purpose) for label, (purpose, state, _) in repeated if state == "ok")
    for (_, purpose), times in again.items():
        tally.done[purpose] -= times - 1
    for label, (purpose, state, failure) in repeated:
        if state != "ok" and purpose is Purpose.CAMPAIGN and (label, purpose) in again:
            tally.failures[failure] -= 1
    return LabelTally(tally.tried, tally.done, +tally.failures)


def _counted(rows: Iterable[Mapping[str, Any]]) -> tuple[dict[_Kind, Sums], list[tuple[str, _Kind]]]:
    """What :func:`_tally` asks for, from summaries of the labels."""
    sums: dict[_Kind, Sums] = {}
    kinds: dict[str, list[_Kind]] = {}
    for row in rows:
        kind = (row["purpose"], row["state"], row["failure"] or "")
        hours, seconds = row["core_hours"], row["cpu_seconds"]
        sums.setdefault(kind, Sums()).add(Sums(1, hours, seconds, hours > 0, seconds > 0))
        kinds.setdefault(row["label_id"], []).append(kind)
    return sums, [(label, kind) for label, some in kinds.items() if len(some) > 1 for kind in some]


# ---- kept sums


def _kept(table: DocumentTable, campaign: str) -> tuple[dict[_Kind, Sums], list[tuple[str, _Kind]]] | None:
    """The same from the tables; None if there are none, or they hold what sums cannot tell of."""
    with table.snapshot() as con:
        if not _are_kept(con):
            return None
        rows = con.execute(f"{_SUMS_OF} WHERE campaign = ? AND labels > 0", (campaign,)).fetchall()
        found = con.execute(_repeated_of(table.table), (campaign,)).fetchall()
    sums: dict[_Kind, Sums] = {}
    known = range(1, LabelDoc.layout.number + 1)
    for purpose, state, failure, layout, *some, odd in rows:
        if odd or layout not in known:
            return None
        sums.setdefault((Purpose(purpose), state, failure), Sums()).add(Sums(*some))
    return sums, [(label, (Purpose(purpose), state, failure)) for label, purpose, state, failure in found]


def _are_kept(con: sqlite3.Connection) -> bool:
    return con.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (SUMS,)).fetchone() is not None


def _column(row: str, name: str) -> str:
    return f'{row}."output.{name}"'


def _keys(row: str) -> list[str]:
    """What a document is summed under, with what older documents leave out."""
    defaults = {"campaign": "''", "purpose": f"'{Purpose.CAMPAIGN}'", "state": "''", "failure": "''", FORMAT: "1"}
    return [f"coalesce({_column(row, name)}, {default})" for name, default in defaults.items()]


def _added(row: str) -> list[str]:
    """What a document adds to the sums; it is odd if a column holds what SQL cannot compare."""
    hours, seconds = (f"coalesce({_column(row, name)}, 0)" for name in ("core_hours", "cpu_seconds"))
    odd = " OR ".join(f"typeof({_column(row, name)}) = 'blob'" for name in _LOOKED_AT)
    return ["1", hours, seconds, f"({hours} > 0)", f"({seconds} > 0)", f"({odd})"]


_KEYS = ("campaign", "purpose", "state", "failure", FORMAT)
_ADDED = ("labels", "core_hours", "cpu_seconds", "priced", "timed", "odd")
_LOOKED_AT = (*_KEYS, "label_id", "core_hours", "cpu_seconds")
_SUMS_OF = f"SELECT {', '.join((*_KEYS[1:], *_ADDED))} FROM {SUMS}"  # noqa: S608


def _repeated_of(table: str) -> str:
    """The query for the labels of a campaign that are there more than once."""
    _, purpose, state, failure, _ = _keys("d")
    wanted = f"SELECT r.label_id, {purpose}, {state}, {failure}"
    same = _same("r.label_id", "r.campaign")
    return f"{wanted} FROM {REPEATS} AS r CROSS JOIN {table} AS d ON {same} WHERE r.campaign = ?"


def _same(label_id: str, campaign: str) -> str:
    """Whether `d` is a document of the same label; found by the index on label_id, and by no other (unary plus)."""
    return f"{_column('d', 'label_id')} = {label_id} AND +{_column('d', 'campaign')} = {campaign} AND +{_is_label('d')}"


def _is_label(row: str) -> str:
    return f"{_column(row, 'doc_type')} = 'label'"


def _statements(table: str) -> Iterator[str]:
    """The tables, filled, and the triggers that keep them."""
    identity = ", ".join(_column("d", name) for name in ("campaign", "label_id"))
    sums = ", ".join([*_keys("d"), *(f"sum({value})" for value in _added("d"))])
    yield f"CREATE TABLE {SUMS} ({', '.join((*_KEYS, *_ADDED))}, PRIMARY KEY ({', '.join(_KEYS)})) WITHOUT ROWID"
    yield f"CREATE TABLE {REPEATS} (campaign, label_id, PRIMARY KEY (campaign, label_id)) WITHOUT ROWID"
    yield f"INSERT INTO {SUMS} SELECT {sums} FROM {table} AS d WHERE {_is_label('d')} GROUP BY 1, 2, 3, 4, 5"  # noqa: S608
    yield (
        f"INSERT INTO {REPEATS} SELECT {identity} FROM {table} AS d"  # noqa: S608
        f" WHERE {_is_label('d')} GROUP BY 1, 2 HAVING count(*) > 1"
    )
    columns = ", ".join(f'"output.{name}"' for name in ("doc_type", *_LOOKED_AT))
    yield _trigger(table, "insert", "INSERT", "new")
    yield _trigger(table, "delete", "DELETE", "old")
    yield _trigger(table, "before", f"UPDATE OF {columns}", "old")
    yield _trigger(table, "after", f"UPDATE OF {columns}", "new")


def _trigger(table: str, name: str, event: str, row: str) -> str:
    """A trigger that adds the `new` row of an event to the sums, or takes the `old` one from them."""
    sign = "-" if row == "old" else ""
    values = ", ".join([*_keys(row), *(f"{sign}{value}" for value in _added(row))])
    more = ", ".join(f"{name} = {name} + excluded.{name}" for name in _ADDED)
    acts = f"INSERT INTO {SUMS} VALUES ({values}) ON CONFLICT ({', '.join(_KEYS)}) DO UPDATE SET {more};"  # noqa: S608
    if row == "new":
        same = _same(_column(row, "label_id"), _column(row, "campaign"))
        there = f"SELECT 1 FROM {table} AS d WHERE {same} AND d.id <> {row}.id"  # noqa: S608
        identity = f"{_column(row, 'campaign')}, {_column(row, 'label_id')}"
        acts += f" INSERT OR IGNORE INTO {REPEATS} SELECT {identity} WHERE EXISTS ({there});"
    return f'CREATE TRIGGER "{SUMS}:{name}" AFTER {event} ON {table} WHEN {_is_label(row)} BEGIN {acts} END'
