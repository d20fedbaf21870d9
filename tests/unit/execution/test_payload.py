"""Jobs that another magflow has queued."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from fireworks.utilities.fw_serializers import load_object

import toy_jobs as toy
from magflow import __version__
from magflow.core.moved import MOVED
from magflow.core.versions import Format, NewerFormatError
from magflow.execution import payload
from magflow.execution.fireworks import CampaignTask
from magflow.execution.fireworks.launchpad import ABOUT, about_job
from magflow.execution.local import schema
from magflow.execution.local.queue import JobQueue
from magflow.execution.local.reader import QueueReader
from magflow.execution.local.worker import Worker
from magflow.execution.remote import run as run_remote
from magflow.execution.states import JobState
from magflow.stores.jobstore import campaign_store


def test_a_job_says_who_queued_it_and_in_which_format():
    content = json.loads(payload.encoded(toy.add(1, 2)))
    assert content["metadata"]["magflow"] == {"format": 1, "magflow": __version__}
    assert payload.decoded(json.dumps(content)).function_args == [1, 2]


def test_a_job_of_a_newer_magflow_is_refused_by_its_name():
    content = json.loads(payload.encoded(toy.add(1, 2)))
    content["metadata"]["magflow"] = {"format": 999, "magflow": "0.9"}
    with pytest.raises(NewerFormatError, match=r"job add: this job was written by magflow 0\.9"):
        payload.decoded(json.dumps(content))


def test_functions_and_classes_are_found_where_they_are_now(monkeypatch):
    content = json.loads(payload.encoded(toy.add(1, 2)))
    function = content["function"]
    monkeypatch.setitem(MOVED, "toys.sums:plus", f"{function['@module']}:{function['@callable']}")
    content["function"] = function | {"@module": "toys.sums", "@callable": "plus"}
    assert payload.decoded(json.dumps(content)).function is toy.add


def test_an_older_job_goes_through_the_steps(monkeypatch):
    """A job of magflow 0.1 has no stamp: it is of format 1."""

    def swapped(content: dict) -> dict:
        return content | {"function_args": content["function_args"][::-1]}

    old = json.loads(payload.encoded(toy.add(1, 2)))
    del old["metadata"]["magflow"]
    monkeypatch.setattr(payload, "PAYLOAD", Format("job", (swapped,)))
    assert payload.decoded(json.dumps(old)).function_args == [2, 1]
    new = payload.encoded(toy.add(1, 2))
    assert payload.decoded(new).function_args == [1, 2], "format 2 already"


def test_a_job_of_a_newer_magflow_fails_at_once_and_says_why(tmp_path):
    queue, store = JobQueue(tmp_path), campaign_store(tmp_path)
    store.connect()
    queue.submit(toy.add(1, 2))
    with queue.transaction() as con:
        ((row, text),) = con.execute("SELECT id, job FROM payloads").fetchall()
        content = json.loads(text)
        content["metadata"]["magflow"] = {"format": 999, "magflow": "0.9"}
        con.execute("UPDATE payloads SET job = ? WHERE id = ?", (json.dumps(content), row))
    Worker(queue, store, "here").run(until_drained=True)
    (job,) = QueueReader(tmp_path).failed()
    assert (job.state, job.tries) == (JobState.FAILED, 1)
    assert "written by magflow 0.9" in job.error


def test_a_firework_of_magflow_0_1_has_no_stamp_and_one_of_a_newer_is_refused():
    about = {"campaign": "c0ffee", "uuid": "4711"}
    assert about_job({"spec": {ABOUT: about}}).items() >= about.items()
    with pytest.raises(NewerFormatError, match=r"job 4711: this job on a LaunchPad was written by magflow 0\.9"):
        about_job({"spec": {ABOUT: about | {"format": 999, "magflow": "0.9"}}})


def test_an_older_queue_is_brought_up_to_date_once_and_its_jobs_stay(tmp_path, monkeypatch):
    """The tables of magflow 0.1 have no note of their format."""

    def with_mood(con):
        con.execute("ALTER TABLE jobs ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'")
        return con

    monkeypatch.setattr(schema, "QUEUE", Format("queue"))
    queue = JobQueue(tmp_path)
    queue.submit(toy.add(1, 2))
    with queue.transaction() as con:
        con.execute("DROP TABLE queue_format")
    monkeypatch.setattr(schema, "QUEUE", Format("queue", (with_mood,)))
    for _ in range(2):  # a second step would fail: the column is there
        with JobQueue(tmp_path).transaction() as con:
            assert con.execute("SELECT name, mood FROM jobs").fetchall() == [("add", "calm")]
            assert con.execute("SELECT * FROM queue_format").fetchall() == [(2, __version__)]


def test_the_worker_side_of_jobflow_remote_reads_an_older_job(tmp_path, monkeypatch):
    """jobflow-remote decodes the file by itself: it is brought up to date before."""
    seen = []
    run = ModuleType("jobflow_remote.jobs.run")
    run.IN_FILENAME = "in.json"
    run.run_remote_job = lambda directory: seen.append(json.loads((Path(directory) / "in.json").read_text()))
    jobs = ModuleType("jobflow_remote.jobs")
    jobs.run = run
    for module in (ModuleType("jobflow_remote"), jobs, run):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    content = json.loads(payload.encoded(toy.add(1, 2)))
    here = content["function"]
    monkeypatch.setitem(MOVED, "toys.sums", here["@module"])
    given = {"job": content | {"function": here | {"@module": "toys.sums"}}, "store": {"kept": True}}
    (tmp_path / "in.json").write_text(json.dumps(given))
    run_remote.main(str(tmp_path))
    assert seen == [{"job": content, "store": {"kept": True}}]


def test_fireworks_finds_the_task_of_a_job_that_magflow_0_1_has_submitted():
    text = payload.encoded(toy.add(1, 2))
    task = load_object({"_fw_name": "{{magflow.execution.fireworks_task.CampaignTask}}", "job": text})
    assert isinstance(task, CampaignTask)
    assert payload.decoded(task["job"]).function is toy.add
