"""What FireWorks costs per job when a campaign has grown, and when one workflow has.

    python benchmarks/fireworks_overhead.py [--sizes 100 1000 5000] [--single 100 1000] [--iteration 50] [--jobs 100]

At each size the last `jobs` trivial jobs are run and timed: one worker, FireWorks' own rapidfire, a fresh process and a
fresh wire double of MongoDB (tests/doubles). What had been there before, completed, is put into the database
without running it. `campaign` is submitted as magflow does, in workflows of one iteration each; `single` is one
workflow. Per job: wall time, CPU time of the worker and of the double, commands and kilobytes sent to the database.
The double searches whole collections, which MongoDB with its indexes does not.
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


def fill(launchpad, queue, case, past, iteration):
    """Put `past` completed jobs into the LaunchPad, each with a launch; nothing for `single`, whose flow holds them."""
    from fireworks_jobs import trivial
    from jobflow import Flow

    for first in range(0, past if case == "campaign" else 0, iteration):
        queue.submit(Flow([trivial(i) for i in range(min(iteration, past - first))]))
    if case == "campaign":
        complete(launchpad, past)


def complete(launchpad, number):
    """Mark the first `number` jobs as completed."""
    from fireworks import FWAction, FWorker, Launch

    ids = sorted(f["fw_id"] for f in launchpad.fireworks.find({}, {"fw_id": 1}))[:number]
    for fw_id in ids:
        launch_id = launchpad.get_new_launch_id()
        launch = Launch("COMPLETED", "/", FWorker(), "host", "ip", action=FWAction(), launch_id=launch_id, fw_id=fw_id)
        launchpad.launches.insert_one(launch.to_db_dict())
        done = {"$set": {"state": "COMPLETED", "launches": [launch_id]}}
        launchpad.fireworks.update_one({"fw_id": fw_id}, done)
    finished = set(ids)
    for workflow in launchpad.workflows.find({}):
        states = {k: "COMPLETED" if int(k) in finished else v for k, v in workflow["fw_states"].items()}
        launchpad.workflows.update_one({"_id": workflow["_id"]}, {"$set": {"fw_states": states}})


def measure(case, size, iteration, jobs, folder):
    """Run the last `jobs` jobs of one case in this process; returns the figures."""
    import bson
    import psutil
    from fireworks import FWorker
    from fireworks.core.rocket_launcher import rapidfire
    from fireworks_jobs import advance, trivial
    from jobflow import Flow, JobStore
    from maggma.stores import MemoryStore
    from pymongo import monitoring

    from doubles.mongo_wire import WireMongo
    from magflow.execution.fireworks import task as fireworks_task
    from magflow.execution.fireworks.launchpad import connect
    from magflow.execution.fireworks.queue import LaunchPadQueue

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
        fill(launchpad, queue, case, size - jobs, iteration)
        (folder / "pilot").mkdir()
        os.chdir(folder / "pilot")
        if case == "single":
            queue.submit(Flow([trivial(i) for i in range(size)]))
            complete(launchpad, size - jobs)
        server = psutil.Process(mongo.process.pid)
        served, spent, began = sum(server.cpu_times()[:2]), time.process_time(), time.perf_counter()
        traffic.commands = traffic.sent = 0
        if case == "campaign":
            queue.submit(advance(jobs - 1, iteration))
        rapidfire(launchpad, FWorker(), m_dir=str(folder / "pilot"), sleep_time=0.05, strm_lvl="CRITICAL")
        seconds, spent = time.perf_counter() - began, time.process_time() - spent
        served = sum(server.cpu_times()[:2]) - served
        commands, sent = traffic.commands, traffic.sent
        total = launchpad.fireworks.count_documents({"state": "COMPLETED"})
        largest = max(len(w["nodes"]) for w in launchpad.workflows.find({}, {"nodes": 1}))
    timed = total - (size - jobs)
    return {
        "case": case,
        "jobs": total,
        "largest_workflow": largest,
        "ms_per_job": 1000 * seconds / timed,
        "worker_ms": 1000 * spent / timed,
        "server_ms": 1000 * served / timed,
        "commands_per_job": commands / timed,
        "kB_sent_per_job": sent / 1000 / timed,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[100, 1000, 5000], help="jobs of the campaigns")
    parser.add_argument("--single", type=int, nargs="*", default=[100, 1000], help="jobs of the single workflows")
    parser.add_argument("--iteration", type=int, default=50, help="jobs per iteration")
    parser.add_argument("--jobs", type=int, default=100, help="jobs that are run and timed")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        with tempfile.TemporaryDirectory() as folder:
            case, size = options.case
            print(json.dumps(measure(case, int(size), options.iteration, options.jobs, Path(folder))))
            os.chdir("/")
        return
    print(
        f"{'':10} {'jobs':>6} {'largest':>8} {'ms/job':>8} {'worker':>8} {'server':>8} {'commands':>9} {'kB sent':>8}"
    )
    for case, size in [("campaign", n) for n in options.sizes] + [("single", n) for n in options.single]:
        how = ["--iteration", str(options.iteration), "--jobs", str(options.jobs), "--case", case, str(size)]
        done = subprocess.run([sys.executable, __file__, *how], capture_output=True, text=True, check=True)
        r = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{r['case']:10} {r['jobs']:6} {r['largest_workflow']:8} {r['ms_per_job']:8.0f} {r['worker_ms']:8.0f}"
            f" {r['server_ms']:8.0f} {r['commands_per_job']:9.1f} {r['kB_sent_per_job']:8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
