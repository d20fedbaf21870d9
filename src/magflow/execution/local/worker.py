"""A worker: claims jobs from the queue, runs them, stores what they return.

``python -m magflow.execution.local.worker`` is what :class:`~magflow.execution.local.pool.WorkerPool` starts.

As a process it reads its configuration, one line of JSON, from standard input, which stays open as a lifeline: the
line ``stop`` ends it after the job at hand; when the pipe closes, its parent is dead, and it kills all that it has
started and itself. Everything heavy is imported once per worker, not per job.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

from magflow.core.masking import mask, masked_streams
from magflow.errors import MagflowError, StoreError, StoreUnusableError
from magflow.execution.attempts import cpu_seconds, describe
from magflow.execution.directories import JobDirectories
from magflow.execution.local.outputs import HeldOutput, share_a_file
from magflow.execution.local.processes import kill_own_tree
from magflow.execution.payload import decoded

if TYPE_CHECKING:
    from jobflow import JobStore, Response

    from magflow.execution.local.queue import JobQueue
    from magflow.execution.states import Claim

EXIT_STORE = 4
"""Exit code of a worker that cannot read or write the store: no worker can go on."""

_IDLE_SHORTEST, _IDLE_LONGEST = 0.004, 0.05  # seconds between two looks at the queue
_FIELDS = ("message", "where", "seen", "expected", "hint")  # of a MagflowError


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker process is told: `path` is Python's module search path, `store` a serialised JobStore or None."""

    directory: str
    name: str
    path: list[str]
    store: dict[str, Any] | None
    retries: int
    max_crashes: int
    synchronous: str


class Worker:
    """Runs jobs of `queue` in this thread, with outputs in `store` (any connected JobStore)."""

    def __init__(self, queue: JobQueue, store: JobStore, name: str) -> None:
        self.queue, self.store, self.name = queue, store, name
        self.directories = JobDirectories(queue.jobs_directory, name)
        self._joined = share_a_file(store, queue)

    def run(self, stop: threading.Event | None = None, until_drained: bool = False) -> int:
        """Run jobs until `stop` is set, or until nothing is ready or running; returns the number of tries.

        Raises
        ------
        StoreError
            If the store or the queue cannot be written; the job at hand is offered again.
        """
        stop = stop or threading.Event()
        done, idle, version = 0, _IDLE_SHORTEST, -1
        claim = self.queue.claim(self.name)
        while not stop.is_set():
            if claim is not None:
                claim, done, idle = self._run_and_claim(claim, stop), done + 1, _IDLE_SHORTEST
                continue
            if until_drained and self.queue.is_drained():
                break
            stop.wait(idle)
            idle = min(2 * idle, _IDLE_LONGEST)
            if version != (version := self.queue.version()) and self.queue.has_ready():
                claim = self.queue.claim(self.name)
        if claim is not None:
            self.queue.release(self.name)
        self.directories.close()
        return done

    def _run_and_claim(self, claim: Claim, stop: threading.Event) -> Claim | None:
        """Run one job; store its output, mark it, and claim the next, in one transaction."""
        from magflow.execution.states import Cost

        output = HeldOutput(self.store, claim, self.queue.results_directory)
        began, cpu = time.monotonic(), cpu_seconds()
        try:
            with _store_errors_apart():
                response = self._execute(claim, output)
                if not self._joined:
                    output.write()
            cost = Cost(time.monotonic() - began, cpu_seconds() - cpu)
            kept = self.directories.leave(claim.directory, _discards_files(claim))
            with _store_errors_apart(), self.queue.transaction():
                if self.queue.complete(claim, response, cost, kept) and self._joined:
                    output.write()
                return self._next(stop)
        except StoreUnusableError:
            raise
        except Exception as failure:  # of the job, or of what it returned
            cost = Cost(time.monotonic() - began, cpu_seconds() - cpu)
            with self.queue.transaction():
                self.queue.fail(claim, describe(failure), cost, final=isinstance(failure, MagflowError))
                return self._next(stop)

    def _next(self, stop: threading.Event) -> Claim | None:
        return None if stop.is_set() else self.queue.claim(self.name)

    def _execute(self, claim: Claim, output: HeldOutput) -> Response[Any]:
        from jobflow import CURRENT_JOB

        from magflow.core.label import Cost
        from magflow.makers.tries import LOST

        job = decoded(claim.payload)
        self.directories.make(claim.directory)
        lost = LOST.set(Cost(claim.lost.cpu, claim.lost.wall))
        try:
            with contextlib.chdir(claim.directory):
                return job.run(store=cast("JobStore", output), job_dir=claim.directory)
        finally:
            CURRENT_JOB.reset()
            LOST.reset(lost)


@contextlib.contextmanager
def _store_errors_apart() -> Iterator[None]:
    """Tell errors of SQLite itself, which end the worker, from those of one document, which fail the job."""
    try:
        yield
    except StoreError as error:
        if isinstance(error, StoreUnusableError) or not isinstance(error.__cause__, sqlite3.Error):
            raise
        fields = {k: getattr(error, k) for k in _FIELDS[1:]}
        raise StoreUnusableError(error.message, **fields) from error


def _discards_files(claim: Claim) -> bool:
    """Whether the job's metadata say that what it leaves in its directory may go (``discard_files: true``)."""
    if '"discard_files"' not in claim.payload:
        return False
    return json.loads(claim.payload).get("metadata", {}).get("discard_files") is True


def _watch_lifeline(lifeline: IO[str], stop: threading.Event) -> None:
    for line in lifeline:
        if line.strip() == "stop":
            stop.set()
    if not stop.is_set():
        kill_own_tree()


def main() -> int:
    """Entry point of a worker process; returns its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the business of the main process
    lifeline = os.fdopen(os.dup(0), encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # the programs that jobs start must not read from the lifeline
    os.close(nothing)
    config = WorkerConfig(**json.loads(lifeline.readline()))
    sys.path.extend(p for p in config.path if p not in sys.path)
    stop = threading.Event()
    threading.Thread(target=_watch_lifeline, args=(lifeline, stop), daemon=True).start()
    try:
        with masked_streams():
            _serve(config, stop)
    except StoreError as error:
        _report(error)
        return EXIT_STORE
    return 0


def _serve(config: WorkerConfig, stop: threading.Event) -> None:
    from monty.json import MontyDecoder

    from magflow.execution.local.queue import JobQueue
    from magflow.stores.jobstore import campaign_store

    if config.store is None:
        store = campaign_store(config.directory, config.synchronous)
    else:
        store = MontyDecoder().process_decoded(config.store)
    store.connect()
    queue = JobQueue(config.directory, config.retries, config.max_crashes, config.synchronous)
    Worker(queue, store, config.name).run(stop)


def _report(error: StoreError) -> None:
    """Tell the parent what is wrong with the store, as JSON on the pipe that it gave."""
    fields = {k: getattr(error, k) for k in _FIELDS}
    print(mask(f"StoreError: {error}"), file=sys.stderr, flush=True)
    descriptor = os.environ.get("MAGFLOW_REPORT_FD")
    if descriptor is not None:
        os.write(int(descriptor), json.dumps(fields, default=str).encode()[:60000])


if __name__ == "__main__":
    # os._exit: threads of libraries must not keep a worker alive that has nothing left to do
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
