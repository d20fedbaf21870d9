"""How finished jobs move others: insertion of flows, and settling of uuids. All within the caller's transaction.

Rules (those of jobflow's ``run_locally``, but for the order of independent jobs):

- A child waits until every parent uuid is settled. A replaced job's uuid is settled with the last of its indices.
- The children of a job that returned a replacement or a detour also wait for the leaves of that flow (an edge that
  is not *needed*: a failure there does not cancel them). An addition runs beside them.
- Once all parents are settled, a child that needs the output of one that *failed*, or was cancelled because of a
  failure, is cancelled too, unless its ``on_missing_references`` is not ERROR. It is not cancelled before: what becomes
  of a job must not depend on which of its parents was first.
- ``stop_children`` cancels the children, tolerant or not, and all that need them, at once. ``stop_jobflow`` cancels all
  of the flow that has not begun, and nothing is added to that flow any more.
"""

from __future__ import annotations

import json
import sqlite3
import time
from typing import TYPE_CHECKING

from monty.json import MontyEncoder

from magflow.execution.flows import category, entries
from magflow.execution.payload import encoded
from magflow.execution.states import CancelReason, JobState

if TYPE_CHECKING:
    from jobflow import Flow, Job

_UNCANCEL = "UPDATE jobs SET state = 'WAITING', reason = NULL, error = NULL, ended = NULL WHERE id = ?"
_IS_UNSETTLED = "SELECT 1 FROM jobs WHERE uuid = ? AND state IN ('WAITING', 'READY', 'RUNNING')"


def insert_flow(con: sqlite3.Connection, flow: Flow, flow_id: str) -> tuple[int, list[str]]:
    """Insert the jobs of `flow`; those whose (uuid, index) is known already are left as they are.

    Returns
    -------
    tuple
        The number of new jobs, and the uuids of the leaves.
    """
    now, added = time.time(), 0
    found = entries(flow)
    inner = {p for _, parents in found for p in parents}
    for job, parents in found:
        added += _insert_job(con, job, [p for p in parents if p != job.uuid], flow_id, now)
    return added, [job.uuid for job, _ in found if job.uuid not in inner]


def _insert_job(con: sqlite3.Connection, job: Job, parents: list[str], flow_id: str, now: float) -> bool:
    from jobflow.core.reference import OnMissing

    tolerant = job.config.on_missing_references != OnMissing.ERROR
    metadata = json.dumps(job.metadata, cls=MontyEncoder)
    row = con.execute(
        'INSERT OR IGNORE INTO jobs (uuid, "index", name, flow, category, state, unfinished, tolerant, submitted,'
        " metadata) VALUES (?, ?, ?, ?, ?, 'WAITING', 0, ?, ?, ?) RETURNING id",
        (job.uuid, job.index, job.name, flow_id, category(job), tolerant, now, metadata),
    ).fetchone()
    if row is None:
        return False
    con.execute("INSERT INTO payloads VALUES (?, ?)", (row[0], encoded(job)))
    con.executemany("INSERT OR IGNORE INTO edges VALUES (?, ?, 1)", [(p, row[0]) for p in parents])
    ready = recount(con, row[0])
    reason = _doomed(con, row[0], tolerant) if parents else None
    if reason is not None and (ready or reason is not CancelReason.PARENT):
        _mark_cancelled(con, row[0], reason)
        settle(con, job.uuid, reason)
    return True


def recount(con: sqlite3.Connection, job_id: int) -> bool:
    """Set `unfinished` and with it WAITING or READY, from the edges; True if READY."""
    unfinished = con.execute(
        "UPDATE jobs SET unfinished = n, state = iif(n, 'WAITING', 'READY') FROM (SELECT count(*) AS n FROM edges"
        " WHERE child = ? AND EXISTS (SELECT 1 FROM jobs AS p WHERE p.uuid = parent"
        " AND p.state IN ('WAITING', 'READY', 'RUNNING'))) WHERE jobs.id = ? RETURNING unfinished",
        (job_id, job_id),
    ).fetchone()[0]
    return bool(unfinished == 0)


def order_after(con: sqlite3.Connection, leaves: list[str], children: list[int]) -> None:
    """Make waiting `children` come after `leaves` as well."""
    for child in children:
        con.executemany("INSERT OR IGNORE INTO edges VALUES (?, ?, 0)", [(leaf, child) for leaf in leaves])
        recount(con, child)


def waiting_children(con: sqlite3.Connection, uuid: str) -> list[int]:
    """Ids of the waiting jobs that come after `uuid`."""
    sql = "SELECT child FROM edges JOIN jobs ON jobs.id = child WHERE parent = ? AND state = 'WAITING'"
    return [row[0] for row in con.execute(sql, (uuid,))]


def settle(con: sqlite3.Connection, uuid: str, reason: CancelReason | None = None) -> None:
    """Move the children of `uuid`, if none of its indices is pending; cancel them at once if `reason` is a stop."""
    pending = [(uuid, reason)]
    while pending:
        uuid, reason = pending.pop()
        if reason in (CancelReason.STOPPED, CancelReason.FLOW_STOPPED):
            pending += stop_children(con, uuid, reason)
        if con.execute(_IS_UNSETTLED, (uuid,)).fetchone():
            continue
        rows = con.execute(
            "UPDATE jobs SET unfinished = unfinished - 1, state = iif(unfinished <= 1, 'READY', 'WAITING')"
            " WHERE state = 'WAITING' AND id IN (SELECT child FROM edges WHERE parent = ?)"
            " RETURNING id, uuid, state, tolerant",
            (uuid,),
        ).fetchall()
        for job_id, child, state, tolerant in rows:
            if state == JobState.READY and (doom := _doomed(con, job_id, tolerant)):
                _mark_cancelled(con, job_id, doom)
                pending.append((child, doom))


def stop_children(con: sqlite3.Connection, uuid: str, reason: CancelReason) -> list[tuple[str, CancelReason | None]]:
    """Cancel the waiting jobs that need `uuid`; returns their uuids, to be settled, with the reason."""
    sql = "SELECT id, uuid FROM edges JOIN jobs ON jobs.id = child WHERE parent = ? AND needed AND state = 'WAITING'"
    rows = con.execute(sql, (uuid,)).fetchall()
    for job_id, _ in rows:
        _mark_cancelled(con, job_id, reason)
    return [(child, reason) for _, child in rows]


def stop_flow(con: sqlite3.Connection, flow_id: str) -> None:
    """Cancel all of a flow that has not begun; nothing can be added to it any more."""
    con.execute("UPDATE flows SET stopped = 1 WHERE flow = ?", (flow_id,))
    sql = "SELECT id, uuid FROM jobs WHERE flow = ? AND state IN ('WAITING', 'READY')"
    rows = con.execute(sql, (flow_id,)).fetchall()
    for job_id, _ in rows:
        _mark_cancelled(con, job_id, CancelReason.FLOW_STOPPED)
    for _, uuid in rows:
        settle(con, uuid, CancelReason.FLOW_STOPPED)


def is_stopped(con: sqlite3.Connection, flow_id: str) -> bool:
    """Whether ``stop_jobflow`` was returned by a job of the flow."""
    row = con.execute("SELECT stopped FROM flows WHERE flow = ?", (flow_id,)).fetchone()
    return bool(row and row[0])


def revive(con: sqlite3.Connection, uuids: list[str]) -> None:
    """Let the jobs wait again that were cancelled because one of `uuids`, now pending, had failed."""
    pending = list(uuids)
    while pending:
        uuid = pending.pop()
        sql = (
            "SELECT id, uuid FROM edges JOIN jobs ON jobs.id = child"
            " WHERE parent = ? AND needed AND state = 'CANCELLED' AND reason = ?"
        )
        for job_id, child in con.execute(sql, (uuid, str(CancelReason.PARENT))).fetchall():
            con.execute(_UNCANCEL, (job_id,))
            pending.append(child)
        for job_id in [row[0] for row in con.execute("SELECT child FROM edges WHERE parent = ?", (uuid,))]:
            if con.execute("SELECT 1 FROM jobs WHERE id = ? AND state IN ('WAITING', 'READY')", (job_id,)).fetchone():
                recount(con, job_id)


def _mark_cancelled(con: sqlite3.Connection, job_id: int, reason: CancelReason) -> None:
    con.execute(
        "UPDATE jobs SET state = 'CANCELLED', reason = ?, ended = ?, error = ? WHERE id = ?",
        (str(reason), time.time(), str(reason), job_id),
    )


def _doomed(con: sqlite3.Connection, job_id: int, tolerant: bool) -> CancelReason | None:
    """Why a job can never run: a parent that it needs was stopped, or has failed for good."""
    sql = (
        "SELECT DISTINCT p.reason FROM edges JOIN jobs AS p ON p.uuid = parent"
        " WHERE child = ? AND needed AND p.state IN ('FAILED', 'CANCELLED')"
    )
    reasons = [reason for (reason,) in con.execute(sql, (job_id,))]
    for stop in (CancelReason.STOPPED, CancelReason.FLOW_STOPPED):
        if stop in reasons:
            return stop
    return CancelReason.PARENT if reasons and not tolerant else None
