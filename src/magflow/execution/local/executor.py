"""Run a campaign's queue on this machine with N worker processes; whatever dies, everything is resumable."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from magflow.campaign.lock import Lock, campaign_lock
from magflow.errors import CampaignError, InputError, StoreError
from magflow.execution.directories import remove_spares
from magflow.execution.local.pool import Death, WorkerPool
from magflow.execution.local.processes import kill_tagged, tag
from magflow.execution.local.queue import JobQueue
from magflow.execution.local.reader import QueueReader
from magflow.execution.local.watch import Watch, costs_in
from magflow.execution.states import Cost, JobRecord, JobState
from magflow.stores import connection
from magflow.stores.results import find_results, sync_results

if TYPE_CHECKING:
    from jobflow import Flow, Job, JobStore

_TICK = 0.03  # seconds between two looks at the workers and the queue

QUIET_LIMIT = 1800.0
"""Seconds after which a job whose processes use no CPU time is taken to hang."""


@dataclass(frozen=True)
class RunProgress:
    """What a progress callback is told: jobs in each state, names of those running, seconds since the run began."""

    counts: dict[JobState, int]
    running: tuple[str, ...]
    elapsed: float


@dataclass(frozen=True)
class RunSummary:
    """How a run ended: jobs in each state, the failed ones, wall seconds, workers that died."""

    counts: dict[JobState, int]
    failed: tuple[JobRecord, ...]
    elapsed: float
    deaths: int

    @property
    def ok(self) -> bool:
        """Whether every job is completed or was cancelled by the flow itself, none failed."""
        return not self.failed


class LocalExecutor:
    """Local workers on the durable queue of the campaign in `directory`.

    Parameters
    ----------
    directory
        Of the campaign; created if absent, on a local disk.
    store
        JobStore for outputs; by default the embedded one (:func:`~magflow.stores.jobstore.campaign_store`). It
        must be one that several processes can write at once.
    workers
        Number of worker processes.
    threads
        Threads that each job's numerical libraries may use.
    quiet_limit
        Seconds after which a job whose processes use no CPU time is taken to hang: its worker is killed, as if it had
        died. None: never.
    retries, max_crashes, synchronous
        As for :class:`~magflow.execution.local.queue.JobQueue`.

    Raises
    ------
    StoreError
        If the directory or the store cannot be used.
    """

    def __init__(
        self,
        directory: str | Path,
        store: JobStore | None = None,
        workers: int = 2,
        threads: int = 1,
        retries: int = 1,
        max_crashes: int = 3,
        synchronous: str = "FULL",
        quiet_limit: float | None = QUIET_LIMIT,
    ) -> None:
        if workers < 1:
            raise InputError("no job would ever run", where="workers", seen=workers, expected="at least 1")
        self.directory = Path(directory).absolute()
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            hint = "choose a directory that you may create"
            raise StoreError(
                "the campaign's directory cannot be created", where=str(directory), seen=str(error), hint=hint
            ) from error
        self.store, self.workers, self.threads = store, workers, threads
        self.quiet_limit = quiet_limit
        self.queue = JobQueue(self.directory, retries, max_crashes, synchronous)
        self.reader = QueueReader(self.directory)

    def submit(self, flow: Flow | Job | list[Job], allow_external_references: bool = False) -> int:
        """Add a flow to the queue; jobs that are known already are left as they are. Returns the number of new jobs."""
        return self.queue.submit(flow, allow_external_references)

    def run(self, progress: Callable[[RunProgress], None] | None = None, interval: float = 0.5) -> RunSummary:
        """Work until nothing is left to do.

        Parameters
        ----------
        progress
            Called about every `interval` seconds when something has changed, every ten otherwise, and at the end.

        Raises
        ------
        CampaignError
            If another process runs this campaign, or workers die again and again without finishing anything.
        StoreError
            If the store cannot be written (disk full, read-only, damaged).
        KeyboardInterrupt
            On SIGINT or SIGTERM, after the workers and all that they had started are gone and their jobs are
            offered again.
        """
        began = time.monotonic()
        with campaign_lock(self.directory) as lock, _signals() as received:
            self._recover(lock)
            pool = WorkerPool(self.directory, self.workers, self.threads, self._worker_config())
            watch = Watch()
            monitor = _Monitor(self.reader, progress, interval, began)
            try:
                self._supervise(pool, watch, lock, monitor, received)
                pool.finish()
            except BaseException:
                pool.kill()
                self._interrupted(watch.costs())
                raise
            monitor.tell(force=True)
            connection.merge_log(self.queue.path)
        counts = self.reader.counts()
        if counts[JobState.WAITING]:
            raise CampaignError(
                "jobs are left that wait for each other",
                where=str(self.directory),
                seen=f"{counts[JobState.WAITING]} waiting, none ready or running",
                hint="see them with `magflow query DIR jobs --where 'state = WAITING'`",
            )
        return RunSummary(counts, tuple(self.reader.failed()), time.monotonic() - began, pool.deaths)

    def _supervise(self, pool: WorkerPool, watch: Watch, lock: Lock, monitor: _Monitor, received: list[int]) -> None:
        version = -1
        while True:
            if received:
                raise KeyboardInterrupt(signal.Signals(received[0]).name)
            deaths = pool.reap()
            for death in deaths:
                self._bury(pool, death, watch)
            if deaths or version != (version := self.queue.version()):
                if self.queue.is_drained():
                    return
                pool.fill()
            if watch.is_due():
                self._look(pool, watch, lock)
            monitor.tell()
            time.sleep(_TICK)

    def _look(self, pool: WorkerPool, watch: Watch, lock: Lock) -> None:
        """See what the workers do, tell others of it, and give up those that hang."""
        watch.look(pool.pids(), self.reader.tries())
        lock.tell(watch.told())
        for worker in [] if self.quiet_limit is None else watch.quiet(self.quiet_limit):
            pool.give_up(worker, f"its processes used no CPU time for {self.quiet_limit:.0f} s")

    def _bury(self, pool: WorkerPool, death: Death, watch: Watch) -> None:
        """After the death of a worker: kill what it left behind, then offer its job again."""
        kill_tagged(tag(self.directory, death.worker))
        if death.store_error is not None:
            raise death.store_error
        held = self.queue.crashed(death.worker, death.cause, watch.costs())
        for directory in held:
            if directory is not None:
                shutil.rmtree(directory, ignore_errors=True)
        pool.note_death(progress=bool(held))

    def _recover(self, lock: Lock) -> None:
        """Under the lock: nobody else runs this campaign, so what is RUNNING was left by a dead run."""
        kill_tagged(tag(self.directory))
        if self.store is not None:
            sync_results(self.store, find_results([self.queue.results_directory]))
        self._interrupted({} if lock.before is None else costs_in(lock.before.workers))
        for directory in self.queue.abandoned():
            shutil.rmtree(directory, ignore_errors=True)
        lock.tell({})

    def _interrupted(self, costs: Mapping[tuple[int, int], Cost]) -> None:
        for directory in self.queue.release(costs=costs):
            shutil.rmtree(directory, ignore_errors=True)
        remove_spares(self.queue.jobs_directory)

    def _worker_config(self) -> dict[str, Any]:
        from monty.json import MontyEncoder

        queue = self.queue
        return {
            "directory": str(self.directory),
            "path": [p or os.getcwd() for p in sys.path],  # noqa: PTH109
            "store": None if self.store is None else json.loads(json.dumps(self.store.as_dict(), cls=MontyEncoder)),
            "retries": queue.retries,
            "max_crashes": queue.max_crashes,
            "synchronous": queue.synchronous,
        }


_HEARTBEAT = 10.0
"""Seconds after which people are told that nothing has changed."""


class _Monitor:
    """Calls back when the queue has changed, not too often, and when nothing has for :data:`_HEARTBEAT`."""

    def __init__(
        self, reader: QueueReader, progress: Callable[[RunProgress], None] | None, interval: float, began: float
    ) -> None:
        self.reader, self.progress, self.interval, self.began = reader, progress, interval, began
        self.last = self.told = 0.0
        self.seen: tuple[dict[JobState, int], tuple[str, ...]] = ({}, ())

    def tell(self, force: bool = False) -> None:
        """Call back if it is time, and something has changed or nothing has for long."""
        now = time.monotonic()
        if self.progress is None or (now - self.last < self.interval and not force):
            return
        self.last = now
        counts = self.reader.counts()
        running = tuple(job.name for job, _ in self.reader.running())
        if force or (counts, running) != self.seen or now - self.told >= _HEARTBEAT:
            self.seen, self.told = (counts, running), now
            self.progress(RunProgress(counts, running, now - self.began))


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The numbers of the SIGINT and SIGTERM received; only the main thread may catch signals."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    old = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
