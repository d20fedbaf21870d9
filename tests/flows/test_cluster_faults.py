"""Faults on a real Slurm: nothing acknowledged is lost, no label is paid for twice, somebody says what happened."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter

import cluster_jobs
import pytest
from cluster_jobs import BEGUN, ENDED, labels_flow, noted

pytest.importorskip("fireworks", reason="FireWorks is not installed")
from cluster_bed import NAME, ClusterBed
from clusters import store_section
from doubles.mongo_wire import WireMongo
from magflow.execution.daemon import process as daemon_process
from magflow.execution.daemon.rounds import last_round
from magflow.execution.fireworks.queue import LaunchPadQueue

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(420)]

NAMES = ["Fe", "FeAl", "Fe3Al"]


@pytest.fixture
def mongo():
    with WireMongo() as double:
        yield double


@pytest.fixture
def bed(slurm, mongo, tmp_path):
    made = ClusterBed(slurm, tmp_path / "cluster", f"{mongo.uri}magflow_test")
    yield made
    made.close()


@pytest.fixture
def campaign(bed, tmp_path, write_campaign):
    """A campaign on the LaunchPad whose own first job is out of the way."""
    here = bed.submit(write_campaign(tmp_path / "c.yaml", store=store_section(bed.uri)), tmp_path / "campaign")
    bed.launchpad.defuse_wf(1)
    return here


def submit(bed, here, flow):
    return LaunchPadQueue(bed.launchpad, here).submit(flow)


def output(here, uuid):
    return here.store.query_one({"uuid": uuid})["output"]


def losses(bed):
    return {
        f["name"]: f["spec"]["magflow"].get("last_loss")
        for f in bed.launchpad.fireworks.find({"spec.magflow.losses": {"$gt": 0}})
    }


def test_a_worker_killed_mid_label(bed, campaign, tmp_path):
    flow, whole = labels_flow(tmp_path, NAMES, 3.0)
    assert submit(bed, campaign, flow) == 4
    bed.start()
    bed.wait(lambda: len(noted(tmp_path, BEGUN)) >= len(bed.pilots()) > 0)  # whichever dies dies with a label
    seen = [" ".join(p.cmdline()) for p in bed.pilots()] + [bed.slurm.command("scontrol", "show", "job"), bed.log()]
    assert not [text for text in seen if bed.uri in text], "the address of the database is nobody's business"
    os.kill(bed.pilots()[0].pid, signal.SIGKILL)
    killed = time.time()
    bed.wait(lambda: "offered again" in bed.log())
    assert time.time() - killed < 60
    bed.wait_until_done()
    assert output(campaign, whole) == sorted(NAMES)
    assert Counter(noted(tmp_path, ENDED)) == Counter(NAMES), "no label is finished twice"
    assert len(noted(tmp_path, BEGUN)) == len(NAMES) + 1
    assert losses(bed) == {"label": "its Slurm job ended as FAILED"}


@pytest.mark.slow
def test_a_poisoned_job_is_recorded_as_failed_and_the_others_go_on(bed, campaign, tmp_path):
    flow, whole = labels_flow(tmp_path, NAMES, 0.5, cluster_jobs.poison(str(tmp_path)))
    submit(bed, campaign, flow)
    bed.start()
    bed.wait_until_done(180)
    assert Counter(noted(tmp_path, BEGUN)) == Counter([*NAMES, *3 * ["poison"]])
    assert output(campaign, whole) == sorted(NAMES)
    failed = bed.launchpad.fireworks.find_one({"name": "poison"})
    assert failed["state"] == "FIZZLED"
    assert "recorded as failed after 3 crashes" in bed.log()


@pytest.mark.slow
def test_a_lost_node(bed, campaign, slurm, tmp_path):
    flow, whole = labels_flow(tmp_path, NAMES, 4.0)
    submit(bed, campaign, flow)
    bed.start()
    bed.wait(lambda: noted(tmp_path, BEGUN))
    slurm.lose_node()
    bed.wait(lambda: "its node was lost; offered again" in bed.log())
    slurm.start_node()
    bed.wait_until_done(120)
    assert output(campaign, whole) == sorted(NAMES)
    assert Counter(noted(tmp_path, ENDED)) == Counter(NAMES)
    assert {f["spec"]["magflow"]["crashes"] for f in bed.launchpad.fireworks.find({"spec.magflow.losses": 1})} == {0}


@pytest.mark.slow
def test_a_slurm_job_that_hits_its_walltime(slurm, mongo, tmp_path, write_campaign):
    bed = ClusterBed(slurm, tmp_path / "cluster", f"{mongo.uri}walltime", walltime="00:01:00")
    try:
        here = bed.submit(write_campaign(tmp_path / "c.yaml", store=store_section(bed.uri)), tmp_path / "campaign")
        bed.launchpad.defuse_wf(1)
        made = cluster_jobs.slow_once(str(tmp_path), 300.0)
        made.metadata["category"] = "dft"
        submit(bed, here, made)
        bed.start()
        bed.wait(lambda: "hit its walltime; offered again" in bed.log(), 200)
        bed.wait_until_done()
        assert output(here, made.uuid) == "in time"
    finally:
        bed.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_database_that_is_away_for_a_while(bed, campaign, mongo, tmp_path):
    names = [f"Fe{i}" for i in range(8)]
    flow, whole = labels_flow(tmp_path, names, 1.0)
    submit(bed, campaign, flow)
    bed.start()
    bed.wait(lambda: len(noted(tmp_path, ENDED)) >= 2)
    mongo.outage(20.0)
    bed.wait(lambda: "database is away" in bed.log())
    # where it went away in the middle of a write, a lock is left, which is broken after two minutes
    bed.wait(lambda: len(noted(tmp_path, ENDED)) == len(names), 360)
    bed.wait_until_done(360)
    assert output(campaign, whole) == sorted(names)
    assert Counter(noted(tmp_path, ENDED)) == Counter(names), "no label is paid for twice"


@pytest.mark.slow
def test_a_killed_daemon_is_replaced_and_a_second_one_refused(bed, campaign, tmp_path):
    flow, whole = labels_flow(tmp_path, NAMES, 2.0)
    submit(bed, campaign, flow)
    first = bed.start()
    bed.wait(lambda: noted(tmp_path, BEGUN))
    with pytest.raises(Exception, match="at work already"):
        daemon_process.start(bed.cluster)
    os.kill(first, signal.SIGKILL)
    os.kill(bed.pilots()[0].pid, signal.SIGKILL)  # nobody is there to notice
    bed.wait(lambda: daemon_process.holder(bed.cluster) is None)
    assert bed.start() != first
    bed.wait_until_done()
    assert output(campaign, whole) == sorted(NAMES)
    assert Counter(noted(tmp_path, ENDED)) == Counter(NAMES)
    assert last_round(bed.cluster)["trouble"] == []
    stopped = daemon_process.stop(bed.cluster)
    assert stopped is not None
    assert daemon_process.stop(bed.cluster) is None
    assert not [j for j in bed.slurm.jobs("PD") if j], f"no pilots of {NAME} are sent when there is no work"


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_workers_killed_and_outages_in_the_middle_of_writes_again_and_again(slurm, mongo, tmp_path, write_campaign):
    """Whatever is interrupted, and wherever: the flow comes to its end, each label finished once."""
    bed = ClusterBed(slurm, tmp_path / "cluster", f"{mongo.uri}chaos", max_crashes=100)
    rng = random.Random(7)
    try:
        here = bed.submit(write_campaign(tmp_path / "c.yaml", store=store_section(bed.uri)), tmp_path / "campaign")
        bed.launchpad.defuse_wf(1)
        names = [f"Fe{i}" for i in range(12)]
        flow, whole = labels_flow(tmp_path, names, 1.0)
        submit(bed, here, flow)
        bed.start()
        for _ in range(3):
            seen = len(noted(tmp_path, ENDED))
            # a workflow's lock that was held when the outage came is broken after two minutes
            bed.wait(lambda before=seen: len(noted(tmp_path, ENDED)) > before or before >= len(names), 300)
            mongo.outage(rng.uniform(0.5, 3.0), after_next_write=True)
            time.sleep(rng.uniform(0.0, 1.0))
            at_work = bed.pilots()
            if at_work:
                rng.choice(at_work).kill()
        bed.wait_until_done(600)
        assert output(here, whole) == sorted(names)
        assert set(noted(tmp_path, ENDED)) == set(names)
    finally:
        bed.close()
