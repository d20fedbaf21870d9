"""The table of an SQLite store: a column for each declared field of its documents, and indexes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from magflow.stores.blob import unpack
from magflow.stores.pushdown import column_value, quoted

_LAYOUT = "(id INTEGER PRIMARY KEY, doc BLOB NOT NULL)"


def columns_of(con: sqlite3.Connection, table: str) -> list[str]:
    """The declared fields of a table that exists, in the order of its columns."""
    return [row[1] for row in con.execute(f"PRAGMA table_info({table})")][2:]


def index_name(table: str, fields: Sequence[str]) -> str:
    """Name of the index on `fields`."""
    return f"{table}:{'+'.join(fields)}"


def declare(
    con: sqlite3.Connection,
    table: str,
    indexed: Sequence[str],
    scalars: Sequence[str],
    together: Sequence[Sequence[str]],
) -> None:
    """Create the table, or what it lacks: a column per field, filled from the documents there are, and the indexes."""
    if not is_there(con, table):
        con.execute(f"CREATE TABLE {table} {_LAYOUT}")
    present = columns_of(con, table)
    new = [field for field in (*indexed, *scalars) if field not in present]
    for field in new:
        con.execute(f"ALTER TABLE {table} ADD COLUMN {quoted(field)}")
    for fields in (*((field,) for field in indexed), *together):
        name = quoted(index_name(table, fields))
        columns = ", ".join(quoted(field) for field in fields)
        con.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {table} ({columns})")
    if new:
        _fill(con, table, new)


def declare_beside(
    con: sqlite3.Connection,
    table: str,
    indexed: Sequence[str],
    scalars: Sequence[str],
    together: Sequence[Sequence[str]],
) -> None:
    """As :func:`declare`, for a file that may only be read: this connection sees a temporary copy of the table."""
    filled = is_there(con, table)
    con.execute(f"CREATE TEMP TABLE {table} {_LAYOUT}")
    if filled:
        con.execute(f"INSERT INTO temp.{table} SELECT id, doc FROM main.{table}")  # noqa: S608
    declare(con, table, indexed, scalars, together)


def is_there(con: sqlite3.Connection, table: str) -> bool:
    """Whether there is such a table."""
    return con.execute(f"PRAGMA table_info({table})").fetchone() is not None


def is_declared(
    con: sqlite3.Connection,
    table: str,
    indexed: Sequence[str],
    scalars: Sequence[str],
    together: Sequence[Sequence[str]],
) -> bool:
    """Whether :func:`declare` would have nothing to do."""
    indexes = {row[1] for row in con.execute(f"PRAGMA index_list({table})")}
    wanted = {index_name(table, fields) for fields in together}
    return {*indexed, *scalars} <= set(columns_of(con, table)) and wanted <= indexes


def _fill(con: sqlite3.Connection, table: str, fields: Sequence[str]) -> None:
    sets = ", ".join(f"{quoted(field)} = ?" for field in fields)
    paths = [field.split(".") for field in fields]
    for (i,) in con.execute(f"SELECT id FROM {table}").fetchall():  # noqa: S608
        row = con.execute(f"SELECT doc FROM {table} WHERE id = ?", (i,)).fetchone()  # noqa: S608
        doc = unpack(row[0], table)
        values = [column_value(doc, path) for path in paths]
        con.execute(f"UPDATE {table} SET {sets} WHERE id = ?", (*values, i))  # noqa: S608
