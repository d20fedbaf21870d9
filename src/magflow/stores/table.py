"""Documents in one table of an SQLite file, read as a maggma store is, by who needs no maggma.

Documents are BSON blobs. Declared scalar fields are real, indexed columns that answer filters and sorts
(:mod:`magflow.stores.pushdown`); whatever else a filter asks is matched document by document
(:mod:`magflow.stores.filters`). :class:`magflow.stores.sqlite.SQLiteStore` writes them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Any

import bson

from magflow.errors import InputError
from magflow.stores import connection
from magflow.stores.blob import unpack
from magflow.stores.columns import columns_of, declare, declare_beside, index_name, is_declared
from magflow.stores.filters import Matcher, matcher, sort_key, values_at
from magflow.stores.projection import parse, pick, project
from magflow.stores.pushdown import OTHER, Condition, Term, compile_filter, quoted

_CHUNK = 200  # documents read at a time
_FEW = (2, 100, 10_000)  # documents looked at to see which term of a filter is the narrowest


class DocumentTable:
    """Documents in one table of an SQLite file.

    Parameters
    ----------
    path
        The file; created on first use, in a directory that exists.
    table
        Name of the table (letters, digits, ``_``).
    key
        Field that identifies a document unless :meth:`update` is told otherwise.
    fields
        Scalar fields (dotted paths) to index. May be extended later: existing documents are indexed on the next
        :meth:`connect`. Fields declared by an earlier user of the file stay indexed.
    scalars
        Further scalar fields that have a column but no index: filters, sorts and :meth:`values` need not unpack
        documents for them.
    together
        Groups of declared fields that :meth:`values` is asked for at once: one index that holds them all is read
        instead of the table. Those that select come first.
    synchronous
        ``"NORMAL"`` or ``"FULL"``, see :mod:`magflow.stores.connection`.
    compress
        Whether documents are compressed: worth it for arrays in base64 (a quarter less), not for small documents.
    """

    def __init__(
        self,
        path: str,
        table: str = "docs",
        key: str = "uuid",
        fields: Sequence[str] = ("uuid",),
        scalars: Sequence[str] = (),
        together: Sequence[Sequence[str]] = (),
        synchronous: str = "FULL",
        compress: bool = False,
    ) -> None:
        if synchronous not in ("NORMAL", "FULL"):
            raise InputError("unknown mode", where="synchronous", seen=synchronous, expected="NORMAL or FULL")
        if not table.isidentifier():
            raise InputError("unusable table name", where="table", seen=table, expected="letters, digits and _")
        self.path, self.table = str(path), table
        self.fields = tuple(dict.fromkeys([key, *fields]))
        self.scalars = tuple(f for f in dict.fromkeys(scalars) if f not in self.fields)
        self.together = tuple(tuple(group) for group in together)
        self.synchronous, self.compress = synchronous, compress
        self._columns: dict[str, list[str]] = {}  # every column of the table and its path
        self._schema_version = -1

    @property
    def name(self) -> str:
        """A name for people: ``sqlite://PATH/TABLE``."""
        return f"sqlite://{self.path}/{self.table}"

    def connect(self, force_reset: bool = False) -> None:
        """Open the file and create or extend the table.

        Raises
        ------
        StoreError
            If that is impossible: directory absent or read-only, not an SQLite file, network file system.
        """
        if force_reset:
            self.close()
        self._connection()

    def close(self) -> None:
        """Close this thread's connection; the next call opens it again."""
        connection.disconnect(self.path)

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """One write transaction over every store in the same file: all or nothing."""
        return connection.transaction(self.path, self.synchronous)

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection to read with: what is read within the block is of one moment."""
        con = self._connection()
        with connection.explained(self.path):
            if con.in_transaction:
                yield con
                return
            con.execute("BEGIN")
            try:
                yield con
            finally:
                con.execute("COMMIT")

    def count(self, criteria: dict[str, Any] | None = None) -> int:
        """How many documents match `criteria`."""
        condition, matches, con = self._compile(criteria)
        with connection.explained(self.path):
            if condition.exact and not self._holds_other(con, condition.fields, condition):
                sql = f"SELECT count(*) FROM {self.table}{self._where(con, condition)}"  # noqa: S608
                return int(con.execute(sql, condition.parameters).fetchone()[0])
        return sum(1 for _ in self._matches(con, matches, condition))

    def query(
        self,
        criteria: dict[str, Any] | None = None,
        properties: dict[str, Any] | list[str] | None = None,
        sort: Mapping[str, int] | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Documents that match a Mongo filter; arguments as in :meth:`maggma.core.Store.query`, orders as 1 or -1.

        Documents written while the result is read may or may not appear; none appears twice.
        """
        condition, matches, con = self._compile(criteria)
        order = dict(sort or {})
        docs: Iterator[dict[str, Any]]
        sortable = all(k in self._columns for k in order) and not self._holds_other(con, order, condition)
        if sortable:
            docs = self._matches(con, matches, condition, order, skip + limit if limit else 0)
        else:
            found = list(self._matches(con, matches, condition))
            for key, direction in reversed(order.items()):
                found.sort(key=sort_key(key, direction), reverse=direction == -1)
            docs = iter(found)
        if skip or limit:
            docs = islice(docs, skip, skip + limit if limit else None)
        wanted = parse(properties)
        yield from docs if wanted is None else (project(d, *wanted) for d in docs)

    def values(self, criteria: dict[str, Any] | None, fields: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """The values at `fields` of each document that matches, None where one is missing; in no order.

        Declared fields are read without unpacking documents.
        """
        condition, matches, con = self._compile(criteria)
        if not condition.exact or any(f not in self._columns for f in fields):
            for doc in self._matches(con, matches, condition):
                yield tuple(pick(doc, f) for f in fields)
            return
        looked_at = [*fields, *sorted(condition.fields.difference(fields))]
        names = ", ".join(["id", *(quoted(f) for f in looked_at)])
        group = next((g for g in self.together if set(looked_at) <= set(g)), None)
        where = self._where(con, condition) if group is None else condition.where()
        index = "" if group is None else f" INDEXED BY {quoted(index_name(self.table, group))}"
        with connection.explained(self.path):
            sql = f"SELECT {names} FROM {self.table}{index}{where}"  # noqa: S608
            rows = con.execute(sql, condition.parameters).fetchall()
        for i, *found in rows:
            if OTHER not in found:
                yield tuple(found[: len(fields)])
            elif (whole := self._document(con, i)) is not None and matches(whole):
                yield tuple(pick(whole, f) for f in fields)

    def distinct(self, field: str, criteria: dict[str, Any] | None = None, all_exist: bool = False) -> list[Any]:
        """The different values of `field`; those in a list count one by one."""
        condition, matches, con = self._compile(criteria)
        if (
            field in self._columns
            and condition.exact
            and not self._holds_other(con, condition.fields | {field}, condition)
        ):
            name = quoted(field)
            where = self._where(con, condition)
            sql = f"SELECT {name} FROM {self.table}{where} GROUP BY {name} HAVING {name} IS NOT NULL"  # noqa: S608
            with connection.explained(self.path):
                return [row[0] for row in con.execute(sql, condition.parameters)]
        values: list[Any] = []
        seen: set[bytes] = set()
        for doc in self._matches(con, matches, condition):
            for value in values_at(doc, field):
                mark = bson.encode({"": value})
                if mark not in seen:
                    seen.add(mark)
                    values.append(value)
        return values

    # ---- the table

    def _connection(self) -> sqlite3.Connection:
        con = connection.connect(self.path, self.synchronous)
        if self._schema_version < 0:
            declared = self.table, self.fields, self.scalars, self.together
            with connection.explained(self.path):
                if not is_declared(con, *declared):  # a reader need not wait for a writer
                    if connection.is_writable(self.path):
                        with self.transaction():
                            declare(con, *declared)
                    else:
                        declare_beside(con, *declared)
                self._refresh(con)
        return con

    def _refresh(self, con: sqlite3.Connection) -> None:
        """Learn of columns that another process has added: every writer fills all of them."""
        version = con.execute("PRAGMA schema_version").fetchone()[0]
        if version != self._schema_version:
            self._columns = {name: name.split(".") for name in columns_of(con, self.table)}
            self._schema_version = version

    # ---- reading

    def _compile(self, criteria: Mapping[str, Any] | None) -> tuple[Condition, Matcher, sqlite3.Connection]:
        matches = matcher(criteria)  # first: it refuses what is not supported
        con = self._connection()
        return compile_filter(criteria, self._columns), matches, con

    def _document(self, con: sqlite3.Connection, i: int) -> dict[str, Any] | None:
        with connection.explained(self.path):
            row = con.execute(f"SELECT doc FROM {self.table} WHERE id = ?", (i,)).fetchone()  # noqa: S608
        return None if row is None else unpack(row[0], self.name)

    def _holds_other(self, con: sqlite3.Connection, columns: Iterable[str], condition: Condition) -> bool:
        """Whether a document that `condition` admits holds a value that SQL cannot compare in one of `columns`."""
        for column in columns:
            test = f"{quoted(column)} = ?"
            sql = f"SELECT 1 FROM {self.table} WHERE {test} LIMIT 1"  # noqa: S608
            if column in self.fields and con.execute(sql, (OTHER,)).fetchone() is None:
                continue
            where = f"{self._where(con, condition)} AND {test}" if condition.terms else f" WHERE {test}"
            sql = f"SELECT 1 FROM {self.table}{where} LIMIT 1"  # noqa: S608
            if con.execute(sql, (*condition.parameters, OTHER)).fetchone() is not None:
                return True
        return False

    def _where(self, con: sqlite3.Connection, condition: Condition) -> str:
        """The WHERE clause, led by the term that admits the fewest documents, found by looking at a few of each:
        left to itself SQLite guesses, and may go through all documents of index 1 to find one uuid.
        """
        # a term without an index would have to be looked for among all documents
        terms = [t for t in condition.terms if t.fields <= set(self.fields)] if len(condition.terms) > 1 else []
        narrowest = None
        for few in _FEW if terms else ():
            numbers = [self._number(con, term, few) for term in terms]
            narrowest = terms[numbers.index(min(numbers))]
            if min(numbers) < few:
                break
        return condition.where(narrowest)

    def _number(self, con: sqlite3.Connection, term: Term, few: int) -> int:
        """How many documents a term admits, counted up to `few`."""
        sql = f"SELECT count(*) FROM (SELECT 1 FROM {self.table} WHERE {term.sql} LIMIT ?)"  # noqa: S608
        with connection.explained(self.path):
            return int(con.execute(sql, (*term.parameters, few)).fetchone()[0])

    def _matches(
        self,
        con: sqlite3.Connection,
        matches: Matcher,
        condition: Condition,
        order: Mapping[str, int] | None = None,
        at_most: int = 0,
    ) -> Iterator[dict[str, Any]]:
        return (doc for _, doc in self._rows(con, matches, condition, order, at_most))

    def _rows(
        self,
        con: sqlite3.Connection,
        matches: Matcher,
        condition: Condition,
        order: Mapping[str, int] | None = None,
        at_most: int = 0,
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Ids and documents that match. Ids first, then documents in chunks: no cursor stays open between two
        documents, so the caller may write, and the log can be checkpointed, while reading.
        """
        plus = "+" if condition.terms else ""  # sort what was found rather than search in the order of an index
        by = [f"{plus}{quoted(k)} {'ASC' if d == 1 else 'DESC'}" for k, d in (order or {}).items()]
        sql = f"SELECT id FROM {self.table}{self._where(con, condition)} ORDER BY {', '.join([*by, plus + 'id'])}"  # noqa: S608
        exact = condition.exact and not self._holds_other(con, condition.fields, condition)
        if at_most and exact:
            sql += f" LIMIT {int(at_most)}"
        with connection.explained(self.path):
            ids = [row[0] for row in con.execute(sql, condition.parameters)]
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            with connection.explained(self.path):
                select = f"SELECT id, doc FROM {self.table} WHERE id IN ({marks})"  # noqa: S608
                blobs = dict(con.execute(select, chunk).fetchall())
            for i in chunk:
                if i in blobs:  # or removed meanwhile
                    doc = unpack(blobs[i], self.name)
                    if exact or matches(doc):
                        yield i, doc
