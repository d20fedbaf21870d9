"""What FireWorks costs per job: a campaign of many workflows as magflow submits it, and one workflow of that size.

    python benchmarks/fireworks_overhead.py [--sizes 100 1000 5000] [--single 100 1000] [--iteration 50]

Trivial jobs, one worker, FireWorks' own rapidfire, each case in a fresh process on a fresh wire double of MongoDB
(tests/doubles). Per job: wall time, CPU time of the worker and of the double, commands and kilobytes sent to the
database. The double searches whole collections, which MongoDB with its indexes does not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(Path(__file__).parent)]


def campaign(size, iteration):
    """`size` jobs: iterations of `iteration` jobs whose last one adds the next."""
    from fireworks_jobs import advance

    return advance(size - 1, iteration)


def single(size, iteration):
    """`size` jobs in one flow."""
    from fireworks_jobs import trivial
    from jobflow import Flow

    return Flow([trivial(i) for i in range(size)])


def run_case(case, size, iteration, folder):
    """Run one case in this process; returns the figures."""
    import bson
    import psutil
    from fireworks import FWorker
    from fireworks.core.rocket_launcher import rapidfire
    from jobflow import JobStore
    from maggma.stores import MemoryStore
    from pymongo import monitoring

    from doubles.mongo_wire import WireMongo
    from magflow.execution import fireworks_task
    from magflow.execution.fireworks_launchpad import connect
    from magflow.execution.fireworks_queue import LaunchPadQueue

    class Traffic(monitoring.CommandListener):
        commands = sent = 0

        def started(self, event):
            self.commands += 1
            self.sent += len(bson.encode({k: v for k, v in event.command.items() if k != "lsid"}))

        def succeeded(self, event):
            pass

        failed = succeeded

    traffic = Traffic()
    monitoring.register(traffic)
    with WireMongo() as mongo:
        file = folder / "my_launchpad.yaml"
        file.write_text(json.dumps({"host": f"{mongo.uri}bench", "uri_mode": True, "name": "bench"}))
        launchpad = connect(file)
        store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
        store.connect()
        execution = SimpleNamespace(cores_per_label=None)
        directory = SimpleNamespace(path=folder, id=case, store=store, spec=SimpleNamespace(execution=execution))
        fireworks_task._campaign = lambda path, process: directory
        queue = LaunchPadQueue(launchpad, directory)
        queue.prepare()
        began, cpu = time.perf_counter(), time.process_time()
        queue.submit({"campaign": campaign, "single": single}[case](size, iteration))
        submitted = time.perf_counter() - began
        (folder / "pilot").mkdir()
        os.chdir(folder / "pilot")
        rapidfire(launchpad, FWorker(), m_dir=str(folder / "pilot"), sleep_time=0.05, strm_lvl="CRITICAL")
        seconds = time.perf_counter() - began
        spent, served = time.process_time() - cpu, sum(psutil.Process(mongo.process.pid).cpu_times()[:2])
        done = launchpad.fireworks.count_documents({"state": "COMPLETED"})
        largest = max(len(w["nodes"]) for w in launchpad.workflows.find({}, {"nodes": 1}))
    return {
        "case": case,
        "jobs": done,
        "largest_workflow": largest,
        "ms_per_job": 1000 * seconds / done,
        "worker_ms": 1000 * spent / done,
        "server_ms": 1000 * served / done,
        "submission_s": submitted,
        "commands_per_job": traffic.commands / done,
        "kB_sent_per_job": traffic.sent / 1000 / done,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[100, 1000, 5000], help="jobs of the campaigns")
    parser.add_argument("--single", type=int, nargs="*", default=[100, 1000], help="jobs of the single workflows")
    parser.add_argument("--iteration", type=int, default=50, help="jobs per iteration")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(run_case(options.case[0], int(options.case[1]), options.iteration, Path(folder))))
            os.chdir("/")
        return
    cases = [("campaign", n) for n in options.sizes] + [("single", n) for n in options.single]
    print(
        f"{'':10} {'jobs':>6} {'largest':>8} {'ms/job':>8} {'worker':>8} {'server':>8} {'commands':>9} {'kB sent':>8}"
    )
    for case, size in cases:
        command = [sys.executable, __file__, "--iteration", str(options.iteration), "--case", case, str(size)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        r = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{r['case']:10} {r['jobs']:6} {r['largest_workflow']:8} {r['ms_per_job']:8.0f} {r['worker_ms']:8.0f}"
            f" {r['server_ms']:8.0f}"
            f" {r['commands_per_job']:9.1f} {r['kB_sent_per_job']:8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
