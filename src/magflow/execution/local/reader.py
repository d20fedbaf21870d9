"""Reading the queue from any process, during and after a run; never writes, never blocks the workers."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

from magflow.errors import StoreError
from magflow.execution.directories import JOBS
from magflow.execution.local.schema import is_readable
from magflow.execution.states import ALL_JOBS, CategorySummary, JobFilter, JobRecord, JobState
from magflow.stores import connection
from magflow.stores.layout import DATABASE

_COLUMNS = (
    'uuid, "index", name, flow, category, state, tries, errors, crashes, submitted, started, ended, wall, cpu,'
    " worker, directory, error, metadata"
)


class QueueReader:
    """Read-only view of the queue of the campaign in `directory`.

    Raises
    ------
    StoreError
        If there is no campaign in `directory`, or its file is damaged.
    """

    def __init__(self, directory: str | Path) -> None:
        self.path = Path(directory).absolute() / DATABASE

    def counts(self) -> dict[JobState, int]:
        """Number of jobs in each state."""
        rows = dict(self._all("SELECT state, count(*) FROM jobs GROUP BY state"))
        return {state: rows.get(state, 0) for state in JobState}

    def categories(self) -> dict[str, CategorySummary]:
        """Counts and costs of each category of jobs."""
        found: dict[str, CategorySummary] = {}
        sql = "SELECT category, state, count(*), sum(wall), sum(cpu) FROM jobs GROUP BY category, state"
        for category, state, number, wall, cpu in self._all(sql):
            old = found.get(category, CategorySummary(dict.fromkeys(JobState, 0), 0.0, 0.0))
            counts = {**old.counts, JobState(state): number}
            found[category] = CategorySummary(counts, old.wall_seconds + wall, old.cpu_seconds + cpu)
        return found

    def jobs(self, which: JobFilter = ALL_JOBS, limit: int | None = None) -> list[JobRecord]:
        """The jobs that `which` describes, in order of submission."""
        where, values = which.sql()
        sql = f"SELECT {_COLUMNS} FROM jobs WHERE {where} ORDER BY id LIMIT ?"  # noqa: S608
        return [self._record(row) for row in self._all(sql, [*values, -1 if limit is None else limit])]

    def running(self) -> list[tuple[JobRecord, float]]:
        """What runs now, each with the seconds since it began."""
        now = time.time()
        jobs = self.jobs(JobFilter(states=(JobState.RUNNING,)))
        return [(job, now - (job.started or now)) for job in jobs]

    def tries(self) -> list[tuple[str, int, int]]:
        """What runs now: worker, id of the job, number of the try."""
        return [tuple(row) for row in self._all("SELECT worker, id, tries FROM jobs WHERE state = 'RUNNING'")]

    def failed(self) -> list[JobRecord]:
        """The failed jobs, with their errors."""
        return self.jobs(JobFilter(states=(JobState.FAILED,)))

    def losses(self) -> int:
        """Number of runs whose worker was lost."""
        return int(self._all("SELECT coalesce(sum(crashes), 0) FROM jobs")[0][0])

    def throughput(self, window: float = 600.0) -> float:
        """Jobs completed per second over the last `window` seconds (or since the first submission, if later)."""
        now = time.time()
        ((done, first),) = self._all(
            "SELECT (SELECT count(*) FROM jobs WHERE ended >= ? AND state = 'COMPLETED'),"
            " (SELECT submitted FROM jobs ORDER BY id LIMIT 1)",
            [now - window],
        )
        span = min(window, now - first) if first is not None else window
        return float(done) / span if span > 0 else 0.0

    def daemons(self) -> list[dict[str, Any]]:
        """Nobody: the workers are this machine's own."""
        return []

    def _all(self, sql: str, values: list[Any] | None = None) -> list[tuple[Any, ...]]:
        with closing(connection.connect_readonly(self.path)) as con, connection.explained(self.path):
            self._check(con)
            return con.execute(sql, values or []).fetchall()

    def _record(self, row: tuple[Any, ...]) -> JobRecord:
        fields = dict(zip((f.name for f in dataclass_fields(JobRecord)), row, strict=True))
        if fields["directory"] is not None:  # a queue of magflow 0.1 names whole paths, perhaps of before it was moved
            fields["directory"] = str(self.path.parent / JOBS / Path(fields["directory"]).name)
        return JobRecord(**{**fields, "state": JobState(fields["state"]), "metadata": json.loads(fields["metadata"])})

    def _check(self, con: sqlite3.Connection) -> None:
        if not is_readable(con, str(self.path)):
            raise StoreError(
                "there is no queue in this file",
                where=str(self.path),
                hint="give the directory of a campaign that was run on this machine",
            )
