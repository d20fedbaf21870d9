"""Queues of every back end on the bench: a campaign that has only an identity, a store, and a worker at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jobflow import JobStore
from maggma.stores import MemoryStore
from pymongo.uri_parser import parse_uri

from magflow.execution.backend import JobReader, JobSubmitter
from magflow.execution.local.queue import JobQueue
from magflow.execution.local.reader import QueueReader
from magflow.execution.local.worker import Worker


def memory_store() -> JobStore:
    """An empty store in memory, connected."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    return store


class Bench:
    """What a test of any back end uses."""

    queue: JobSubmitter
    reader: JobReader
    store: JobStore

    def work(self) -> JobStore:
        """Run everything; returns the store."""
        raise NotImplementedError

    def states(self) -> dict[str, str]:
        """State of each job by its name."""
        return {job.name: str(job.state) for job in self.reader.jobs()}


class LocalBench(Bench):
    """The embedded queue, and a worker in this process."""

    def __init__(self, folder: Path, retries: int = 1) -> None:
        self.queue, self.reader, self.store = JobQueue(folder, retries=retries), QueueReader(folder), memory_store()

    def work(self) -> JobStore:
        """Run everything; returns the store."""
        Worker(self.queue, self.store, "here").run(until_drained=True)
        return self.store


class LaunchPadBench(Bench):
    """A LaunchPad, and FireWorks' own rapidfire in this process."""

    def __init__(self, uri: str, folder: Path, patch: pytest.MonkeyPatch, retries: int = 1, name: str = "toy") -> None:
        from magflow.execution.fireworks import task
        from magflow.execution.fireworks.launchpad import connect
        from magflow.execution.fireworks.queue import LaunchPadQueue
        from magflow.execution.fireworks.reader import LaunchPadReader

        self.folder = folder / name
        (self.folder / "pilot").mkdir(parents=True)
        file = folder / "my_launchpad.yaml"
        file.write_text(json.dumps({"host": uri, "uri_mode": True, "name": parse_uri(uri)["database"]}))
        self.launchpad, self.store = connect(file), memory_store()
        spec = SimpleNamespace(execution=SimpleNamespace(cores_per_label=4))
        self.directory = SimpleNamespace(path=self.folder, id=name, store=self.store, spec=spec)
        self.queue = LaunchPadQueue(self.launchpad, self.directory)
        self.queue.prepare()
        self.reader = LaunchPadReader(self.launchpad, name)
        patch.setattr(task, "_campaign", lambda path, process: self.directory)
        patch.setattr(task, "RETRIES", retries)

    def work(self, launches: int = 0) -> JobStore:
        """Run everything, or so many jobs; returns the store."""
        from fireworks import FWorker
        from fireworks.core.rocket_launcher import rapidfire

        before, pilot = Path.cwd(), str(self.folder / "pilot")
        try:
            rapidfire(self.launchpad, FWorker(), m_dir=pilot, nlaunches=launches, sleep_time=0.05, strm_lvl="CRITICAL")
        finally:
            os.chdir(before)
        return self.store

    def workflows(self) -> list[int]:
        """Numbers of jobs of the workflows."""
        return sorted(len(w["nodes"]) for w in self.launchpad.workflows.find({}, {"nodes": 1}))


class RemoteBench(Bench):
    """A project of jobflow-remote with one worker on this machine, and its own runner."""

    def __init__(self, uri: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
        from jobflow_remote.jobs.jobcontroller import JobController

        from magflow.execution.remote.backend import RemoteBackend

        name = write_project(folder, uri, patch)
        JobController.from_project_name(name).reset()
        backend, directory = RemoteBackend(name).resolved(), SimpleNamespace(id="toy", path=folder)
        self.project, self.queue, self.reader = name, backend.queue(directory), backend.reader(directory)
        self.store = self.queue.controller.jobstore
        self.store.connect()

    def work(self) -> JobStore:
        """Run everything; returns the store."""
        run_remote(self.project)
        return self.store


def write_project(folder: Path, uri: str, patch: pytest.MonkeyPatch) -> str:
    """Describe a project of jobflow-remote with one worker, on this machine; returns its name."""
    from jobflow_remote import SETTINGS

    projects = folder / "projects"
    projects.mkdir()
    where = {"uri": uri, "database": parse_uri(uri)["database"]}
    often = ["delay_checkout", "delay_check_run_status", "delay_advance_status"]
    path = os.pathsep.join([*sys.path, str(Path.cwd())])
    description: dict[str, Any] = {
        "name": "test",
        "runner": dict.fromkeys(often, 0.2),
        "workers": {
            "here": {
                "type": "local",
                "scheduler_type": "shell",
                "work_dir": str(folder / "work"),
                "execution_cmd": "python -m magflow execute {}",
                "pre_run": f"export PATH={Path(sys.executable).parent}:$PATH PYTHONPATH={path} OMP_NUM_THREADS=1",
            }
        },
        "queue": {"store": {"type": "MongoStore", **where, "collection_name": "jobs"}},
        "jobstore": {
            "docs_store": {"type": "MongoStore", **where, "collection_name": "magflow"},
            "additional_stores": {"data": {"type": "GridFSStore", **where, "collection_name": "magflow_blobs"}},
        },
    }
    (projects / "test.json").write_text(json.dumps(description))
    patch.setenv("JFREMOTE_PROJECTS_FOLDER", str(projects))
    patch.setattr(SETTINGS, "projects_folder", str(projects))
    return "test"


def run_remote(project: str) -> None:
    """Let the runner of jobflow-remote work until nothing is left to do."""
    code = (
        "import sys; from jobflow_remote.jobs.runner import Runner; Runner(sys.argv[1]).run_all_jobs(max_seconds=1500)"
    )
    done = subprocess.run([sys.executable, "-c", code, project], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
