"""The embedded queue and one worker, beyond what every back end does (tests/contracts/test_backends.py)."""

from __future__ import annotations

import sys
import threading
import time

import pytest
from jobflow import Flow, Response

import toy_jobs as toy
from benches import memory_store
from magflow.errors import InputError, StoreError
from magflow.execution.local.outputs import HeldOutput
from magflow.execution.local.queue import JobQueue
from magflow.execution.local.reader import QueueReader
from magflow.execution.local.worker import Worker
from magflow.execution.states import Cost, JobFilter, JobState
from magflow.stores import connection
from magflow.stores.jobstore import campaign_store
from magflow.stores.layout import DATABASE


def work(queue, store=None):
    """Run everything in this process."""
    store = store or memory_store()
    Worker(queue, store, "here").run(until_drained=True)
    return store


def states(queue):
    return {job.name: str(job.state) for job in QueueReader(queue.path.parent).jobs()}


@pytest.fixture
def queue(tmp_path):
    return JobQueue(tmp_path, retries=0)


def test_exceptions_are_retried_but_not_errors_meant_for_people(tmp_path):
    queue = JobQueue(tmp_path, retries=1)
    queue.submit(Flow([toy.fail_once(str(tmp_path / "marker")), toy.refuse(str(tmp_path / "note")), toy.fail()]))
    work(queue)
    jobs = {j.name: j for j in QueueReader(tmp_path).jobs()}
    assert (jobs["fail_once"].state, jobs["fail_once"].tries) == (JobState.COMPLETED, 2)
    assert (jobs["refuse"].state, jobs["refuse"].tries) == (JobState.FAILED, 1)
    assert jobs["refuse"].error == "InputError: toy: not like this; hint: another way"
    assert (jobs["fail"].state, jobs["fail"].tries) == (JobState.FAILED, 2)


def test_stop_jobflow_ends_the_flow_and_no_other(queue):
    first = toy.stop_flow()
    later = [toy.add(first.output, i) for i in range(3)]
    queue.submit(Flow([first, *later, toy.total([j.output for j in later])], name="stopped"))
    queue.submit(Flow([toy.environment()]))
    store = memory_store()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        work(queue, store)
    counts = QueueReader(queue.path.parent).counts()
    assert (counts[JobState.COMPLETED], counts[JobState.CANCELLED]) == (2, 4)
    assert {d["name"] for d in store.query({})} == {"stop_flow", "environment"}


def test_stored_data_store_access_and_additional_stores(queue):
    counter = toy.count_store()
    counter.config.expose_store = True
    array = toy.with_array(4)
    queue.submit(Flow([toy.stored(), array, counter], order="linear"))
    store = work(queue)
    assert store.get_output(counter.uuid) == 2
    assert store.get_output(array.uuid, load=True)["array"] == [0, 1, 2, 3]
    con = connection.connect(queue.path)
    kept = con.execute("SELECT stored_data FROM jobs WHERE name = 'stored'").fetchone()
    assert kept == ('{"note": "kept"}',)


def test_manager_config_hosts_and_metadata_pass_as_in_jobflow(queue):
    wide = toy.fan_out(2)
    wide.config.manager_config = {"category": "dft"}
    wide.metadata = {"tag": 3}
    flow = Flow([wide])
    queue.submit(flow)
    work(queue)
    jobs = QueueReader(queue.path.parent).jobs(JobFilter(category="dft"))
    assert [j.name for j in jobs].count("add") == 2
    assert next(j for j in jobs if j.name == "fan_out").metadata == {"tag": 3}
    assert all(j.flow == flow.uuid for j in jobs)


def test_claims_are_exclusive_until_their_worker_has_died(tmp_path):
    queue = JobQueue(tmp_path, max_crashes=2)
    queue.submit(toy.add(1))
    claim = queue.claim("a")
    assert queue.claim("b") is None
    assert queue.crashed("a", "signal SIGKILL") == [claim.directory]
    again = queue.claim("b")
    assert (again.uuid, again.attempt) == (claim.uuid, 2)
    assert not queue.fail(claim, "too late")  # an error of a worker that is thought dead says nothing of the job
    assert QueueReader(tmp_path).running()[0][0].worker == "b"
    assert queue.crashed("b", "signal SIGKILL") == [None]
    (failed,) = QueueReader(tmp_path).failed()
    assert "died 2 time(s)" in failed.error
    assert "SIGKILL" in failed.error


@pytest.mark.parametrize("jump", [-1e6, 120.0, 1e9])
def test_a_clock_that_jumps_takes_no_job_from_its_worker(queue, monkeypatch, jump):
    """A step of NTP, a laptop that slept: another worker is idle meanwhile."""
    queue.submit(toy.add(1))
    claim = queue.claim("busy")
    real = time.time
    monkeypatch.setattr("time.time", lambda: real() + jump)
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    assert Worker(queue, memory_store(), "idle").run(stop) == 0
    assert QueueReader(queue.path.parent).running()[0][0].worker == "busy"
    assert queue.complete(claim, Response(output=2))


@pytest.mark.parametrize("path", ["{outside}", "../../{name}", "..", ".", "link"])
def test_a_directory_that_is_not_the_campaigns_is_refused(tmp_path, path):
    outside = tmp_path / "precious"
    for folder in (outside, tmp_path / "run"):
        folder.mkdir()
    queue = JobQueue(tmp_path / "run")
    queue.jobs_directory.mkdir()
    (queue.jobs_directory / "link").symlink_to(outside)
    queue.submit(toy.add(1))
    queue.claim("a")
    named = path.format(outside=outside, name=outside.name)
    with queue.transaction() as con:
        con.execute("UPDATE jobs SET directory = ?", (named,))
    with pytest.raises(StoreError, match="not the campaign's") as caught:
        queue.release()
    assert caught.value.seen == named
    assert states(queue) == {"add": "RUNNING"}


def test_interruptions_are_not_held_against_a_job(tmp_path):
    queue = JobQueue(tmp_path, max_crashes=1)
    queue.submit(toy.add(1))
    for _ in range(5):
        assert queue.claim("a") is not None
        assert len(queue.release("a")) == 1
    work(queue)
    assert QueueReader(tmp_path).counts()[JobState.COMPLETED] == 1


def test_categories_costs_and_throughput(queue):
    slow = toy.burn(0.1)
    slow.metadata = {"category": "train"}
    queue.submit(Flow([slow, toy.add(1), toy.add(2)]))
    work(queue)
    reader = QueueReader(queue.path.parent)
    found = reader.categories()
    assert found["light"].counts[JobState.COMPLETED] == 2
    assert 0.09 < found["train"].cpu_seconds < 1.0
    assert found["train"].wall_seconds >= 0.09
    assert reader.throughput() > 0.05
    assert [j.name for j in reader.jobs(limit=1)] == ["burn"]
    assert reader.jobs(JobFilter(uuid=slow.uuid[:6]))[0].uuid == slow.uuid


def test_directories_go_unless_something_is_left(queue):
    keep, drop = toy.leave_file(), toy.leave_file()
    keep.name, drop.name = "keep me / now", "drop"
    drop.metadata = {"discard_files": True}
    queue.submit(Flow([keep, drop, toy.add(1), toy.fail()]))
    work(queue)
    left = sorted(p.name.split("-")[0] for p in (queue.path.parent / "jobs").iterdir())
    assert left == ["fail", "keep_me_now"]
    jobs = {j.name: j for j in QueueReader(queue.path.parent).jobs()}
    assert jobs["keep me / now"].directory.endswith(f"keep_me_now-{keep.uuid[:8]}-1")
    assert jobs["drop"].directory is None


def test_jobs_that_no_worker_can_import_are_refused(queue, monkeypatch):
    with pytest.raises(InputError, match="cannot import"):
        queue.submit(toy.add(toy._local_only))
    monkeypatch.setattr(sys.modules["toy_jobs"].add.original, "__module__", "__main__")
    with pytest.raises(InputError, match="cannot import"):
        queue.submit(toy.add(1))
    assert sum(QueueReader(queue.path.parent).counts().values()) == 0


def test_a_returned_job_that_cannot_be_queued_fails_its_maker(queue):
    queue.submit(toy.returns_bad_job())
    work(queue)
    (failed,) = QueueReader(queue.path.parent).failed()
    assert "cannot import" in failed.error
    assert sum(QueueReader(queue.path.parent).counts().values()) == 1


def test_references_to_absent_jobs_are_refused(queue):
    with pytest.raises(InputError, match="not found"):
        queue.submit(toy.add(toy.add(1).output))


def test_reader_says_what_is_missing(tmp_path):
    with pytest.raises(StoreError, match="no store here"):
        QueueReader(tmp_path).counts()
    campaign_store(tmp_path).connect()
    assert (tmp_path / DATABASE).exists()
    with pytest.raises(StoreError, match="no queue"):
        QueueReader(tmp_path).counts()


class _KilledError(BaseException):
    """As SIGKILL: nothing that catches exceptions sees it."""


def killed_after(patch, owner, name):
    """Let `owner.name` do its work and die before anything else happens."""
    act = getattr(owner, name)

    def die(*args, **kwargs):
        act(*args, **kwargs)
        raise _KilledError

    patch.setattr(owner, name, die)


@pytest.mark.parametrize(("owner", "name"), [(JobQueue, "complete"), (HeldOutput, "write"), (Worker, "_next")])
def test_an_output_and_the_end_of_its_job_are_one_step(queue, tmp_path, owner, name):
    """Whatever it was doing when it died: no output of a job that runs again, no end without the output."""
    store = campaign_store(tmp_path)
    store.connect()
    wide = toy.fan_out(2)
    queue.submit(Flow([wide, toy.add(wide.output)]))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(_KilledError):
        killed_after(patch, owner, name)
        Worker(queue, store, "killed").run(until_drained=True)
    assert states(queue) == {"fan_out": "RUNNING", "add": "WAITING"}, "no children either"
    assert store.count({}) == 0
    assert len(queue.release("killed")) == 1
    work(queue, store)
    assert set(states(queue).values()) == {"COMPLETED"}


def test_an_output_elsewhere_is_there_before_the_job_has_ended(queue):
    store = memory_store()
    queue.submit(toy.add(1))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(_KilledError):
        killed_after(patch, JobQueue, "complete")
        Worker(queue, store, "killed").run(until_drained=True)
    assert states(queue) == {"add": "RUNNING"}
    assert store.count({}) == 1


def test_a_worker_releases_what_it_holds_and_no_more(queue):
    queue.submit(Flow([toy.add(1), toy.add(2)]))
    queue.claim("a"), queue.claim("b")
    assert len(queue.release("a")) == 1
    assert [job.worker for job, _ in QueueReader(queue.path.parent).running()] == ["b"]
    assert len(queue.release()) == 1


def test_the_first_result_counts_whoever_holds_the_claim(tmp_path):
    queue = JobQueue(tmp_path, retries=0)
    first = toy.add(1)
    queue.submit(Flow([first, toy.add(first.output)]))
    lost = queue.claim("a")
    queue.crashed("a", "signal SIGKILL")
    again = queue.claim("b")
    response = Response(output=2, addition=Flow([toy.add(7)]))
    assert queue.complete(lost, response)
    assert not queue.complete(again, response)
    assert not queue.fail(again, "too late")
    assert sorted(j.state for j in QueueReader(tmp_path).jobs()) == ["COMPLETED", "READY", "READY"]


def test_what_tries_have_cost_that_came_to_nothing_is_counted_and_told(queue, tmp_path):
    queue.submit(toy.lost_seconds())
    first = queue.claim("a")
    queue.release(costs={(first.id, 1): Cost(20.0, 10.0), (first.id, 7): Cost(1e6, 1e6)})
    second = queue.claim("a")
    queue.crashed("a", "signal SIGKILL", {(second.id, 2): Cost(3.0, 4.0)})
    store = campaign_store(tmp_path)
    store.connect()
    work(queue, store)
    (job,) = QueueReader(tmp_path).jobs()
    assert store.get_output(job.uuid) == [23.0, 14.0]
    assert 23.0 < job.wall_seconds < 53.0


def test_directories_of_tries_that_came_to_nothing_are_known_and_no_others(queue):
    queue.submit(toy.add(1))
    tries = []
    for _ in range(3):
        tries.append(queue.claim("a").directory)
        tries[-1].mkdir(parents=True)
        queue.release()
    (queue.jobs_directory / "mine").mkdir()
    assert sorted(queue.abandoned()) == sorted(tries[:2])


def test_a_job_that_is_retried_has_all_its_tries_before_it(tmp_path):
    queue = JobQueue(tmp_path, retries=1, max_crashes=2)
    queue.submit(toy.add(1))
    for _ in range(2):
        for _ in range(2):
            assert queue.claim("a") is not None
            queue.crashed("a", "signal SIGKILL")
        assert queue.claim("a") is None
        assert queue.retry() == 1
    for expected in (True, False):
        queue.fail(queue.claim("a"), "broken")
        assert queue.has_ready() is expected


def test_nothing_is_added_to_a_flow_that_was_stopped(queue):
    """Its other jobs are at work when one of them stops it."""
    queue.submit(Flow([toy.add(1), toy.add(2)]))
    stops, adds = queue.claim("a"), queue.claim("b")
    assert queue.complete(stops, Response(output=1, stop_jobflow=True))
    assert queue.complete(adds, Response(output=1, addition=Flow([toy.add(3)]), detour=Flow([toy.add(4)])))
    assert [j.state for j in QueueReader(queue.path.parent).jobs()] == [JobState.COMPLETED] * 2
