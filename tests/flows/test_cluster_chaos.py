"""500 jobs on a real Slurm; pilots, daemon and controller are killed and the database goes, round after round."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress

import psutil
import pytest
from cluster_jobs import BEGUN, ENDED, labels_flow, noted

pytest.importorskip("fireworks", reason="FireWorks is not installed")
from attacks import rounds, seeds
from cluster_bed import ClusterBed
from clusters import store_section
from doubles.mongo_wire import WireMongo
from magflow.execution.daemon import process as daemon_process
from magflow.execution.fireworks.queue import LaunchPadQueue

FLOWS, LABELS = 20, 24
"""With the job that gathers the labels of each flow: 500 jobs."""
OUTAGE_S = 60.0
"""Twice; those in between are short and come in the middle of a write."""


class Chaos:
    """What can happen to a campaign on a cluster, and what must not."""

    def __init__(self, bed: ClusterBed, mongo: WireMongo, here, folder, seed: int) -> None:
        self.bed, self.mongo, self.here, self.folder = bed, mongo, here, folder
        self.rng = random.Random(seed)
        self.happened: Counter[str] = Counter()
        self.seen: dict[str, int] = {}

    def pilot_killed(self) -> None:
        pilots = self.bed.pilots()
        if pilots:
            with suppress(psutil.NoSuchProcess):
                self.rng.choice(pilots).kill()

    def daemon_killed(self) -> None:
        holder = daemon_process.holder(self.bed.cluster)
        if holder is not None:
            os.kill(holder.pid, signal.SIGKILL)
            self.bed.wait(lambda: daemon_process.holder(self.bed.cluster) is None)
        self.bed.start()

    def daemon_stopped_and_started(self) -> None:
        daemon_process.stop(self.bed.cluster)
        self.bed.start()

    def controller_killed(self) -> None:
        self.bed.slurm.restart_controller(self.rng.uniform(0.0, 3.0))

    def outage_in_a_write(self) -> None:
        self.mongo.outage(self.rng.uniform(0.5, 3.0), after_next_write=True)
        time.sleep(4.0)

    def long_outage(self) -> None:
        self.mongo.outage(OUTAGE_S)
        time.sleep(OUTAGE_S + 1.0)

    def round(self) -> None:
        """One of them, weighted by how often it comes; then nothing acknowledged may be gone or begun again."""
        weights = {
            self.pilot_killed: 6,
            self.daemon_killed: 1,
            self.daemon_stopped_and_started: 1,
            self.controller_killed: 1,
            self.outage_in_a_write: 3,
        }
        act = self.rng.choices(list(weights), list(weights.values()))[0]
        if sum(self.happened.values()) in (5, 25):
            act = self.long_outage
        act()
        self.happened[act.__name__.replace("_", " ")] += 1
        self.judge()
        print(f"{sum(self.happened.values())} {act.__name__}: {len(self.seen)} labels acknowledged", flush=True)

    def wait_for_progress(self) -> None:
        """Another label is finished: whoever is killed faster than a held lock is broken (two minutes) sees none."""
        before, most = len(noted(self.folder, ENDED)), FLOWS * LABELS - 1
        self.bed.wait(lambda: self.node_in_use() and len(noted(self.folder, ENDED)) > min(before, most), 600)

    def node_in_use(self) -> bool:
        """A controller that forgot a job drains its node; its administrator looks after that."""
        slurm = self.bed.slurm
        if slurm.node_state().startswith("drain"):
            slurm.resume(slurm.host)
        return True

    def judge(self) -> None:
        known = {
            document["output"]["label_id"]
            for document in self.here.store.query({"output.doc_type": "label"}, ["output.label_id"])
        }
        assert self.seen.keys() <= known, "an acknowledged label is gone"
        begun = Counter(noted(self.folder, BEGUN))
        for name in known:
            assert begun[name] == self.seen.setdefault(name, begun[name]), f"{name} was paid for again"


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.timeout(10800)
@pytest.mark.parametrize("seed", seeds(1))
def test_500_jobs_outlive_whatever_is_killed(slurm, tmp_path, write_campaign, seed):
    with WireMongo() as mongo:
        bed = ClusterBed(slurm, tmp_path / "cluster", f"{mongo.uri}chaos", max_crashes=100)
        try:
            here = bed.submit(write_campaign(tmp_path / "c.yaml", store=store_section(bed.uri)), tmp_path / "campaign")
            bed.launchpad.defuse_wf(1)
            expected = {}
            for number in range(FLOWS):
                names = [f"Fe{number}Al{i}" for i in range(LABELS)]
                flow, whole = labels_flow(tmp_path, names, 0.3)
                assert LaunchPadQueue(bed.launchpad, here).submit(flow) == LABELS + 1
                expected[whole] = sorted(names)
            bed.start()
            bed.wait(lambda: noted(tmp_path, BEGUN))
            chaos = Chaos(bed, mongo, here, tmp_path, seed)
            most = rounds(40)
            while len(chaos.seen) < FLOWS * LABELS and sum(chaos.happened.values()) < most:
                chaos.wait_for_progress()
                time.sleep(chaos.rng.uniform(0.0, 3.0))
                chaos.round()
            unsettled = {"WAITING", "READY", "RESERVED", "RUNNING"}
            bed.wait(lambda: chaos.node_in_use() and not set(bed.states()) & unsettled, 3600)
            chaos.judge()
            print(f"{sum(chaos.happened.values())} rounds from seed {seed}: {dict(chaos.happened)}")
            twice = sum(count - 1 for count in Counter(noted(tmp_path, ENDED)).values())
            print(f"{FLOWS * (LABELS + 1)} jobs; {twice} labels finished twice because nobody had heard of the first")
            for whole, names in expected.items():
                assert here.store.query_one({"uuid": whole})["output"] == names
            assert here.store.count({"output.doc_type": "label"}) == FLOWS * LABELS
        finally:
            bed.close()
