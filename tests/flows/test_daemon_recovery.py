"""Lost runs on the wire double, without Slurm: found, offered again under the workflow's lock, counted, quarantined."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from cluster_jobs import ENDED, gather, label, labels_flow, noted
from jobflow import Flow, JobConfig, OnMissing
from pymongo.errors import AutoReconnect

pytest.importorskip("fireworks", reason="FireWorks is not installed")
from fireworks import FWorker
from fireworks.core.rocket_launcher import launch_rocket

from cluster_bed import ClusterBed
from clusters import store_section
from magflow.errors import CampaignError, StoreUnusableError
from magflow.execution.cluster import slurm
from magflow.execution.cluster.directory import CategorySpec
from magflow.execution.cluster.launchpad import InterruptedRunError, PilotLaunchPad
from magflow.execution.cluster.pilot import Pilot
from magflow.execution.cluster.slurm import UNKNOWN, SlurmJob
from magflow.execution.daemon import rounds as daemon_module
from magflow.execution.daemon.lease import Lease
from magflow.execution.daemon.pilots import Demand, wanted
from magflow.execution.daemon.rounds import Daemon, fate
from magflow.execution.fireworks.queue import LaunchPadQueue
from magflow.execution.fireworks.reader import LaunchPadReader
from magflow.execution.fireworks.recovery import Loss, end_lost_run, finish_half_done, release_reservations, runs
from magflow.execution.fireworks.task import CampaignTask
from magflow.execution.fireworks.workflows import held
from magflow.execution.queue_status import queue_status
from magflow.execution.states import summarise
from magflow.makers.roles import Category

CRASH = Loss("its Slurm job ended as FAILED", blamed=True)
NODE = Loss("its node was lost", blamed=False)


@pytest.fixture
def bed(tmp_path, mongo_uri, monkeypatch):
    monkeypatch.setenv("MAGFLOW_MONGO_URI", "")  # noted, so that what pilots leave there is undone
    monkeypatch.delenv("MAGFLOW_MONGO_URI")
    return ClusterBed(None, tmp_path / "cluster", mongo_uri)


@pytest.fixture
def queue(bed, tmp_path, write_campaign):
    """The queue of a campaign, empty but for one workflow that is out of the way."""
    here = bed.submit(write_campaign(tmp_path / "c.yaml", store=store_section(bed.uri)), tmp_path / "campaign")
    bed.launchpad.defuse_wf(1)
    return LaunchPadQueue(bed.launchpad, here)


@pytest.fixture
def submitted(queue, tmp_path):
    """Two labels and what gathers them."""
    flow, whole = labels_flow(tmp_path, ["Fe", "FeAl"], 0.0)
    queue.submit(flow)
    return whole


def worker(number=7):
    return FWorker(f"bed-dft-{number}", "dft")


def claim(launchpad, number=7):
    """A worker that has begun a job and will not be heard of again."""
    firework, _ = launchpad.checkout_fw(worker(number), ".")
    return firework.fw_id


def work_off(launchpad):
    while launchpad.run_exists(worker()):
        launch_rocket(launchpad, worker(), strm_lvl="ERROR")


def state(launchpad, fw_id):
    firework = launchpad.fireworks.find_one({"fw_id": fw_id})
    workflow = launchpad.workflows.find_one({"nodes": fw_id})
    assert firework["state"] == workflow["fw_states"][str(fw_id)]
    return firework["state"]


def make_silent(launchpad, run, seconds):
    past = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
    change = {"$set": {"state_history.0.updated_on": past}}
    launchpad.launches.update_one({"launch_id": run.launch_id}, change)


def test_a_lost_run_is_offered_again_and_done_once(bed, queue, submitted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    launchpad = bed.launchpad
    lost = claim(launchpad)
    (run,) = runs(launchpad)
    assert (run.fw_id, run.worker, run.category) == (lost, "bed-dft-7", "dft")
    assert run.silence() < 30
    verdict = end_lost_run(launchpad, run, CRASH, 3)
    assert (verdict.crashes, verdict.quarantined) == (1, False)
    assert state(launchpad, lost) == "READY"
    assert runs(launchpad) == []
    assert end_lost_run(launchpad, run, CRASH, 3) is None, "twice is once"
    work_off(launchpad)
    assert queue.directory.store.query_one({"uuid": submitted})["output"] == ["Fe", "FeAl"]


def test_a_lost_run_offers_nothing_that_waits_for_it(bed, queue, submitted):
    launchpad = bed.launchpad
    first, second = claim(launchpad), claim(launchpad, 8)
    for run in runs(launchpad):
        end_lost_run(launchpad, run, NODE, 3)
    assert {state(launchpad, first), state(launchpad, second)} == {"READY"}
    assert launchpad.fireworks.find_one({"name": "gather"})["state"] == "WAITING"


def test_only_what_a_job_is_to_blame_for_leads_to_quarantine(bed, queue, submitted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    launchpad = bed.launchpad
    seen = []
    for loss in (NODE, CRASH, NODE, CRASH, NODE, CRASH):
        target = claim(launchpad)
        for other in runs(launchpad):
            verdict = end_lost_run(launchpad, other, loss, 3)
        seen.append((target, verdict.crashes, verdict.quarantined))
        if launchpad.fireworks.find_one({"fw_id": target})["state"] == "FIZZLED":
            break
        launchpad.set_priority(target, 10)  # the same one again
    assert [crashes for _, crashes, _ in seen] == [0, 1, 1, 2, 2, 3]
    poisoned = seen[-1][0]
    assert state(launchpad, poisoned) == "FIZZLED"
    work_off(launchpad)
    assert len(queue.directory.store.query_one({"uuid": submitted})["output"]) == 1, "the others go on"
    reader = LaunchPadReader(launchpad, queue.campaign)
    assert reader.categories() == summarise(reader.jobs())
    (failed,) = reader.failed()
    assert failed.error == "the worker died 3 time(s) while running this job (its Slurm job ended as FAILED)"
    assert failed.crashes == 3
    status = queue_status(queue.directory, reader)
    assert status.losses >= 3
    assert status.categories["dft"].failed == 1
    assert queue.retry() == 1
    assert claim(launchpad) == poisoned
    (run,) = runs(launchpad)
    assert not end_lost_run(launchpad, run, CRASH, 3).quarantined, "all its tries are before it again"


def test_a_daemon_that_waits_for_a_lock_left_behind_ends_when_told_to(bed, queue, submitted, monkeypatch):
    monkeypatch.setattr(slurm, "states", lambda numbers: {n: SlurmJob(n, "bed-dft", "FAILED") for n in numbers})
    lost = claim(bed.launchpad)
    bed.launchpad.workflows.update_one({"nodes": lost}, {"$set": {"locked": True}})
    daemon = Daemon(bed.cluster)
    at_work = threading.Thread(target=daemon.run, daemon=True)
    at_work.start()
    time.sleep(1.0)
    assert not (bed.cluster.path / daemon_module.STATE).exists(), "its first round waits"
    daemon.stop()
    at_work.join(10.0)
    assert not at_work.is_alive(), "FireWorks would wait for two minutes"
    assert bed.launchpad.workflows.find_one({"nodes": lost})["locked"], "it is another's lock still"
    assert state(bed.launchpad, lost) == "RUNNING"


def test_a_lock_left_behind_is_broken_in_the_end(bed, queue, submitted, monkeypatch):
    lost = claim(bed.launchpad)
    bed.launchpad.workflows.update_one({"nodes": lost}, {"$set": {"locked": True}})
    monkeypatch.setattr("fireworks.core.launchpad.WFLock.__init__.__defaults__", (2.0, True))
    began, asked = time.monotonic(), []
    with held(bed.launchpad, lost, lambda: bool(asked.append(1))):
        assert time.monotonic() - began >= 2.0
        assert len(asked) >= 1
    assert "locked" not in bed.launchpad.workflows.find_one({"nodes": lost})


def test_a_reservation_without_a_start_is_released(bed, queue, submitted):
    launchpad = bed.launchpad
    claimed = launchpad._get_a_fw_to_run(worker().query).fw_id
    assert launchpad.fireworks.find_one({"fw_id": claimed})["state"] == "RESERVED"
    assert release_reservations(launchpad, 60.0) == [], "it may be about to start"
    assert release_reservations(launchpad, 0.0) == ["label"]
    assert state(launchpad, claimed) == "READY"


def test_a_job_that_ended_while_its_launch_runs_is_offered_again(bed, queue, submitted, tmp_path, monkeypatch):
    """As FireWorks leaves it when the database goes away while it puts launch and job back to where they were."""
    monkeypatch.chdir(tmp_path)
    launchpad = bed.launchpad
    torn = claim(launchpad)
    launchpad.fireworks.update_one({"fw_id": torn}, {"$set": {"state": "COMPLETED"}})
    assert finish_half_done(launchpad) == ["label"]
    assert state(launchpad, torn) == "READY"
    assert finish_half_done(launchpad) == []
    work_off(launchpad)
    assert queue.directory.store.query_one({"uuid": submitted})["output"] == ["Fe", "FeAl"]


def test_what_was_written_of_an_end_is_not_taken_back(bed, queue, submitted, tmp_path, monkeypatch):
    """The database goes away after the job was written, before its workflow is."""
    monkeypatch.chdir(tmp_path)
    launchpad = PilotLaunchPad.at(bed.cluster.launchpad)
    upsert = launchpad._upsert_fws

    def upsert_and_go(fireworks, *args, **kwargs):
        found = upsert(fireworks, *args, **kwargs)
        if any(f.state == "COMPLETED" for f in fireworks):
            raise AutoReconnect("gone")
        return found

    monkeypatch.setattr(launchpad, "_upsert_fws", upsert_and_go)
    with pytest.raises(InterruptedRunError):
        launch_rocket(launchpad, worker(), strm_lvl="ERROR")
    (launch,) = bed.launchpad.launches.find({"fworker.name": worker().name})
    assert launch["state"] == "COMPLETED"
    assert finish_half_done(bed.launchpad) == ["label"]
    assert state(bed.launchpad, launch["fw_id"]) == "COMPLETED"
    work_off(bed.launchpad)
    assert Counter(noted(tmp_path, ENDED)) == Counter(["Fe", "FeAl"])


@pytest.mark.parametrize("step", ["launch", "jobs"])
def test_an_end_that_was_half_written_is_carried_through(bed, queue, tmp_path, monkeypatch, step):
    """The worker died after it had noted the end with the launch, or with the job but not with the workflow."""
    monkeypatch.chdir(tmp_path)
    launchpad = bed.launchpad
    before = label("Fe", str(tmp_path), 0.0)
    after = gather([before.output])
    for made in (before, after):
        made.metadata["category"] = "dft"
    after.config = JobConfig(on_missing_references=OnMissing.NONE)
    queue.submit(Flow([before, after]))
    with monkeypatch.context() as patch:
        if step == "launch":
            finish = launchpad.complete_launch

            def complete(launch_id, action=None, state="COMPLETED"):
                with patch.context() as inner:
                    inner.setattr(launchpad, "_refresh_wf", lambda fw_id: None)
                    return finish(launch_id, action, state)

            patch.setattr(launchpad, "complete_launch", complete)
        else:
            update = launchpad._update_wf

            def update_jobs(wf, ids):
                if any(wf.id_fw[i].state == "COMPLETED" for i in ids):
                    launchpad._upsert_fws([wf.id_fw[i] for i in ids if wf.id_fw[i].state == "COMPLETED"])
                else:
                    update(wf, ids)

            patch.setattr(launchpad, "_update_wf", update_jobs)
        assert launch_rocket(launchpad, worker(), strm_lvl="ERROR")
    assert not launchpad.run_exists(worker()), "nothing would ever go on"
    launchpad.workflows.update_one({"nodes": 8}, {"$set": {"locked": True}})  # it died with the lock in its hands
    monkeypatch.setattr("fireworks.core.launchpad.WFLock.__init__.__defaults__", (0.5, True))
    assert finish_half_done(launchpad) == ["label"]
    assert finish_half_done(launchpad) == []
    work_off(launchpad)
    assert queue.directory.store.query_one({"uuid": after.uuid})["output"] == ["Fe"]


@pytest.mark.parametrize(
    ("error", "crashes"), [(AutoReconnect("gone"), 0), (StoreUnusableError("gone"), 0), (SystemExit(1), 1)]
)
def test_a_pilot_does_not_note_a_failure_that_is_not_the_jobs(
    bed, queue, submitted, tmp_path, monkeypatch, error, crashes
):
    """FireWorks would: it takes every exception for the job's, and what waits for the job would go on without it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    pilot, attempts = Pilot(bed.cluster, Category.DFT, 7), []

    def interrupted(*_):
        attempts.append(1)
        if len(attempts) == 1:
            raise error
        return original(*_)

    original = CampaignTask.run_task
    monkeypatch.setattr(CampaignTask, "run_task", interrupted)
    pilot.idle_s = 0.5
    pilot.run()
    assert len(attempts) == 4
    assert queue.directory.store.query_one({"uuid": submitted})["output"] == ["Fe", "FeAl"]
    (lost,) = bed.launchpad.fireworks.find({"spec.magflow.losses": 1})
    assert lost["spec"]["magflow"]["crashes"] == crashes


def test_a_pilot_notes_a_failure_that_is_the_jobs(bed, queue, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = label(3, str(tmp_path), "no time")
    made.metadata["category"] = "dft"
    queue.submit(Flow([made]))
    pilot = Pilot(bed.cluster, Category.DFT, 7)
    pilot.idle_s = 0.2
    pilot.run()
    (failed,) = LaunchPadReader(bed.launchpad, queue.campaign).failed()
    assert "TypeError" in failed.error
    assert failed.crashes == 0


def test_a_daemon_that_dies_in_the_middle_of_its_work(bed, queue, submitted, monkeypatch):
    """It had noted the loss with the launch, and not offered the job again."""
    launchpad = bed.launchpad
    lost = claim(launchpad)

    def die(*_):
        raise AutoReconnect("gone")

    with monkeypatch.context() as patch, pytest.raises(AutoReconnect):
        patch.setattr(launchpad, "_update_wf", die)
        end_lost_run(launchpad, runs(launchpad)[0], CRASH, 3)
    assert runs(launchpad) == []
    assert finish_half_done(launchpad) == ["label"]
    assert state(launchpad, lost) == "READY"
    assert launchpad.fireworks.find_one({"name": "gather"})["state"] == "WAITING"


@pytest.mark.parametrize(
    ("slurm_state", "blamed"),
    [
        *((state, True) for state in ("FAILED", "TIMEOUT", "OUT_OF_MEMORY", "COMPLETED", UNKNOWN)),
        *((state, False) for state in ("NODE_FAIL", "CANCELLED", "PREEMPTED", "PENDING")),
    ],
)
def test_what_a_job_is_to_blame_for(slurm_state, blamed):
    assert fate(SlurmJob(7, "bed-dft", slurm_state)).blamed is blamed


def test_a_pilot_that_runs_is_left_alone():
    assert fate(SlurmJob(7, "bed-dft", "RUNNING")) is None


def test_silence_is_judged_only_by_one_who_has_listened(bed, queue, submitted, monkeypatch):
    """Slurm says that the pilot runs: it is ended before its job is offered again."""
    launchpad, cancelled = bed.launchpad, []
    lost = claim(launchpad)
    (run,) = runs(launchpad)
    monkeypatch.setattr(slurm, "states", lambda numbers: {n: SlurmJob(n, "bed-dft", "RUNNING") for n in numbers})
    monkeypatch.setattr(slurm, "jobs_named", lambda prefix: [])
    monkeypatch.setattr(slurm, "submit", lambda script, environment: 99)
    monkeypatch.setattr(slurm, "cancel", cancelled.extend)
    daemon = Daemon(bed.cluster)
    daemon._in_touch_since = time.monotonic()  # the database has just come back
    make_silent(launchpad, run, 1000.0)
    assert daemon.round(launchpad).offered_again == []
    daemon._in_touch_since -= 1000.0
    (said,) = daemon.round(launchpad).offered_again
    assert "no sign of life" in said
    assert cancelled == [7]
    assert state(launchpad, lost) == "READY"


def test_jobs_that_no_workflow_holds_are_removed(bed, queue, submitted):
    """Their submitter died before it had written their workflow; a worker could never end them."""
    launchpad = bed.launchpad
    launchpad.workflows.delete_one({"nodes": launchpad.fireworks.find_one({"name": "gather"})["fw_id"]})
    long_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    launchpad.fireworks.update_many({"name": {"$in": ["gather", "label"]}}, {"$set": {"created_on": long_ago}})
    bed.cluster.pilots.mkdir()
    Daemon(bed.cluster)._mend(launchpad, daemon_module.Round())
    assert launchpad.fireworks.count_documents({"name": {"$in": ["gather", "label"]}}) == 0
    assert launchpad.fireworks.count_documents({}) > 0, "jobs with a workflow stay"


def test_old_logs_of_pilots_are_removed(bed, monkeypatch):
    bed.cluster.pilots.mkdir()
    kept, old, script = (bed.cluster.pilots / n for n in ("bed-dft-2.out", "bed-dft-1.out", "bed-dft.sh"))
    for path in (kept, old, script):
        path.touch()
    for path in (old, script):
        os.utime(path, (0, 0))
    Daemon(bed.cluster)._mend(bed.launchpad, daemon_module.Round())
    assert sorted(bed.cluster.pilots.iterdir()) == sorted([kept, script])


def test_a_slurm_that_does_not_answer_loses_nothing(bed, queue, submitted, monkeypatch):
    launchpad = bed.launchpad
    running = claim(launchpad)

    def refuse(*_):
        raise slurm.SlurmError("squeue did not answer")

    for name in ("states", "jobs_named"):
        monkeypatch.setattr(daemon_module.slurm, name, refuse)
    done = Daemon(bed.cluster).round(launchpad)
    assert done.offered_again == []
    assert done.trouble == ["squeue did not answer"]
    assert state(launchpad, running) == "RUNNING"


def test_a_step_that_fails_does_not_end_the_daemon(bed, queue, submitted, monkeypatch):
    def fail(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(daemon_module, "runs", fail)
    monkeypatch.setattr(slurm, "jobs_named", lambda prefix: [])
    monkeypatch.setattr(slurm, "submit", lambda script, environment: 99)
    done = Daemon(bed.cluster).round(bed.launchpad)
    assert done.trouble == ["RuntimeError: a bug; the log has more"]
    assert done.sent == 1 + 1, "pilots are sent all the same: both labels are ready"


def test_one_daemon_per_launchpad_and_cluster(bed, queue, tmp_path):
    launchpad = bed.launchpad
    first, same_place = Lease(bed.cluster, 60.0), Lease(bed.cluster, 60.0)
    elsewhere = Lease(bed.cluster, 60.0)
    elsewhere._place = {"host": "other", "directory": "/other"}
    first.take(launchpad)
    first.renew(launchpad)
    with pytest.raises(CampaignError, match="another daemon"):
        elsewhere.take(launchpad)
    same_place.take(launchpad)  # the lock on the folder says that the first one is dead
    same_place.give_up(launchpad)
    elsewhere.take(launchpad)
    with pytest.raises(CampaignError, match="another daemon"):
        first.renew(launchpad)


@pytest.mark.parametrize(
    ("ready", "running", "pending", "at_work", "sent"),
    [
        *[(0, 0, 0, 0, 0), (1, 0, 0, 0, 1), (9, 0, 0, 0, 2), (9, 0, 2, 0, 0), (9, 3, 1, 3, 0), (9, 2, 0, 2, 2)],
        *[(1, 2, 0, 3, 0), (0, 1, 0, 1, 0), (1, 0, 0, 1, 0), (3, 1, 1, 1, 1)],
    ],
)
def test_pilots_wanted(ready, running, pending, at_work, sent):
    bounds = CategorySpec(max_pilots=4, max_queued=2)
    assert wanted(Demand(ready, running, pending, at_work), bounds) == sent
