"""Jobs of jobflow-remote in the terms of the local queue."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from jobflow import Flow, OutputReference

import toy_jobs as toy
from magflow.errors import InputError, MissingToolError
from magflow.execution.remote import project, run
from magflow.execution.remote.queue import RemoteQueue
from magflow.execution.remote.reader import RemoteReader
from magflow.execution.remote.run import CARRIED
from magflow.execution.states import JobFilter, JobState
from magflow.makers.base import READS
from magflow.makers.documents import BatchDoc
from magflow.makers.train import carried


def document(name, state, parents=(), *, tolerant=False, **changes):
    config = {"on_missing_references": "none" if tolerant else "error"}
    job = {"name": name, "metadata": {"category": name.split()[0]}, "hosts": ["flow"], "config": config}
    now = datetime.now(UTC)
    times = {"start_time": now - timedelta(seconds=30), "end_time": now - timedelta(seconds=10), "created_on": now}
    known = {"uuid": name, "index": 1, "db_id": str(len(name)), "worker": "here", "error": None, "run_dir": "/work"}
    return {**known, **times, "state": state, "parents": list(parents), "job": job, **changes}


class Controller:
    """As much of a JobController as is asked."""

    def __init__(self, *documents):
        self.documents, self.added, self.asked = documents, [], []
        self.jobs = SimpleNamespace(count_documents=lambda query: len(self.added))
        workers = {"here": SimpleNamespace(execution_cmd="python -m magflow.execution.remote_run {}"), "dft": None}
        self.project = SimpleNamespace(name="site", workers=workers)

    def get_jobs(self, query, fields):
        self.asked.append(query)
        return [d for d in self.documents if d["state"] == query.get("state", d["state"])]

    def add_flow(self, flow, **options):
        self.added.append((flow, options))


def test_states_are_those_of_the_local_queue():
    begun = datetime.now(UTC) - timedelta(seconds=5)
    controller = Controller(
        document("dft 1", "FAILED", error="mongodb://me:hunter2@host broke"),
        document("light 2", "WAITING", ["dft 1"]),
        document("light 33", "WAITING", ["light 2"]),
        document("light 444", "WAITING", ["dft 1"], tolerant=True),
        document("train 5555", "BATCH_SUBMITTED"),
        document("train 66666", "DOWNLOADED", start_time=begun, end_time=None),
        document("train 777777", "COMPLETED"),
        document("train 8888888", "USER_STOPPED"),
    )
    reader = RemoteReader(controller, "mine")
    states = ["FAILED", "CANCELLED", "CANCELLED", "WAITING", "READY", "RUNNING", "COMPLETED", "CANCELLED"]
    assert [job.state for job in reader.jobs()] == states
    assert controller.asked == [{"job.metadata.magflow_campaign": "mine"}]
    assert reader.counts()[JobState.CANCELLED] == 3
    (failed,) = reader.failed()
    assert "hunter2" not in failed.error
    ((job, seconds),) = reader.running()
    assert job.worker == "here"
    assert 5.0 <= seconds < 60.0
    summary = reader.categories()["train"]
    assert (summary.counts[JobState.COMPLETED], summary.wall_seconds) == (1, 60.0)
    assert [j.name for j in reader.jobs(JobFilter(category="light", name="*3", uuid="light"))] == ["light 33"]
    assert reader.throughput() > 0
    assert reader.losses() == 0
    assert RemoteReader(Controller(document("dft 1", "REMOTE_ERROR")), "mine").losses() == 1


def test_a_flow_is_added_once_marked_and_sent_to_the_worker_of_its_category():
    controller = Controller()
    queue = RemoteQueue(controller, SimpleNamespace(id="mine"), "here")
    label, light = toy.add(1), toy.add(2)
    label.metadata["category"], light.name = "dft", "label batch 0"
    assert queue.submit(Flow([label, light])) == 2
    assert queue.submit(Flow([toy.add(3)])) == 0, "its jobs are known"
    ((flow, options),) = controller.added
    assert options["worker"] == "here"
    assert {j.name: j.config.manager_config for j in flow.jobs} == {"add": {"worker": "dft"}, "label batch 0": {}}
    assert all(j.metadata["magflow_campaign"] == "mine" for j in flow.jobs)


def test_outputs_that_a_job_reads_by_itself_go_with_it():
    """As references, which the runner resolves; jobs that read none are left alone."""
    reads, plain = toy.add(1), toy.add(2)
    reads.metadata[READS] = ["one", "two"]
    controller = Controller()
    RemoteQueue(controller, SimpleNamespace(id="mine"), "here").submit(Flow([reads, plain]))
    ((_, options),) = controller.added
    assert options["allow_external_references"]
    assert reads.function_kwargs[CARRIED] == {uuid: OutputReference(uuid) for uuid in ("one", "two")}
    assert CARRIED not in plain.function_kwargs


def test_and_are_there_when_it_runs(tmp_path, monkeypatch):
    """Before the job sees its arguments they are taken out of them."""
    cost = dict.fromkeys(("cpu_seconds", "wall_seconds", "core_hours", "reused"), 0)
    about = {"campaign": "c0ffee", "iteration": 0, "label_ids": ["a"], "failed": {}, "levels_of_theory": []}
    document = BatchDoc(**about, **cost, arrays="").model_dump(mode="json")
    job = {"name": "toy", "metadata": {}, "function_kwargs": {"b": 1, CARRIED: {"one": document}}}
    (tmp_path / "in.json").write_text(json.dumps({"job": job, "store": None}))
    ran = SimpleNamespace(IN_FILENAME="in.json", run_remote_job=lambda directory: None)
    jobs = SimpleNamespace(run=ran)
    monkeypatch.setitem(sys.modules, "jobflow_remote", SimpleNamespace(jobs=jobs))
    monkeypatch.setitem(sys.modules, "jobflow_remote.jobs", jobs)
    monkeypatch.setattr("magflow.makers.train._carried", {})
    run.main(str(tmp_path))
    assert json.loads((tmp_path / "in.json").read_text())["job"]["function_kwargs"] == {"b": 1}
    assert carried(["none", "one"], BatchDoc)[0].label_ids == document["label_ids"]


def test_workers_need_the_command_that_knows_replacements():
    controller = Controller()
    controller.project.workers["dft"] = SimpleNamespace(execution_cmd=None)
    with pytest.raises(InputError, match=r"worker dft of project site.*magflow execute"):
        RemoteQueue(controller, SimpleNamespace(id="mine"), "here").require_commands()


def test_jobflow_remote_that_is_absent_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "jobflow_remote", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingToolError, match="jobflow-remote is not installed"):
        project.connect("site")


def test_only_what_is_meant_is_offered_again_each_in_its_way():
    controller = Controller(
        document("dft 1", "FAILED"), document("dft 22", "REMOTE_ERROR"), document("train 333", "FAILED")
    )
    offered = []

    def again(kind):
        return lambda db_ids, raise_on_error: offered.append((kind, db_ids)) or db_ids

    controller.rerun_jobs, controller.retry_jobs = again("rerun"), again("retry")
    controller.get_jobs = lambda query, fields: controller.documents
    queue = RemoteQueue(controller, SimpleNamespace(id="mine"), "here")
    assert queue.retry(JobFilter(category="dft")) == 2
    assert offered == [("rerun", ["5"]), ("retry", ["6"])]


@pytest.mark.parametrize(("collection", "fits"), [("magflow", True), ("outputs", False)])
def test_the_runner_must_store_outputs_where_the_campaign_looks(collection, fits):
    def store(name):
        part = SimpleNamespace(database="db", collection_name=name)
        return SimpleNamespace(docs_store=part, additional_stores={}, connect=lambda: None)

    controller = Controller()
    controller.jobstore = store(collection)
    queue = RemoteQueue(controller, SimpleNamespace(id="mine", store=store("magflow")), "here")
    if fits:
        queue.require_same_store()
    else:
        with pytest.raises(InputError, match=r"seen: documents in db\.outputs; expected: documents in db\.magflow"):
            queue.require_same_store()
