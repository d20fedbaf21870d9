"""A LaunchPad of FireWorks, beyond what every back end does (tests/contracts/test_backends.py)."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from jobflow import Flow
from pymongo.errors import AutoReconnect

import toy_jobs as toy
from benches import LaunchPadBench
from magflow.errors import CampaignError, InputError, StoreError
from magflow.execution.states import JobFilter, JobState

pytest.importorskip("fireworks", reason="FireWorks is not installed")

from fireworks import Firework, FWorker

from magflow.execution.cluster.launchpad import PilotLaunchPad
from magflow.execution.fireworks import launchpad as fireworks_launchpad
from magflow.execution.fireworks import task as fireworks_task
from magflow.execution.fireworks.launchpad import ABOUT, TASK, connect, held_and_orphans, launchpad_file, locked
from magflow.execution.fireworks.queue import LaunchPadQueue
from magflow.execution.fireworks.reader import LaunchPadReader
from magflow.execution.fireworks.task import CampaignTask

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def bench(mongo_uri, tmp_path, monkeypatch):
    return LaunchPadBench(mongo_uri, tmp_path, monkeypatch)


def test_what_others_wait_for_joins_the_workflow_and_the_rest_is_one_of_its_own(bench):
    wide = toy.fan_out(3)
    bench.queue.submit(Flow([wide, toy.add(wide.output, 100)]))
    bench.queue.submit(toy.fan_out(2))
    store = bench.work()
    assert store.query_one({"name": "add", "output": 106})
    assert bench.workflows() == [1, 2 + 2, 2 + 3 + 2], "a replacement of a job without children is apart"


def test_a_dynamic_job_that_runs_again_adds_nothing_again(bench):
    wide = toy.fan_out(3)
    names = iter(f"child-{i}" for i in range(99))
    bench.queue.submit(Flow([wide, toy.add(wide.output, 100)]))
    with pytest.MonkeyPatch.context() as patch:
        _fix_uuids(patch, names)
        bench.work()
    before = [j.uuid for j in bench.reader.jobs()]
    first = bench.launchpad.fireworks.find_one({f"spec.{ABOUT}.uuid": wide.uuid, f"spec.{ABOUT}.index": 1})
    bench.launchpad.rerun_fw(first["fw_id"])
    with pytest.MonkeyPatch.context() as patch:
        _fix_uuids(patch, iter(f"child-{i}" for i in range(99)))
        bench.work()
    assert [j.uuid for j in bench.reader.jobs()] == before
    assert set(bench.states().values()) == {"COMPLETED"}


def _fix_uuids(patch: pytest.MonkeyPatch, names) -> None:
    """Jobs that give their children the same uuids whenever they run, as those of a campaign do."""
    import jobflow.core.job

    patch.setattr(jobflow.core.job, "suid", lambda: next(names))


def test_retry_revives_what_was_cancelled_and_nothing_else(bench, tmp_path):
    first, patient = toy.fail_once(str(tmp_path / "marker")), toy.fail()
    second = toy.collect([first.output])
    third = toy.collect(second.output)
    spared = toy.total([patient.output])
    spared.config = toy.TOLERANT
    for job, name in ((first, "first"), (second, "second"), (third, "third"), (spared, "spared")):
        job.name = name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fireworks_task, "RETRIES", 0)
        bench.queue.submit(Flow([first, patient, second, third, spared]))
        bench.work()
    assert bench.states()["third"] == "CANCELLED"
    assert bench.queue.retry(JobFilter(name="nothing*")) == 0
    assert bench.queue.retry(JobFilter(name="f*")) == 2
    again = {"first": "READY", "second": "WAITING", "third": "WAITING", "fail": "READY", "spared": "COMPLETED"}
    assert bench.states() == again
    store = bench.work()
    assert bench.states() == {**dict.fromkeys(again, "COMPLETED"), "fail": "FAILED"}
    assert store.get_output(third.uuid) == ["second time"]


def test_what_no_worker_has_looked_at_since_waits_again_for_a_job_that_is_retried(bench, tmp_path):
    first = toy.fail_once(str(tmp_path / "marker"))
    second = toy.collect([first.output])
    second.config = toy.TOLERANT
    bench.queue.submit(Flow([first, second]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fireworks_task, "RETRIES", 0)
        bench.work(launches=1)
    assert bench.states() == {"fail_once": "FAILED", "collect": "READY"}
    bench.queue.retry()
    assert bench.states() == {"fail_once": "READY", "collect": "WAITING"}
    assert bench.work().get_output(second.uuid) == ["second time"]


def test_what_a_killed_submission_left_is_cleared_away(bench):
    flow = Flow([toy.add(1), toy.add(2)])
    bench.launchpad._upsert_fws(list(bench.queue.workflow(flow).id_fw.values()), reassign_all=True)
    mine = {f"spec.{ABOUT}.campaign": "toy"}
    assert len(held_and_orphans(bench.launchpad, mine)[1]) == 2
    assert fireworks_launchpad.remove_orphans(bench.launchpad, mine) == 0, "they may belong to one at work"
    assert bench.queue.submit(flow) == 2
    assert bench.workflows() == [2]
    assert held_and_orphans(bench.launchpad, mine)[1] == set()


def test_a_lock_left_by_a_killed_submission_expires(bench, monkeypatch):
    bench.launchpad.db["magflow_locks"].insert_one({"_id": "key", "since": 0.0})
    with locked(bench.launchpad, "key"):
        pass
    assert bench.launchpad.db["magflow_locks"].count_documents({}) == 0


def test_an_outage_while_a_workflow_is_refreshed_is_no_failure_of_the_job(bench, monkeypatch):
    bench.queue.submit(Flow([toy.add(1)]))
    fw_id = bench.launchpad.get_fw_ids()[0]
    pilot = PilotLaunchPad(**bench.launchpad.to_dict())

    def away(*_):
        raise AutoReconnect("connection closed")

    with monkeypatch.context() as patch:
        patch.setattr(PilotLaunchPad, "_update_wf", away)
        with pytest.raises(AutoReconnect):
            pilot._refresh_wf(fw_id)
    assert bench.states() == {"add": "READY"}
    bench.work()
    assert bench.states() == {"add": "COMPLETED"}


def test_a_workflow_that_cannot_be_refreshed_fails_as_with_fireworks(bench, monkeypatch):
    bench.queue.submit(Flow([toy.add(1)]))
    pilot = PilotLaunchPad(**bench.launchpad.to_dict())

    def broken(*_):
        raise KeyError("what the task was called before")

    monkeypatch.setattr(PilotLaunchPad, "get_wf_by_fw_id_lzyfw", broken)
    with pytest.raises(RuntimeError, match="refreshing workflow"):
        pilot._refresh_wf(bench.launchpad.get_fw_ids()[0])
    assert bench.states() == {"add": "FAILED"}


def test_a_campaign_has_one_directory_on_a_launchpad(bench, tmp_path):
    bench.queue.submit(toy.add(1))
    other = SimpleNamespace(**{**vars(bench.directory), "path": tmp_path / "elsewhere"})
    with pytest.raises(CampaignError, match="on the LaunchPad already"):
        LaunchPadQueue(bench.launchpad, other).prepare()
    assert LaunchPadReader(bench.launchpad, "another").counts() == dict.fromkeys(JobState, 0)


def test_categories_and_resources_reach_the_worker(bench):
    label, light = toy.add(1), toy.add(2)
    label.metadata["category"] = "dft"
    label.name = "label"
    bench.queue.submit(Flow([label, light]))
    specs = {d["name"]: d["spec"] for d in bench.launchpad.fireworks.find({})}
    assert (specs["label"]["_category"], specs["label"]["_queueadapter"]) == ("dft", {"ntasks": 4})
    assert (specs["add"]["_category"], specs["add"]["_queueadapter"]) == ("light", {})
    assert bench.launchpad.run_exists(FWorker(category="dft"))
    assert not bench.launchpad.run_exists(FWorker(category="train"))
    bench.work()
    assert {c: s.counts[JobState.COMPLETED] for c, s in bench.reader.categories().items()} == {"dft": 1, "light": 1}
    assert bench.reader.throughput() > 0
    assert bench.reader.running() == []
    assert [j.name for j in bench.reader.jobs(JobFilter(category="dft", uuid=label.uuid[:8]))] == ["label"]
    assert all(0 < j.wall_seconds < 60 and j.started >= j.submitted for j in bench.reader.jobs())


def test_files_of_a_job_are_kept_and_empty_directories_are_not(bench):
    bench.queue.submit(Flow([toy.leave_file(), toy.add(1)]))
    bench.work()
    jobs = {j.name: j for j in bench.reader.jobs()}
    assert (Path(jobs["leave_file"].directory) / "note.txt").read_text() == "left"
    assert jobs["add"].directory is None


def test_lost_runs_are_noticed_within_minutes(bench):
    from fireworks.core import launchpad, rocket

    assert (rocket.PING_TIME_SECS, launchpad.RUN_EXPIRATION_SECS) == (60, 300)
    lock = launchpad.WFLock(bench.launchpad, 1)
    assert (lock.expire_secs, lock.kill) == (120, True)


def test_a_firework_is_loaded_without_importing_what_the_job_needs(bench):
    bench.queue.submit(toy.add(1))
    text = bench.launchpad.fireworks.find_one({})["spec"]["_tasks"][0]["job"]
    assert isinstance(text, str)
    (task,) = Firework.from_dict(bench.launchpad.get_fw_dict_by_id(1)).tasks
    assert isinstance(task, CampaignTask)


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("host: [", InputError, "no YAML"),
        ("port: 1", InputError, "does not describe"),
        ("host: 'mongodb://user:hunter2@127.0.0.1:1/db'\nuri_mode: true\nname: db", StoreError, "does not answer"),
        ("host: 'mongodb://user:hunter2@:bad/db'\nuri_mode: true\nname: db", InputError, "no LaunchPad"),
    ],
)
def test_what_is_wrong_with_a_launchpad_is_said_without_its_password(tmp_path, monkeypatch, text, error, match):
    monkeypatch.setattr(fireworks_launchpad, "_ANSWER_MS", 200)
    file = tmp_path / "my_launchpad.yaml"
    file.write_text(text)
    with pytest.raises(error, match=match) as caught:
        connect(file)
    assert "hunter2" not in str(caught.value)


def test_the_launchpads_file_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no file that describes the LaunchPad"):
        launchpad_file()
    (tmp_path / "my_launchpad.yaml").touch()
    assert launchpad_file() == tmp_path / "my_launchpad.yaml"


def test_a_result_that_was_not_acknowledged_is_taken_up_when_the_job_runs_again(bench):
    counter = toy.count_store()
    counter.config.expose_store = True
    bench.queue.submit(counter)
    results = bench.folder / fireworks_task.RESULTS
    results.mkdir()
    earlier = {"uuid": counter.uuid, "index": 1, "name": "label", "output": "paid for", "metadata": {}, "hosts": []}
    text = json.dumps({"magflow_result": 1, "documents": [earlier], "key": ["uuid", "index"], "save": {}})
    (results / f"{counter.uuid}-1.result.json").write_text(text)
    store = bench.work()
    assert store.get_output(counter.uuid) == 1, "the job has seen what the earlier try had left"
    assert list(results.iterdir()) == []


@pytest.mark.parametrize("name", [TASK, "{{magflow.execution.fireworks_task.CampaignTask}}"])
def test_jobs_that_are_on_a_launchpad_already_are_run(bench, name):
    """The second name is the one that magflow 0.1 gave; both must stay as they are written here and in TASK."""
    assert TASK == "{{magflow.execution.fireworks.CampaignTask}}"
    bench.queue.submit(toy.add(1))
    (written,) = bench.launchpad.fireworks.find_one({})["spec"]["_tasks"]
    assert written["_fw_name"] == TASK
    bench.launchpad.fireworks.update_many({}, {"$set": {"spec._tasks.0._fw_name": name}})
    bench.work()
    assert bench.states() == {"add": "COMPLETED"}
