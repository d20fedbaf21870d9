"""A campaign on a LaunchPad, worked on by FireWorks' own rapidfire: the same science as on one machine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from running import run
from typer.testing import CliRunner

from clusters import PHONONS, assert_same_science, assert_tuned, run_pilot, store_section, write_launchpad
from magflow.campaign.directory import CampaignDirectory
from magflow.cli.app import app
from magflow.core.frame import Frame
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.execution.campaign import failed_labels
from magflow.stores import queries

pytest.importorskip("fireworks", reason="FireWorks is not installed")
pytestmark = pytest.mark.timeout(600)

SPEC_LIMIT = 20_000
"""Bytes of the largest specification of a job of the tiny campaign: no data, whatever the size of its arrays."""


@pytest.fixture
def local(campaign_file, tmp_path):
    """The same campaign on this machine."""
    return run(campaign_file(), tmp_path / "local")


@pytest.fixture
def magflow():
    def call(*words: object, code: int = 0) -> str:
        result = CliRunner().invoke(app, [str(w) for w in words])
        assert result.exit_code == code, result.output
        return result.output if code else result.stdout

    return call


def test_a_campaign_gives_the_same_science_as_on_one_machine(mongo_uri, local, write_campaign, tmp_path, magflow):
    launchpad = write_launchpad(tmp_path / "my_launchpad.yaml", mongo_uri)
    file = write_campaign(tmp_path / "cluster.yaml", store=store_section(mongo_uri))
    words = ["submit", file, "--launchpad", launchpad, "--dir", tmp_path / "cluster"]
    assert json.loads(magflow(*words, "--json"))["new_jobs"] == 7
    assert "submitted before: tiny has 7 jobs" in magflow(*words)
    run_pilot(launchpad, tmp_path / "pilot")
    there = CampaignDirectory.existing(tmp_path / "cluster")
    assert_same_science(there.store, local.store)
    _one_workflow_per_iteration_without_data(launchpad)

    status = json.loads(magflow("status", there.path, "--json"))
    assert status["state"] == "finished"
    assert status["jobs"]["COMPLETED"] == sum(status["jobs"].values())
    jobs = json.loads(magflow("query", there.path, "jobs", "--format", "json"))
    assert {j["category"] for j in jobs} == {"dft", "train", "md", "light"}
    assert "another queue" in magflow("run", file, "--dir", there.path, code=5)
    assert "another campaign" in magflow(*words[:1], write_campaign(tmp_path / "b.yaml", seed=4), *words[2:], code=5)

    larger = write_campaign(file, store=store_section(mongo_uri), stop={"labels": 23})
    assert "submitted: 1 jobs" in magflow("submit", larger, *words[2:])
    run_pilot(launchpad, tmp_path / "pilot")
    assert queries.outcome(CampaignDirectory.existing(there.path).store).labels == 23


def _one_workflow_per_iteration_without_data(launchpad) -> None:
    import bson

    from magflow.execution.fireworks.launchpad import connect

    pad = connect(launchpad)
    assert pad.workflows.count_documents({}) == 3
    assert max(len(w["nodes"]) for w in pad.workflows.find({}, {"nodes": 1})) < 25
    documents = [*pad.fireworks.find({}), *pad.launches.find({}), *pad.workflows.find({})]
    assert "mongodb://" not in repr(documents), "the address of the database, and with it its password"
    assert max(len(bson.encode(d["spec"])) for d in pad.fireworks.find({})) < SPEC_LIMIT


def test_what_cannot_be_submitted_is_refused(mongo_uri, local, campaign_file, write_campaign, tmp_path, magflow):
    launchpad = write_launchpad(tmp_path / "my_launchpad.yaml", mongo_uri)
    words = ["--launchpad", launchpad, "--dir"]
    assert "the jobs of this campaign are in another queue" in magflow(
        "submit", campaign_file(), *words, local.path, code=5
    )
    for number, store in enumerate(
        (None, {"docs_store": {"type": "MemoryStore"}, "additional_stores": {"data": {"type": "MemoryStore"}}})
    ):
        file = campaign_file(store=store)
        where = tmp_path / f"new-{number}"
        assert "cannot be written from other machines" in magflow("submit", file, *words, where, code=2)
    file = write_campaign(tmp_path / "cluster.yaml", store=store_section(mongo_uri))
    magflow("submit", file, *words, tmp_path / "one")
    assert "on the LaunchPad already" in magflow("submit", file, *words, tmp_path / "two", code=5)
    assert "no file that describes the LaunchPad" in magflow("submit", file, "--launchpad", tmp_path / "x", code=2)


@pytest.mark.slow
def test_labels_that_failed_are_data_and_are_offered_again(write_campaign, tmp_path, mongo_uri, magflow):
    launchpad = write_launchpad(tmp_path / "my_launchpad.yaml", mongo_uri)
    failing = {"label": {"settings": {"failure_rate": 0.4}}}
    file = write_campaign(tmp_path / "cluster.yaml", store=store_section(mongo_uri), **failing)
    magflow("submit", file, "--launchpad", launchpad, "--dir", tmp_path / "cluster")
    run_pilot(launchpad, tmp_path / "pilot")
    here = CampaignDirectory.existing(tmp_path / "cluster")
    failed = failed_labels(here)
    assert 0 < len(failed) < 20
    assert queries.outcome(here.store).reason == "label-budget"
    assert f"offered again: {len(failed)} labels, 0 jobs" in magflow("retry", here.path)
    run_pilot(launchpad, tmp_path / "pilot")
    (retried,) = [d for d in queries.batches(here.store) if d.retried]
    assert set(retried.failed) == {d.label_id for d in failed}


@pytest.mark.slow
def test_force_constants_are_labelled_and_learnt_from_a_launchpad(write_campaign, tmp_path, mongo_uri, magflow):
    launchpad = write_launchpad(tmp_path / "my_launchpad.yaml", mongo_uri)
    file = write_campaign(tmp_path / "cluster.yaml", store=store_section(mongo_uri), **PHONONS)
    magflow("submit", file, "--launchpad", launchpad, "--dir", tmp_path / "cluster")
    run_pilot(launchpad, tmp_path / "pilot")
    here = CampaignDirectory.existing(tmp_path / "cluster")
    assert [d.state for d in queries.force_constants(here.store, campaign=here.id)] == ["ok"]
    assert_tuned(here.store, here.id)


@pytest.mark.slow
def test_failed_labels_for_force_constants_are_offered_again_on_a_launchpad(
    write_campaign, tmp_path, mongo_uri, magflow, monkeypatch
):
    """First the perfect crystal fails, then a displaced one, then none: what is there is not labelled again."""
    launchpad = write_launchpad(tmp_path / "my_launchpad.yaml", mongo_uri)
    fails = {"label": {"settings": {"failure_rate": 0.5}}}
    file = write_campaign(tmp_path / "cluster.yaml", store=store_section(mongo_uri), **PHONONS, **fails)
    magflow("submit", file, "--launchpad", launchpad, "--dir", tmp_path / "cluster")
    here = CampaignDirectory.existing(tmp_path / "cluster")
    for unlucky, rows in (("perfect", []), ("first displaced", [1]), ("nothing", [0, 1])):
        monkeypatch.setattr(SpinLatticeEngine, "_draw", lambda self, frame, of=unlucky: float(_kind(frame) != of))
        _rapidfire(launchpad, tmp_path / "pilot")
        newest = max(queries.force_constants(here.store, campaign=here.id), key=lambda d: d.created_at)
        assert newest.rows == rows, newest.reason
        again = 0 if unlucky == "nothing" else 1
        assert f"offered again: {again} labels, 0 jobs" in magflow("retry", here.path)
    computed = [d for d in queries.labels(here.store, campaign=here.id) if d.state == "ok" and not d.reused]
    assert len({d.label_id for d in computed}) == len(computed), "a label that was there was computed again"
    assert_tuned(here.store, here.id)


def _kind(frame: Frame) -> str:
    """What a frame of the crystal B2 FeAl at rest is; no frame of the loop has its cubic cell."""
    if not np.allclose(frame.cell, frame.cell[0, 0] * np.eye(3)):
        return "of the loop"
    halves = 2.0 * frame.positions / frame.cell[0, 0]
    off = np.linalg.norm(halves - np.rint(halves), axis=1) > 1e-3
    return "first displaced" if off[0] else "second displaced" if off[1] else "perfect"


def _rapidfire(launchpad: Path, folder: Path) -> None:
    """A pilot in this process, which sees what the test has changed."""
    from fireworks import FWorker
    from fireworks.core.rocket_launcher import rapidfire

    from magflow.execution.fireworks.launchpad import connect

    folder.mkdir(exist_ok=True)
    rapidfire(connect(launchpad), FWorker(), m_dir=str(folder), sleep_time=1)
