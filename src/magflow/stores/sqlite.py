"""A maggma Store in one SQLite file: the embedded default of a campaign.

It is a table of documents (:mod:`magflow.stores.table`) that is written, too. Any number of processes and threads read
and write at once; what :meth:`SQLiteStore.update` has returned from survives ``kill -9``
(:mod:`magflow.stores.connection`).

Differences from a MongoDB collection: documents have no ``_id`` (one that is given is dropped); projection operators
such as ``$slice``, and operators of filters that magflow does not use, are refused by name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from maggma.core import Sort, Store
from monty.json import jsanitize
from pydash import get, has, set_

from magflow.stores import connection
from magflow.stores.blob import pack
from magflow.stores.filters import matcher, rank
from magflow.stores.pushdown import column_value, compile_filter, quoted
from magflow.stores.table import DocumentTable


class SQLiteStore(DocumentTable, Store):
    """Documents in one table of an SQLite file.

    Parameters
    ----------
    path, table, key, fields, scalars, together, synchronous, compress
        As of :class:`~magflow.stores.table.DocumentTable`.
    **kwargs
        Of :class:`maggma.core.Store`.
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
        **kwargs: Any,
    ) -> None:
        DocumentTable.__init__(self, path, table, key, fields, scalars, together, synchronous, compress)
        self.kwargs = kwargs
        Store.__init__(self, key=key, **kwargs)

    @property
    def _collection(self) -> SQLiteStore:
        return self

    def query(
        self,
        criteria: dict[str, Any] | None = None,
        properties: dict[str, Any] | list[str] | None = None,
        sort: Mapping[str, Sort | int] | None = None,
        skip: int = 0,
        limit: int = 0,
        **kwargs: Any,
    ) -> Iterator[dict[str, Any]]:
        """As :meth:`DocumentTable.query`; orders may be those of maggma."""
        order = {key: Sort(direction).value for key, direction in (sort or {}).items()}
        return super().query(criteria, properties, order, skip, limit)

    def update(self, docs: list[dict[str, Any]] | dict[str, Any], key: list[str] | str | None = None) -> None:
        """Insert documents, or replace the first that agrees in the field or fields `key`; all or nothing.

        Raises
        ------
        StoreError
            If the documents cannot be written; then none was.
        KeyError
            If a document lacks a field of `key`.
        """
        keys = key if isinstance(key, list) else [key or self.key]
        entries = docs if isinstance(docs, list) else [docs]
        clean = [jsanitize(d, allow_bson=True, recursive_msonable=True) for d in entries]
        for doc in clean:
            doc.pop("_id", None)
        packed = [(d, pack(d, self.compress, self.name)) for d in clean if self._valid(d)]
        self._connection()
        with self.transaction() as con, connection.explained(self.path):
            self._refresh(con)
            for doc, blob in packed:
                self._replace(con, {k: doc[k] for k in keys}, doc, blob)

    def remove_docs(self, criteria: dict[str, Any]) -> None:
        """Remove the documents that match `criteria`."""
        self._connection()
        with self.transaction() as con, connection.explained(self.path):
            condition, matches, _ = self._compile(criteria)
            if condition.exact and not self._holds_other(con, condition.fields, condition):
                con.execute(f"DELETE FROM {self.table}{self._where(con, condition)}", condition.parameters)  # noqa: S608
                return
            gone = [(i,) for i, _ in self._rows(con, matches, condition)]
            con.executemany(f"DELETE FROM {self.table} WHERE id = ?", gone)  # noqa: S608

    def ensure_index(self, key: str, unique: bool = False) -> bool:
        """Whether `key` is indexed; a new one is declared now and existing documents are indexed."""
        if unique:
            return False
        if key not in self._columns:
            self.fields = (*self.fields, key)
            self._schema_version = -1
            self._connection()
        return True

    def groupby(
        self,
        keys: list[str] | str,
        criteria: dict[str, Any] | None = None,
        properties: dict[str, Any] | list[str] | None = None,
        sort: dict[str, Sort | int] | None = None,
        skip: int = 0,
        limit: int = 0,
        **kwargs: Any,
    ) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Documents that have all of `keys`, grouped by their values: pairs of (values, documents)."""
        names = keys if isinstance(keys, list) else [keys]
        if properties is not None:
            properties = [*properties, *names]
        docs = [d for d in self.query(criteria, properties, sort, skip, limit) if all(has(d, k) for k in names)]
        docs.sort(key=lambda d: [rank(get(d, k)) for k in names])
        for values, group in groupby(docs, key=lambda d: tuple(get(d, k) for k in names)):
            head: dict[str, Any] = {}
            for name, value in zip(names, values, strict=True):
                set_(head, name, value)
            yield head, list(group)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SQLiteStore) and (self.path, self.table) == (other.path, other.table)

    def __hash__(self) -> int:
        return hash((self.path, self.table))

    def _replace(self, con: sqlite3.Connection, criteria: dict[str, Any], doc: dict[str, Any], blob: bytes) -> None:
        condition = compile_filter(criteria, self._columns)
        first = next(self._rows(con, matcher(criteria), condition), None)
        values = [blob, *(column_value(doc, path) for path in self._columns.values())]
        names = ["doc", *(quoted(c) for c in self._columns)]
        if first is None:
            marks = ", ".join("?" * len(values))
            con.execute(f"INSERT INTO {self.table} ({', '.join(names)}) VALUES ({marks})", values)  # noqa: S608
        else:
            sets = ", ".join(f"{n} = ?" for n in names)
            con.execute(f"UPDATE {self.table} SET {sets} WHERE id = ?", (*values, first[0]))  # noqa: S608

    def _valid(self, doc: dict[str, Any]) -> bool:
        validator = self.validator
        if validator is None or validator.is_valid(doc):
            return True
        if getattr(validator, "strict", True):
            raise ValueError(validator.validation_errors(doc))
        self.logger.error(validator.validation_errors(doc))
        return False
