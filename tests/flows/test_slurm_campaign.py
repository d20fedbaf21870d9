"""A campaign through Slurm pilot jobs: the same science as on one machine, and what people are shown meanwhile."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.cli.app import app
from magflow.execution.campaign import submit_campaign
from magflow.execution.local.executor import LocalExecutor

pytest.importorskip("fireworks", reason="FireWorks is not installed")
from cluster_bed import NAME, ClusterBed
from clusters import assert_same_science, store_section

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def magflow():
    def call(*words: object, code: int = 0) -> str:
        result = CliRunner().invoke(app, [str(w) for w in words])
        assert result.exit_code == code, result.output
        return result.output

    return call


def test_a_campaign_through_slurm_pilots(slurm, mongo_uri, campaign_file, write_campaign, tmp_path, magflow):
    here = CampaignDirectory.prepare(tmp_path / "local", campaign_file(), load_campaign(campaign_file()))
    submit_campaign(here)
    LocalExecutor(here.path, workers=2).run()

    bed = ClusterBed(slurm, tmp_path / "cluster", mongo_uri, idle_s=40.0)
    file = write_campaign(tmp_path / "cluster.yaml", store=store_section(mongo_uri))
    assert "PROBLEM" not in magflow("check", file, "--cluster", bed.cluster.path)
    words = ("submit", file, "--launchpad", bed.cluster.launchpad, "--dir", tmp_path / "run")
    magflow(*words)
    before = json.loads(magflow("status", tmp_path / "run", "--json"))
    assert before["state"] == "queued"
    assert before["queue"]["daemons"] == []
    assert "no daemon at work" in magflow("status", tmp_path / "run")
    try:
        magflow("daemon", "start", bed.cluster.path)
        shown = json.loads(magflow("daemon", "status", bed.cluster.path, "--json"))
        assert shown["running"]
        bed.wait(lambda: "RUNNING" in bed.states())
        during = json.loads(magflow("status", tmp_path / "run", "--json"))
        assert during["state"] == "running"
        assert [d["cluster"] for d in during["queue"]["daemons"]] == [NAME]
        bed.wait_until_done(600)
        magflow("daemon", "stop", bed.cluster.path)
    finally:
        bed.close()
    there = CampaignDirectory.existing(tmp_path / "run")
    assert_same_science(there.store, here.store)
    after = json.loads(magflow("status", there.path, "--json"))
    assert after["state"] == "finished"
    queue = after["queue"]
    assert queue["losses"] == 0
    assert set(queue["categories"]) == {"dft", "train", "md", "light"}
    assert queue["categories"]["dft"]["completed"] >= after["labels"]
    assert queue["jobs_per_hour"] > 0
    magflow("report", there.path, "-o", tmp_path / "report.html")
    assert "Work by category" in (tmp_path / "report.html").read_text()
    assert "sent" in magflow("daemon", "logs", bed.cluster.path)
