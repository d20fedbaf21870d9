"""Tables of the queue, in the campaign's SQLite file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from magflow.core.release import __version__
from magflow.core.versions import Format


def _without_leases_and_paths(con: sqlite3.Connection) -> sqlite3.Connection:
    """Directories were whole paths, which in a copy of a campaign named those of the original."""
    con.execute("DROP INDEX IF EXISTS jobs_running")
    con.execute("ALTER TABLE jobs DROP COLUMN lease")
    rows = con.execute("SELECT directory, id FROM jobs WHERE directory IS NOT NULL").fetchall()
    con.executemany("UPDATE jobs SET directory = ? WHERE id = ?", [(Path(path).name, job) for path, job in rows])
    return con


QUEUE: Format[sqlite3.Connection] = Format("queue", (_without_leases_and_paths,))
"""Of the tables. A step changes them by way of the connection it is given, which it returns. Readers never write, so
they meet older tables too."""

STATEMENTS = (
    """
    CREATE TABLE IF NOT EXISTS jobs (
        id INTEGER PRIMARY KEY,            -- order of submission, and of execution among READY jobs
        uuid TEXT NOT NULL,
        "index" INTEGER NOT NULL,
        name TEXT NOT NULL,
        flow TEXT NOT NULL,                -- uuid of the submitted flow that it descends from
        category TEXT NOT NULL,            -- dft, train, md, light, ...: metadata["category"]
        state TEXT NOT NULL,
        reason TEXT,                       -- why it was cancelled
        unfinished INTEGER NOT NULL,       -- edges whose parent is not settled; WAITING means > 0
        tolerant INTEGER NOT NULL,         -- runs even if a parent failed (on_missing_references is not ERROR)
        worker TEXT,
        tries INTEGER NOT NULL DEFAULT 0,
        errors INTEGER NOT NULL DEFAULT 0,
        crashes INTEGER NOT NULL DEFAULT 0,
        submitted REAL NOT NULL,
        started REAL,
        ended REAL,
        wall REAL NOT NULL DEFAULT 0,
        cpu REAL NOT NULL DEFAULT 0,
        error TEXT,
        directory TEXT,                    -- name of that of the last try, in jobs/
        metadata TEXT NOT NULL,
        stored_data TEXT,
        UNIQUE (uuid, "index"))
    """,
    # apart from the state, so that a change of state rewrites a short row
    "CREATE TABLE IF NOT EXISTS payloads (id INTEGER PRIMARY KEY, job TEXT NOT NULL)",
    """
    CREATE TABLE IF NOT EXISTS edges (
        parent TEXT NOT NULL,              -- uuid
        child INTEGER NOT NULL,            -- id
        needed INTEGER NOT NULL,           -- 1: the child uses its output; 0: the child only comes after it
        PRIMARY KEY (parent, child)) WITHOUT ROWID
    """,
    "CREATE TABLE IF NOT EXISTS flows (flow TEXT PRIMARY KEY, name TEXT NOT NULL, stopped INTEGER NOT NULL DEFAULT 0)",
    "CREATE TABLE IF NOT EXISTS queue_format (format INTEGER NOT NULL, magflow TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS edges_child ON edges (child)",
    "CREATE INDEX IF NOT EXISTS jobs_ready ON jobs (id) WHERE state = 'READY'",
    "CREATE INDEX IF NOT EXISTS jobs_running ON jobs (worker) WHERE state = 'RUNNING'",
    "CREATE INDEX IF NOT EXISTS jobs_failed ON jobs (id) WHERE state = 'FAILED'",
    # for counts; an index that began with the state would tempt SQLite to search all WAITING jobs for a child
    "CREATE INDEX IF NOT EXISTS jobs_category ON jobs (category, state)",
    "CREATE INDEX IF NOT EXISTS jobs_flow ON jobs (flow) WHERE state IN ('WAITING', 'READY')",
    "CREATE INDEX IF NOT EXISTS jobs_ended ON jobs (ended)",
)


def prepare_tables(con: sqlite3.Connection, where: str) -> None:
    """Create the tables, or bring those of an older magflow up to date; within the caller's transaction.

    Raises
    ------
    NewerFormatError
        If a newer magflow made them, in a format this one does not know.
    """
    if has_tables(con):
        QUEUE.upgraded(con, *_written(con), where)
    for statement in STATEMENTS:
        con.execute(statement)
    con.execute("DELETE FROM queue_format")
    con.execute("INSERT INTO queue_format VALUES (?, ?)", (QUEUE.number, __version__))


def are_present(con: sqlite3.Connection, where: str) -> bool:
    """Whether the file holds a queue in the format that this magflow writes.

    Raises
    ------
    NewerFormatError
        If a newer magflow made it, in a format this one does not know.
    """
    return is_readable(con, where) and _written(con)[0] == QUEUE.number


def is_readable(con: sqlite3.Connection, where: str) -> bool:
    """Whether the file holds a queue, of this magflow or an older one.

    Raises
    ------
    NewerFormatError
        If a newer magflow made it, in a format this one does not know.
    """
    return has_tables(con) and QUEUE.require(*_written(con), where) > 0


def has_tables(con: sqlite3.Connection) -> bool:
    """Whether the file holds a queue, whoever made it."""
    return con.execute("SELECT 1 FROM sqlite_master WHERE name = 'jobs_ended'").fetchone() is not None


def _written(con: sqlite3.Connection) -> tuple[int, str | None]:
    """Format of the tables, and the version of magflow that made them; magflow 0.1 noted neither."""
    if con.execute("SELECT 1 FROM sqlite_master WHERE name = 'queue_format'").fetchone() is None:
        return 1, None
    found: tuple[int, str] | None = con.execute("SELECT format, magflow FROM queue_format").fetchone()
    return found or (1, None)
