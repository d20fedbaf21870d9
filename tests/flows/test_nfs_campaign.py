"""A campaign on two Slurm nodes that have its directory on NFS; one of them dies in the middle of a label."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from cluster_jobs import BEGUN, ENDED, labels_flow, noted

pytest.importorskip("fireworks", reason="FireWorks is not installed")
from cluster_bed import ClusterBed
from clusters import at_work, store_section
from doubles.mongo_wire import WireMongo
from magflow.execution.fireworks.queue import LaunchPadQueue
from nfs_slurm import NfsSlurm

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(3600)]

NAMES = ["Fe", "FeAl", "Fe3Al", "Fe2Al", "FeAl2", "Al"]
LABEL_S = 30.0
PATIENT = {"silence_s": 60.0, "reservation_s": 120.0, "idle_s": 20.0}  # these kernels start Python ten times as slowly


@pytest.fixture(scope="module")
def cluster():
    with at_work(NfsSlurm(2), "no Slurm with nodes that mount NFS") as made:
        yield made


@pytest.fixture
def bed(cluster):
    with WireMongo(host=cluster.address) as mongo:
        made = ClusterBed(cluster, cluster.shared / "cluster", f"{mongo.uri}magflow_test", **PATIENT)
        yield made
        made.close()


def test_labels_outlive_the_death_of_a_node(bed, cluster, write_campaign):
    """What it computed is computed again by the other; what was acknowledged is neither lost nor computed twice."""
    folder = cluster.shared
    here = bed.submit(write_campaign(folder / "c.yaml", store=store_section(bed.uri)), folder / "campaign")
    bed.launchpad.defuse_wf(1)
    flow, whole = labels_flow(folder, NAMES, LABEL_S)
    LaunchPadQueue(bed.launchpad, here).submit(flow)
    bed.start()
    bed.wait(lambda: len(noted(folder, ENDED)) >= 1 and len(noted(folder, BEGUN)) - len(noted(folder, ENDED)) == 2, 600)
    before = Counter(noted(folder, BEGUN))
    acknowledged = {d["output"]["label_id"] for d in here.store.query({"output.doc_type": "label"})}
    cluster.machines.nodes[0].kill()
    died = time.monotonic()
    bed.wait_until_done(1500)
    print(f"{len(acknowledged)} acknowledged before; all {time.monotonic() - died:.0f} s after the death of a node")
    assert here.store.query_one({"uuid": whole})["output"] == sorted(NAMES)
    assert here.store.count({"output.doc_type": "label"}) == len(NAMES)
    begun = Counter(noted(folder, BEGUN))
    assert sum(begun.values()) == len(NAMES) + 1, "the label of the dead node is computed again, and no other"
    assert all(begun[name] == before[name] == 1 for name in acknowledged)
    assert "offered again" in bed.log()
