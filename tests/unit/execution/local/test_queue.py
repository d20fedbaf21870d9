"""The queue and one worker do what jobflow's own run_locally does, on any maggma store."""

from __future__ import annotations

import sys
import time

import pytest
import toy_jobs as toy
from generated_flows import outputs, spec, spec_lists
from hypothesis import HealthCheck, example, given, settings
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore

from magflow.errors import InputError, StoreError
from magflow.execution.local.queue import JobQueue, QueueReader
from magflow.execution.local.worker import Worker
from magflow.execution.states import JobFilter, JobState
from magflow.stores import connection
from magflow.stores.jobstore import DATABASE, campaign_store


def memory_store():
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    return store


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


@example(
    [
        spec("n0", "replace", (), [spec("m", "replace", (), [spec("o")])]),
        spec("n1", "replace_silent", (), [spec("p")]),
        spec("n2", parents=[0, 1]),
    ]
)
@example(
    [
        spec("n0", "replace", (), [spec("m", "fail"), spec("o", "stop_children"), spec("p", parents=[0, 1])]),
        spec("n1", parents=[0]) | {"tolerant": True},
    ]
)
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(spec_lists())
def test_generated_flows_give_what_run_locally_gives(tmp_path_factory, specs):
    expected = memory_store()
    run_locally(Flow(toy.build(specs)), store=expected, log=False)
    queue = JobQueue(tmp_path_factory.mktemp("queue"), retries=0)
    queue.submit(Flow(toy.build(specs)))
    assert outputs(work(queue)) == outputs(expected)
    counts = QueueReader(queue.path.parent).counts()
    assert all(counts[s] == 0 for s in (JobState.WAITING, JobState.READY, JobState.RUNNING))


def test_chain_through_a_replacement(queue):
    wide = toy.fan_out(5)
    last = toy.add(wide.output, 100)
    assert queue.submit(Flow([wide, last])) == 2
    store = work(queue, campaign_store(queue.path.parent))
    assert store.get_output(last.uuid) == 115
    assert QueueReader(queue.path.parent).counts()[JobState.COMPLETED] == 9


def test_submitting_again_changes_nothing(queue):
    flow = Flow([toy.fan_out(2)])
    assert queue.submit(flow) == 1
    work(queue)
    before = states(queue)
    assert queue.submit(flow) == 0
    assert states(queue) == before


def test_failure_cancels_what_needs_it_and_spares_what_tolerates_it(queue):
    broken, fine = toy.fail(), toy.add(1)
    needs = toy.total([broken.output, fine.output])
    tolerates = toy.total([broken.output, fine.output])
    tolerates.config = toy.TOLERANT
    after = toy.add(needs.output)
    for job, name in ((needs, "needs"), (tolerates, "tolerates"), (after, "after")):
        job.name = name
    queue.submit(Flow([broken, fine, needs, tolerates, after]))
    store = work(queue)
    expected = {"fail": "FAILED", "add": "COMPLETED", "needs": "CANCELLED", "tolerates": "COMPLETED"}
    assert states(queue) == {**expected, "after": "CANCELLED"}
    assert store.get_output(tolerates.uuid) == 2
    (failed,) = QueueReader(queue.path.parent).failed()
    assert "ValueError: broken" in failed.error
    assert failed.tries == 1


def test_retry_revives_what_was_cancelled(queue, tmp_path):
    first = toy.fail_once(str(tmp_path / "marker"))
    second = toy.collect([first.output])
    third = toy.collect(second.output)
    first.name, second.name, third.name = "first", "second", "third"
    queue.submit(Flow([first, third, second]))
    work(queue)
    assert states(queue)["third"] == "CANCELLED"
    assert queue.retry(JobFilter(name="nothing*")) == 0
    assert queue.retry(JobFilter(name="fir*")) == 1
    assert states(queue) == {"first": "READY", "second": "WAITING", "third": "WAITING"}
    store = work(queue)
    assert set(states(queue).values()) == {"COMPLETED"}
    assert store.get_output(third.uuid) == ["second time"]


def test_exceptions_are_retried_but_not_errors_meant_for_people(tmp_path):
    queue = JobQueue(tmp_path, retries=1)
    queue.submit(Flow([toy.fail_once(str(tmp_path / "marker")), toy.refuse(), toy.fail()]))
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


def test_claims_are_exclusive_and_leases_expire(tmp_path):
    queue = JobQueue(tmp_path, lease=0.2, max_crashes=2)
    queue.submit(toy.add(1))
    claim = queue.claim("a")
    assert queue.claim("b") is None
    queue.renew(["a"])
    assert queue.expire() == 0
    time.sleep(0.3)
    assert queue.expire() == 1
    again = queue.claim("b")
    assert (again.uuid, again.attempt) == (claim.uuid, 2)
    assert not queue.fail(claim, "too late")  # the first worker lost its claim: nothing it reports counts
    assert QueueReader(tmp_path).running()[0][0].worker == "b"
    assert queue.crashed("b", "signal SIGKILL") == 1
    (failed,) = QueueReader(tmp_path).failed()
    assert "died 2 time(s)" in failed.error
    assert "SIGKILL" in failed.error


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


def test_a_flow_may_refer_to_jobs_already_queued(queue):
    first = toy.add(1)
    queue.submit(first)
    second = toy.add(first.output)
    assert queue.submit(second, allow_external_references=True) == 1
    assert states(queue) == {"add": "WAITING"}
    assert work(queue).get_output(second.uuid) == 3


def test_reader_says_what_is_missing(tmp_path):
    with pytest.raises(StoreError, match="no store here"):
        QueueReader(tmp_path).counts()
    campaign_store(tmp_path).connect()
    assert (tmp_path / DATABASE).exists()
    with pytest.raises(StoreError, match="no queue"):
        QueueReader(tmp_path).counts()
