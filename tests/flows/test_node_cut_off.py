"""Two nodes of a real Slurm, one of them cut off from all in the middle of a label, which it goes on computing."""

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
from several_nodes import SeveralNodes

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(900)]

NAMES = ["Fe", "FeAl", "Fe3Al", "Fe2Al", "FeAl2"]
LABEL_S = 6.0


@pytest.fixture(scope="module")
def cluster():
    with at_work(SeveralNodes(2), "no Slurm with two nodes") as made:
        yield made


@pytest.fixture
def bed(cluster, tmp_path):
    with WireMongo(host=cluster.address) as mongo:
        made = ClusterBed(cluster, tmp_path / "cluster", f"{mongo.uri}magflow_test")
        yield made
        made.close()


def submitted(bed, tmp_path, write_campaign):
    """A campaign whose labels are on their way, two of them being computed; returns it and the job that gathers."""
    here = bed.submit(write_campaign(tmp_path / "c.yaml", store=store_section(bed.uri)), tmp_path / "campaign")
    bed.launchpad.defuse_wf(1)
    flow, whole = labels_flow(tmp_path, NAMES, LABEL_S)
    LaunchPadQueue(bed.launchpad, here).submit(flow)
    bed.start()
    bed.wait(lambda: len(noted(tmp_path, BEGUN)) - len(noted(tmp_path, ENDED)) == 2, 180)
    return here, whole


def assert_all_are_there(bed, here, whole, tmp_path):
    bed.wait_until_done(400)
    assert here.store.query_one({"uuid": whole})["output"] == sorted(NAMES)
    assert Counter(noted(tmp_path, ENDED)) == Counter(NAMES), "no label is paid for twice"
    assert here.store.count({"output.doc_type": "label"}) == len(NAMES)


def test_a_node_that_comes_back_before_it_is_missed(bed, cluster, tmp_path, write_campaign):
    here, whole = submitted(bed, tmp_path, write_campaign)
    node = next(iter(cluster.nodes))
    cluster.cut_off(node)
    time.sleep(LABEL_S + 2)
    cluster.join(node)
    assert_all_are_there(bed, here, whole, tmp_path)


def test_a_node_that_is_given_up_and_comes_back(bed, cluster, tmp_path, write_campaign):
    """Its label is finished where nobody hears of it; whoever is offered the job next finds the result."""
    here, whole = submitted(bed, tmp_path, write_campaign)
    node = next(iter(cluster.nodes))
    cluster.cut_off(node)
    try:
        bed.wait(lambda: "offered again" in bed.log(), 240)
    finally:
        cluster.join(node)
    cluster.resume(node)
    assert_all_are_there(bed, here, whole, tmp_path)
