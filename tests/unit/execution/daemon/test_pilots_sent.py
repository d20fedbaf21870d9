"""Pilots that die young, pilots of other clusters, leases that have run out."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

pytest.importorskip("fireworks", reason="FireWorks is not installed")

from cluster_bed import ClusterBed
from magflow.execution.cluster import slurm
from magflow.execution.cluster.pilot import Pilot
from magflow.execution.cluster.slurm import SlurmJob
from magflow.execution.daemon.lease import Lease
from magflow.execution.daemon.pilots import PilotSender
from magflow.execution.fireworks import recovery
from magflow.execution.fireworks.launchpad import DAEMONS
from magflow.execution.fireworks.reader import LaunchPadReader
from magflow.makers.roles import Category


@pytest.fixture
def bed(tmp_path, wire_uri, monkeypatch):
    monkeypatch.setenv("MAGFLOW_MONGO_URI", "")  # noted, so that what pilots leave there is undone
    monkeypatch.delenv("MAGFLOW_MONGO_URI")
    made = ClusterBed(None, tmp_path / "cluster", wire_uri)
    made.cluster.pilots.mkdir()
    return made


def end(sender, launchpad, monkeypatch, number, state):
    """A pilot is sent, and the next look at it shows `state`."""
    monkeypatch.setattr(slurm, "submit", lambda script, environment: number)
    assert sender.send(1) == 1
    monkeypatch.setattr(slurm, "states", lambda numbers: {n: SlurmJob(n, "bed-dft", state) for n in numbers})
    sender.learn(launchpad, [])


def test_a_category_whose_pilots_die_young_is_held_back(bed, monkeypatch):
    sender, launchpad = PilotSender(bed.cluster, Category.DFT), bed.launchpad
    for number in (1, 2):
        end(sender, launchpad, monkeypatch, number, "FAILED")
    end(sender, launchpad, monkeypatch, 3, "COMPLETED")  # one that came to its end: they are not doomed
    for number in (4, 5):
        end(sender, launchpad, monkeypatch, number, "FAILED")
        assert sender.trouble == ""
    end(sender, launchpad, monkeypatch, 6, "FAILED")
    assert "3 pilot jobs in a row died" in sender.trouble
    assert "bed-dft-6.out" in sender.trouble
    assert sender.send(1) == 0


def test_one_that_took_a_job_did_not_die_young(bed, monkeypatch):
    sender, launchpad = PilotSender(bed.cluster, Category.DFT), bed.launchpad
    for number in (1, 2, 3):
        launchpad.launches.insert_one({"launch_id": number, "fworker": {"name": f"bed-dft-{number}"}})
        end(sender, launchpad, monkeypatch, number, "FAILED")
    assert sender.trouble == ""


def test_jobs_that_pilots_of_another_cluster_run_are_no_demand_here(bed):
    launchpad = bed.launchpad
    for number, worker in enumerate(("bed-dft-1", "bed-dft-12", "other-dft-1", "bed-dft-x", "bed-train-3")):
        launchpad.launches.insert_one({"launch_id": number, "state": "RUNNING", "fworker": {"name": worker}})
    jobs = [SlurmJob(1, "bed-dft", "RUNNING"), SlurmJob(2, "bed-dft", "PENDING"), SlurmJob(3, "bed-train", "RUNNING")]
    seen = PilotSender(bed.cluster, Category.DFT).demand(launchpad, jobs)
    assert (seen.ready, seen.running, seen.pilots_pending, seen.pilots_running) == (0, 2, 1, 1)


def test_a_daemon_that_has_been_silent_for_its_lease_is_replaced(bed):
    launchpad, first, elsewhere = bed.launchpad, Lease(bed.cluster, 60.0), Lease(bed.cluster, 60.0)
    elsewhere._place = {"host": "other", "directory": "/other"}
    first.take(launchpad)
    launchpad.db[DAEMONS].update_one({}, {"$set": {"until": time.time() - 1.0}})
    elsewhere.take(launchpad)
    assert launchpad.db[DAEMONS].find_one({})["host"] == "other"


def test_only_daemons_that_are_heard_of_are_named(bed):
    now = time.time()
    for name, seconds in (("alive", 20.0), ("dead", 900.0)):
        bed.launchpad.db[DAEMONS].insert_one({"_id": name, "host": "login", "seen": now - seconds})
    (found,) = LaunchPadReader(bed.launchpad, "mine").daemons()
    assert (found["cluster"], found["host"]) == ("alive", "login")
    assert found["seconds"] == pytest.approx(20.0, abs=5.0)


def test_a_pilot_begins_nothing_that_it_could_not_end(bed):
    """Ten minutes of walltime, a minute for the longest job, a minute for the start."""
    pilot = Pilot(bed.cluster, Category.DFT, 7)
    assert pilot.last_start - time.monotonic() == pytest.approx(600 - 60 - 60, abs=5.0)


def test_a_pilot_gives_signs_of_life_for_what_it_runs_and_nothing_else(bed, monkeypatch):
    pilot, pinged, waits = Pilot(bed.cluster, Category.DFT, 7), [], []
    runs = {pilot.fworker.name: [SimpleNamespace(launch_id=3)]}
    monkeypatch.setattr("magflow.execution.cluster.pilot.runs", lambda launchpad, worker: runs[worker])

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("magflow.execution.cluster.pilot.time.sleep", wait)
    with pytest.raises(KeyboardInterrupt):
        pilot._beat(SimpleNamespace(ping_launch=pinged.append))
    assert pinged == [3, 3]
    assert max(waits) <= bed.cluster.spec.daemon.silence_s / 5


def test_a_pilot_hands_on_where_the_database_is(bed, monkeypatch):
    import os

    Pilot(bed.cluster, Category.DFT, 7)._reach()
    assert os.environ["MAGFLOW_MONGO_URI"] == bed.uri
    monkeypatch.setenv("MAGFLOW_MONGO_URI", "mongodb://elsewhere")
    Pilot(bed.cluster, Category.DFT, 7)._reach()
    assert os.environ["MAGFLOW_MONGO_URI"] == "mongodb://elsewhere", "what is set stays"


def test_a_job_that_started_meanwhile_is_not_released(bed, monkeypatch):
    """Between the search and the lock its worker has begun."""
    written = []
    launchpad = SimpleNamespace(
        fireworks=SimpleNamespace(find=lambda *_: [{"fw_id": 1, "updated_on": "2020-01-01T00:00:00"}]),
        get_wf_by_fw_id_lzyfw=lambda fw_id: SimpleNamespace(id_fw={1: SimpleNamespace(state="RUNNING", name="label")}),
        workflows=SimpleNamespace(find_one_and_update=lambda *_, **__: {"nodes": [1]}),
        launches=SimpleNamespace(update_many=lambda *args: written.append(args)),
    )
    assert recovery.release_reservations(launchpad, 0.0) == []
    assert written == []
