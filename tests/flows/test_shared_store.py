"""Campaigns in MongoDB: two in one store are told apart, and labels are shared but paid for once."""

from __future__ import annotations

import json
import time

import pytest
from bson import encode
from running import run
from typer.testing import CliRunner

from doubles.mongo_wire import WireMongo
from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.cli.app import app
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.errors import StoreUnusableError
from magflow.execution.campaign import submit_campaign
from magflow.execution.local.executor import LocalExecutor
from magflow.execution.local.queue import JobQueue
from magflow.execution.local.worker import Worker
from magflow.execution.status import campaign_status
from magflow.report.record import read_record
from magflow.stores import contents, queries

pytestmark = pytest.mark.timeout(300)

MOST_BYTES = 256 * 1024
"""Of a document without its arrays: MongoDB refuses 16 MB, and what is listed often should be far below."""


@pytest.fixture(scope="module")
def two(write_campaign, wire_mongo, tmp_path_factory):
    """Two finished campaigns in one database: the second fits a smaller model to the same frames."""
    found, folder = [], tmp_path_factory.mktemp("two")
    for name, change in {"first": {}, "second": {"train": {"settings": {"level": 4}}}}.items():
        store = {"mongodb": {"uri": f"{wire_mongo.uri}two_campaigns", "patience": 20.0}}
        file = write_campaign(folder / f"{name}.yaml", name=name, stop={"labels": 12}, store=store, **change)
        found.append(run(file, folder / name))
    return found


def test_two_campaigns_in_one_store_are_told_apart(two):
    first, second = two
    store = first.store
    assert first.id != second.id
    assert len(queries.labels(store)) == 24
    for here in two:
        labels = queries.labels(store, campaign=here.id)
        assert len(labels) == len({d.label_id for d in labels}) == 12
        assert {d.campaign for d in queries.selections(store, campaign=here.id)} == {here.id}
        assert queries.outcome(store, here.id).name == here.identity["name"]
        assert len(contents.labelled_frames(store, campaign=here.id)) == 12
        assert len(queries.latest_models(store, here.id)) == 2
        assert len(list(contents.frames(store, {"reason": {"$in": ["selected", "selected-at-random"]}}, here.id))) == 12
        status = campaign_status(here)
        assert (status.name, status.labels, status.state) == (here.identity["name"], 12, "finished")
        record = read_record(here.path)
        assert (len(record.labels), len(record.iterations)) == (12, 2)
        listed = CliRunner().invoke(app, ["query", str(here.path), "labels", "--format", "json"])
        assert {row["campaign"] for row in json.loads(listed.output)} == {here.id}
        marked = store.count({"metadata.campaign": here.id})
        assert marked > store.count({"output.campaign": here.id}), "jobs without a document of their own too"


def test_a_label_of_another_campaign_is_taken_over_and_not_paid_for_again(two):
    first, second = two
    theirs = {d.label_id for d in queries.labels(first.store, campaign=first.id)}
    mine = queries.labels(second.store, campaign=second.id)
    shared = [d for d in mine if d.label_id in theirs]
    assert shared, "the first iteration of both selects by the same seed"
    assert all(d.reused and d.core_hours == 0.0 for d in shared)
    assert not any(d.reused for d in mine if d.label_id not in theirs)


def test_documents_stay_far_below_what_mongodb_takes(two):
    sizes = {d["name"]: len(encode(d)) for d in two[0].store.query({})}
    assert max(sizes.values()) < MOST_BYTES, sizes
    blobs = two[0].store.additional_stores["data"]
    assert blobs.count() > 24


def test_a_database_that_stays_away_ends_the_run_and_costs_no_label(write_campaign, tmp_path, monkeypatch):
    with WireMongo() as double:
        store = {"mongodb": {"uri": double.uri, "patience": 0.5, "options": {"serverSelectionTimeoutMS": 200}}}
        file = write_campaign(tmp_path / "tiny.yaml", stop={"labels": 10}, store=store)
        here = CampaignDirectory.prepare(tmp_path / "run", file, load_campaign(file))
        submit_campaign(here)
        computed = []
        label = SpinLatticeEngine.label

        def label_and_lose(self, frame, *args):
            computed.append(frame.frame_id)
            if len(computed) == 4:
                double.cut()
            return label(self, frame, *args)

        monkeypatch.setattr(SpinLatticeEngine, "label", label_and_lose)
        with pytest.raises(StoreUnusableError, match="magflow sync"):
            Worker(JobQueue(here.path), here.store, "test").run(until_drained=True)
        double.restore()
        time.sleep(0.2)
        summary = LocalExecutor(here.path, store=here.store, workers=1).run()
        assert summary.ok
        labels = queries.labels(here.store)
        assert len(labels) == len({d.label_id for d in labels}) == 10
        lost = next(d for d in labels if d.frame_id == computed[3])
        assert not lost.reused
        assert queries.outcome(here.store).reason == "label-budget"
