"""The contract of back ends: the same flow comes to the same end, whatever queue it is given to."""

from __future__ import annotations

import os
from dataclasses import asdict

import pytest
from hypothesis import HealthCheck, given, settings
from jobflow import Flow, run_locally

import toy_jobs as toy
from benches import LaunchPadBench, LocalBench, RemoteBench, memory_store
from generated_flows import outputs, spec, spec_lists
from magflow.core import plugins
from magflow.errors import StoreError
from magflow.execution.backend import Backend, backend_named
from magflow.execution.states import UNSETTLED, JobFilter, JobState, summarise

pytestmark = pytest.mark.timeout(300)

QUICK = ["local", "fireworks"]
SLOW = pytest.param("jobflow-remote", marks=pytest.mark.slow)
PACKAGES = {"fireworks": "fireworks", "jobflow-remote": "jobflow_remote"}


def make(name, request, tmp_path, monkeypatch, retries):
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name], reason=f"{name} is not installed")
    if name == "local":
        return LocalBench(tmp_path, retries)
    uri = request.getfixturevalue("wire_uri")
    if name == "fireworks":
        return LaunchPadBench(uri, tmp_path, monkeypatch, retries)
    return RemoteBench(uri, tmp_path, monkeypatch)


@pytest.fixture(params=[*QUICK, SLOW])
def bench(request, tmp_path, monkeypatch):
    """No second try: an exception is final."""
    return make(request.param, request, tmp_path, monkeypatch, retries=0)


@pytest.fixture(params=QUICK)
def patient(request, tmp_path, monkeypatch):
    """As campaigns use it; jobflow-remote leaves second tries to people."""
    return make(request.param, request, tmp_path, monkeypatch, retries=1)


@pytest.mark.parametrize("name", plugins.names(plugins.BACKENDS))
def test_a_back_end_is_what_it_is_registered_as(name):
    made = backend_named(name, "here", "one")
    assert isinstance(made, Backend)
    assert (made.name, str(made)) == (name, f"{name} (here)")
    assert made.hint
    assert backend_named(name, **asdict(made)) == made
    others = [other for other in plugins.names(plugins.BACKENDS) if other != name]
    assert made not in [backend_named(other, "here", "one") for other in others]


def test_submitting_again_changes_nothing(bench):
    flow = Flow([toy.fan_out(2), toy.add(1)])
    assert bench.queue.submit(flow) == 2
    assert bench.queue.submit(flow) == 0
    bench.work()
    before = bench.states()
    assert bench.queue.submit(flow) == 0
    assert bench.states() == before
    assert set(before.values()) == {"COMPLETED"}


def test_chain_through_a_replacement(bench):
    wide = toy.fan_out(5)
    last = toy.add(wide.output, 100)
    assert bench.queue.submit(Flow([wide, last])) == 2
    assert bench.work().get_output(last.uuid) == 115
    assert bench.reader.counts()[JobState.COMPLETED] == 9


def test_failure_cancels_what_needs_it_and_spares_what_tolerates_it(bench):
    broken, fine = toy.fail(), toy.add(1)
    needs = toy.total([broken.output, fine.output])
    tolerates = toy.total([broken.output, fine.output])
    tolerates.config = toy.TOLERANT
    after = toy.add(needs.output)
    for job, name in ((needs, "needs"), (tolerates, "tolerates"), (after, "after")):
        job.name = name
    bench.queue.submit(Flow([broken, fine, needs, tolerates, after]))
    store = bench.work()
    expected = {"fail": "FAILED", "add": "COMPLETED", "needs": "CANCELLED", "tolerates": "COMPLETED"}
    assert bench.states() == {**expected, "after": "CANCELLED"}
    assert store.get_output(tolerates.uuid) == 2
    (failed,) = bench.reader.failed()
    assert "ValueError: broken" in failed.error


def test_retry_revives_what_was_cancelled(bench, tmp_path):
    first = toy.fail_once(str(tmp_path / "marker"))
    second = toy.collect([first.output])
    third = toy.collect(second.output)
    first.name, second.name, third.name = "first", "second", "third"
    bench.queue.submit(Flow([first, third, second]))
    bench.work()
    assert bench.states() == {"first": "FAILED", "second": "CANCELLED", "third": "CANCELLED"}
    assert bench.queue.retry(JobFilter(name="[xyz]*")) == 0
    assert bench.queue.retry(JobFilter(states=(JobState.CANCELLED,))) == 0, "it was not its fault"
    assert bench.queue.retry(JobFilter(name="*ir*")) == 1
    assert bench.states() == {"first": "READY", "second": "WAITING", "third": "WAITING"}
    store = bench.work()
    assert set(bench.states().values()) == {"COMPLETED"}
    assert store.get_output(third.uuid) == ["second time"]


def test_exceptions_are_retried_but_not_errors_meant_for_people(patient, tmp_path):
    note = tmp_path / "note"
    patient.queue.submit(Flow([toy.fail_once(str(tmp_path / "marker")), toy.refuse(str(note)), toy.fail()]))
    patient.work()
    assert patient.states() == {"fail_once": "COMPLETED", "refuse": "FAILED", "fail": "FAILED"}
    assert note.read_text() == "tried ", "once is enough"
    errors = {job.name: job.error for job in patient.reader.failed()}
    assert errors["refuse"] == "InputError: toy: not like this; hint: another way"


def test_stop_jobflow_ends_the_flow_and_no_other(bench):
    first, other = toy.stop_flow(), toy.total([1, 2])
    bench.queue.submit(Flow([first, toy.add(first.output), toy.collect([first.output])]))
    bench.queue.submit(Flow([other]))
    store = bench.work()
    expected = {"stop_flow": "COMPLETED", "add": "CANCELLED", "collect": "CANCELLED", "total": "COMPLETED"}
    assert bench.states() == expected, "what it would have added is not there either"
    assert store.get_output(other.uuid) == 3


def test_a_flow_may_refer_to_jobs_already_queued(bench):
    first = toy.add(1)
    bench.queue.submit(first)
    second = toy.add(first.output)
    assert bench.queue.submit(second, allow_external_references=True) == 1
    assert bench.work().get_output(second.uuid) == 3


def test_every_view_of_the_queue_agrees(bench):
    label, light, broken = toy.burn(0.1), toy.add(2), toy.fail()
    label.metadata["category"] = "dft"
    label.name = "label"
    bench.queue.submit(Flow([label, light, broken, toy.add(broken.output)]))
    bench.work()
    jobs = bench.reader.jobs()
    assert [j.name for j in jobs] == ["label", "add", "fail", "add"]
    assert [j.uuid for j in bench.reader.jobs(limit=1)] == [label.uuid]
    assert bench.reader.categories() == summarise(jobs)
    assert bench.reader.counts() == {s: sum(j.state is s for j in jobs) for s in JobState}
    assert [j.name for j in bench.reader.jobs(JobFilter(category="dft", uuid=label.uuid[:8]))] == ["label"]
    assert bench.reader.jobs(JobFilter(states=UNSETTLED)) == []
    assert (bench.reader.running(), bench.reader.losses(), list(bench.reader.daemons())) == ([], 0, [])
    assert bench.reader.throughput() > 0
    ran = [j for j in jobs if j.state is JobState.COMPLETED]
    assert all(0 < j.wall_seconds < 60 and j.submitted <= j.started <= j.ended for j in ran)


@pytest.mark.parametrize("name", QUICK)
def test_a_queue_that_cannot_be_reached_is_a_store_error(name, tmp_path, monkeypatch):
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name], reason=f"{name} is not installed")
        monkeypatch.setattr("magflow.execution.fireworks.launchpad._ANSWER_MS", 200)
    file = tmp_path / "my_launchpad.yaml"
    file.write_text("host: 'mongodb://127.0.0.1:1/db'\nuri_mode: true\nname: db")
    with pytest.raises(StoreError):
        backend_named(name, str(file)).reader(_Directory(tmp_path)).counts()


class _Directory:
    def __init__(self, path):
        self.path, self.id = path, "toy"


NESTED = [spec("m", "replace", (), [spec("o")])]
FLOWS = [
    [spec("n0", "replace", (), NESTED), spec("n1", "replace_silent", (), [spec("p")]), spec("n2", parents=[0, 1])],
    [
        spec("n0", "replace", (), [spec("m", "fail"), spec("o", "stop_children"), spec("p", parents=[0, 1])]),
        spec("n1", parents=[0]) | {"tolerant": True},
    ],
    [spec("n0", "stop_children"), spec("n1", parents=[0]), spec("n2", parents=[1])],
    [spec("n0", "replace", (), [spec("m", "stop_children"), spec("o")]), spec("n1", parents=[0])],
    [spec("n0", "replace_silent", (), [spec("m", "stop_children"), spec("o", parents=[0])]), spec("n1", parents=[0])],
    [spec("n0", "replace", (), NESTED), spec("n1", parents=[0])],
    [spec("n0", "stop_children"), spec("n1", parents=[0]) | {"tolerant": True}],
    [spec("n0", "detour", (), [spec("m", "fail"), spec("o")]), spec("n1", parents=[0])],
]


def as_run_locally(bench, specs):
    """What `run_locally` gives, and that nothing is left to do."""
    expected = memory_store()
    run_locally(Flow(toy.build(specs)), store=expected, log=False)
    bench.queue.submit(Flow(toy.build(specs)))
    assert outputs(bench.work()) == outputs(expected)
    assert not any(bench.reader.counts()[state] for state in UNSETTLED)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("specs", FLOWS)
def test_flows_give_what_run_locally_gives(name, specs, request, tmp_path, monkeypatch):
    """The runner of jobflow-remote waits for ever for what its own rules hold back."""
    as_run_locally(make(name, request, tmp_path, monkeypatch, retries=0), specs)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(spec_lists())
def test_generated_flows_on_this_machine(tmp_path_factory, specs):
    as_run_locally(LocalBench(tmp_path_factory.mktemp("queue"), retries=0), specs)


@settings(deadline=None, max_examples=5, suppress_health_check=list(HealthCheck))
@given(spec_lists())
def test_generated_flows_on_a_launchpad(wire_mongo, tmp_path_factory, specs):
    pytest.importorskip("fireworks", reason="FireWorks is not installed")
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("flow")
        bench = LaunchPadBench(f"{wire_mongo.uri}{folder.name}_{os.getpid()}", folder, patch, retries=0)
        as_run_locally(bench, specs)
        bench.launchpad.connection.drop_database(bench.launchpad.name)
