"""Trivial jobs through the local executor and through jobflow's run_locally, in one run.

    python benchmarks/executor.py [--sizes 100 1000 5000] [--workers 2] [--alone]

Each case runs in a fresh process. The time is from submission to the end of the last job, with the start of the
workers; memory is the largest resident set of the main process and of any worker.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
from jobflow import Flow, JobStore, job, run_locally


@job
def trivial(i):
    return i


def make_flow(size):
    return Flow([trivial(i) for i in range(size)])


def run_peer(size, workers):
    from maggma.stores import MemoryStore

    flow = make_flow(size)
    began = time.perf_counter()
    run_locally(flow, store=JobStore(MemoryStore()), log=False)
    return {"seconds": time.perf_counter() - began}


def run_executor(size, workers):
    from magflow.execution.local.executor import LocalExecutor

    flow, me, largest = make_flow(size), psutil.Process(), [0]
    with tempfile.TemporaryDirectory() as directory:
        began = time.perf_counter()
        executor = LocalExecutor(directory, workers=workers)
        executor.submit(flow)
        summary = executor.run(lambda _: largest.append(max((child_rss(c) for c in me.children()), default=0)))
        ended = time.perf_counter()
        if sum(summary.counts.values()) != size or not summary.ok:
            raise SystemExit(f"not all jobs completed: {summary}")
        return {"seconds": ended - began, "worker_mb": max(largest)}


def child_rss(process):
    with suppress(psutil.Error):
        return process.memory_info().rss / 2**20
    return 0


CASES = {"executor": run_executor, "run_locally": run_peer}


def run_case(case, size, workers):
    """Run in a fresh process that imports this file as a module, as workers must."""
    code = f"import executor; executor.child({case!r}, {size}, {workers})"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env)
    return json.loads(done.stdout.splitlines()[-1])


def child(case, size, workers):
    before = cpu_seconds()
    result = CASES[case](size, workers)
    result["cpu"] = cpu_seconds() - before
    result["main_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))


def cpu_seconds():
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usages)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--alone", action="store_true", help="no run_locally, which takes too long with many jobs")
    options = parser.parse_args()
    start = run_case("executor", 1, options.workers)["seconds"]
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {options.workers} workers")
    print(f"start and end of the workers, one job: {start:.2f} s (included below)")
    titles = ("jobs", "executor s", "ms/job", "CPU ms/job", "main MB", "worker MB", "run_locally s", "ms/job")
    print(" ".join(f"{t:>13}" for t in (*titles, "CPU ms/job", "MB", "ratio")))
    for size in options.sizes:
        ours = run_case("executor", size, options.workers)
        numbers = [*columns(ours, size), ours["main_mb"], ours["worker_mb"]]
        if not options.alone:
            peer = run_case("run_locally", size, options.workers)
            numbers += [*columns(peer, size), peer["main_mb"], peer["seconds"] / ours["seconds"]]
        print(f"{size:13d} " + " ".join(f"{n:13.2f}" for n in numbers))


def columns(result, size):
    return result["seconds"], 1e3 * result["seconds"] / size, 1e3 * result["cpu"] / size


if __name__ == "__main__":
    main()
