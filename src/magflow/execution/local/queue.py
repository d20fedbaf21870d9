"""The durable queue of a campaign: jobs of jobflow Flows in the campaign's SQLite file.

Each change of state is one transaction, so whoever dies leaves the queue as it was before or after it. What a
finished job adds is inserted in the transaction that marks it finished: a job's children exist exactly once. The
state machine is drawn in :class:`~magflow.execution.states.JobState`, the rules of jobflow in
:mod:`magflow.execution.local.graph`.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from monty.json import MontyEncoder

from magflow.execution import flows
from magflow.execution.attempts import directory_name
from magflow.execution.directories import JOBS, named_directory
from magflow.execution.local import graph
from magflow.execution.local.schema import are_present, prepare_tables
from magflow.execution.states import ALL_JOBS, NO_COST, CancelReason, Claim, Cost, JobFilter, JobState
from magflow.stores import connection
from magflow.stores.layout import DATABASE

if TYPE_CHECKING:
    from jobflow import Flow, Job, Response

NO_COSTS: Mapping[tuple[int, int], Cost] = MappingProxyType({})


class JobQueue:
    """The queue of the campaign in `directory`; usable from any process and thread.

    Parameters
    ----------
    retries
        How often a job is run again after an exception. Errors meant for a person
        (:class:`~magflow.errors.MagflowError`) are final at once.
    max_crashes
        How many workers may die of a job before it counts as failed.
    """

    def __init__(
        self,
        directory: str | Path,
        retries: int = 1,
        max_crashes: int = 3,
        synchronous: str = "FULL",
    ) -> None:
        self.path = Path(directory).absolute() / DATABASE
        self.jobs_directory = self.path.parent / JOBS
        self.results_directory = self.path.parent / "results"
        self.retries, self.max_crashes, self.synchronous = retries, max_crashes, synchronous
        con = connection.connect(self.path, synchronous)
        with connection.explained(self.path):
            ready = are_present(con, str(self.path))
        if not ready:
            with self._transaction() as con:
                prepare_tables(con, str(self.path))

    def submit(self, flow: Flow | Job | list[Job], allow_external_references: bool = False) -> int:
        """Add a flow; jobs that the queue knows already (same uuid and index) are left as they are.

        Returns
        -------
        int
            The number of new jobs.

        Raises
        ------
        InputError
            If the flow refers to jobs that are neither in it nor allowed, has a cycle, or cannot be serialised.
        """
        from jobflow.core.flow import get_flow

        with flows.explained():
            whole = get_flow(flow, allow_external_references=allow_external_references)
            with self._transaction() as con:
                con.execute("INSERT OR IGNORE INTO flows (flow, name) VALUES (?, ?)", (whole.uuid, whole.name))
                return graph.insert_flow(con, whole, whole.uuid)[0]

    def has_ready(self) -> bool:
        """Whether a job can be claimed now; reads only."""
        return self._one("SELECT 1 FROM jobs WHERE state = 'READY' LIMIT 1") is not None

    def is_drained(self) -> bool:
        """Whether nothing is ready or running."""
        return (
            self._one("SELECT 1 FROM jobs INDEXED BY jobs_running WHERE state = 'RUNNING' LIMIT 1") is None
            and not self.has_ready()
        )

    def version(self) -> int:
        """A number that changes when another connection has changed the file."""
        row = self._one("PRAGMA data_version")
        return int(row[0]) if row else 0

    def claim(self, worker: str) -> Claim | None:
        """Take the oldest ready job, or None."""
        with self._transaction() as con:
            row = con.execute("SELECT id FROM jobs WHERE state = 'READY' ORDER BY id LIMIT 1").fetchone()
            if row is None:
                return None
            found = con.execute(
                "UPDATE jobs SET state = 'RUNNING', worker = ?, tries = tries + 1, started = ?, ended = NULL"
                ' WHERE id = ? RETURNING id, uuid, "index", name, flow, worker, tries, wall, cpu',
                (worker, time.time(), row[0]),
            ).fetchone()
            payload = con.execute("SELECT job FROM payloads WHERE id = ?", row).fetchone()[0]
            directory = self.jobs_directory / directory_name(found[1], found[2], found[3], found[6])
            con.execute("UPDATE jobs SET directory = ? WHERE id = ?", (directory.name, row[0]))
        job_id, uuid, index, name, flow, owner, attempt, wall, cpu = found
        return Claim(job_id, uuid, index, name, flow, owner, attempt, payload, directory, Cost(wall, cpu))

    def complete(self, claim: Claim, response: Response[Any], cost: Cost = NO_COST, kept: bool = False) -> bool:
        """Mark a job completed, insert what it returned, move its children; all in one transaction.

        The first result counts, whoever holds the claim by then: what was computed is not thrown away.

        Parameters
        ----------
        kept
            Whether the job's directory still exists.

        Returns
        -------
        bool
            False if the job has ended meanwhile: nothing was changed.
        """
        with self._transaction() as con:
            sql = "SELECT 1 FROM jobs WHERE id = ? AND state IN ('READY', 'RUNNING')"
            if con.execute(sql, (claim.id,)).fetchone() is None:
                return False
            # not settled yet while what it returned is inserted: each edge is counted once
            if response.stop_jobflow:
                graph.stop_flow(con, claim.flow)
            elif not graph.is_stopped(con, claim.flow):
                self._extend(con, claim, response)
            stored = None if response.stored_data is None else json.dumps(response.stored_data, cls=MontyEncoder)
            self._finish(con, claim.id, JobState.COMPLETED, None, cost)
            con.execute(
                "UPDATE jobs SET stored_data = ?, directory = ? WHERE id = ?",
                (stored, claim.directory.name if kept else None, claim.id),
            )
            if response.stop_children:
                for uuid, reason in graph.stop_children(con, claim.uuid, CancelReason.STOPPED):
                    graph.settle(con, uuid, reason)
            graph.settle(con, claim.uuid)
        return True

    def fail(self, claim: Claim, error: str, cost: Cost = NO_COST, final: bool = False) -> bool:
        """Record an exception: the job is offered again, or has failed for good; False if the claim was lost."""
        with self._transaction() as con:
            if not self._owned(con, claim):
                return False
            con.execute("UPDATE jobs SET errors = errors + 1 WHERE id = ?", (claim.id,))
            errors = con.execute("SELECT errors FROM jobs WHERE id = ?", (claim.id,)).fetchone()[0]
            failed = final or errors > self.retries
            self._finish(con, claim.id, JobState.FAILED if failed else JobState.READY, error, cost)
            if failed:
                graph.settle(con, claim.uuid)
        return True

    def release(self, worker: str | None = None, costs: Mapping[tuple[int, int], Cost] = NO_COSTS) -> list[Path]:
        """Offer again what `worker` (or, if None, anyone) was running when it was stopped: not the jobs' fault.

        Parameters
        ----------
        costs
            What the interrupted tries had cost, by id of the job and number of the try.

        Returns
        -------
        list
            The directories of the interrupted tries.

        Raises
        ------
        StoreError
            If the file names a directory that is not the campaign's; nothing was changed.
        """
        with self._transaction() as con:
            rows = con.execute(
                "UPDATE jobs SET state = 'READY', worker = NULL"
                " WHERE state = 'RUNNING' AND worker = coalesce(?, worker) RETURNING directory, id, tries",
                (worker,),
            ).fetchall()
            for _, job, attempt in rows:
                self._charge(con, job, costs.get((job, attempt), NO_COST))
            return [named_directory(self.jobs_directory, row[0]) for row in rows if row[0]]

    def crashed(self, worker: str, cause: str, costs: Mapping[tuple[int, int], Cost] = NO_COSTS) -> list[Path | None]:
        """Record that `worker` died: what it ran is offered again, or has failed if this happened too often.

        Returns
        -------
        list
            For each job it was running the directory of the try that came to nothing; None if the job has failed.
        """
        with self._transaction() as con:
            sql = "SELECT id, tries, directory FROM jobs WHERE state = 'RUNNING' AND worker = ?"
            left: list[Path | None] = []
            for job, attempt, directory in con.execute(sql, (worker,)).fetchall():
                failed = self._crash(con, job, cause, costs.get((job, attempt), NO_COST))
                left.append(None if failed or not directory else named_directory(self.jobs_directory, directory))
        return left

    def abandoned(self) -> list[Path]:
        """Directories of earlier tries of jobs: each job keeps that of its last try, the others came to nothing."""
        if not self.jobs_directory.is_dir():
            return []
        there = {path.name for path in self.jobs_directory.iterdir()}
        sql = 'SELECT uuid, "index", name, tries, directory FROM jobs WHERE tries > 0'
        found = []
        for uuid, index, name, tries, directory in self._all(sql) if there else ():
            names = {directory_name(uuid, index, name, attempt) for attempt in range(1, tries + 1)}
            found += [self.jobs_directory / name for name in (names & there) - {directory}]
        return found

    def retry(self, which: JobFilter = ALL_JOBS) -> int:
        """Offer failed jobs again, with all their tries, and revive what was cancelled because of them.

        Returns
        -------
        int
            The number of failed jobs offered again.
        """
        where, values = which.sql()
        with self._transaction() as con:
            failed = f"SELECT id, uuid FROM jobs WHERE state = 'FAILED' AND {where}"  # noqa: S608
            rows = con.execute(failed, values).fetchall()
            con.executemany(
                "UPDATE jobs SET state = 'READY', errors = 0, crashes = 0, ended = NULL WHERE id = ?",
                [(job_id,) for job_id, _ in rows],
            )
            graph.revive(con, [uuid for _, uuid in rows])
        return len(rows)

    def _extend(self, con: sqlite3.Connection, claim: Claim, response: Response[Any]) -> None:
        children = graph.waiting_children(con, claim.uuid)
        for flow in (response.replace, response.detour):  # Job.run has made a Flow of each
            if flow is not None:
                leaves = graph.insert_flow(con, cast("Flow", flow), claim.flow)[1]
                graph.order_after(con, leaves, children)
        if response.addition is not None:
            graph.insert_flow(con, cast("Flow", response.addition), claim.flow)

    def _crash(self, con: sqlite3.Connection, job_id: int, cause: str, cost: Cost) -> bool:
        crashes, uuid = con.execute(
            "UPDATE jobs SET crashes = crashes + 1 WHERE id = ? RETURNING crashes, uuid", (job_id,)
        ).fetchone()
        failed = crashes >= self.max_crashes
        error = f"the worker died {crashes} time(s) while running this job ({cause})"
        self._finish(con, job_id, JobState.FAILED if failed else JobState.READY, error, cost)
        if failed:
            graph.settle(con, uuid)
        return bool(failed)

    def _charge(self, con: sqlite3.Connection, job_id: int, cost: Cost) -> None:
        con.execute("UPDATE jobs SET wall = wall + ?, cpu = cpu + ? WHERE id = ?", (cost.wall, cost.cpu, job_id))

    def _finish(self, con: sqlite3.Connection, job_id: int, state: JobState, error: str | None, cost: Cost) -> None:
        con.execute(
            "UPDATE jobs SET state = ?, error = ?, ended = ?, worker = NULL WHERE id = ?",
            (str(state), error, time.time(), job_id),
        )
        self._charge(con, job_id, cost)

    def _owned(self, con: sqlite3.Connection, claim: Claim) -> bool:
        sql = "SELECT 1 FROM jobs WHERE id = ? AND state = 'RUNNING' AND worker = ? AND tries = ?"
        return con.execute(sql, (claim.id, claim.worker, claim.attempt)).fetchone() is not None

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """One transaction over several calls."""
        return self._transaction()

    def _transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        return connection.transaction(self.path, self.synchronous)

    def _one(self, sql: str) -> tuple[Any, ...] | None:
        con = connection.connect(self.path, self.synchronous)
        with connection.explained(self.path):
            row: tuple[Any, ...] | None = con.execute(sql).fetchone()
            return row

    def _all(self, sql: str) -> list[tuple[Any, ...]]:
        con = connection.connect(self.path, self.synchronous)
        with connection.explained(self.path):
            return con.execute(sql).fetchall()
