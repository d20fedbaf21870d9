"""A campaign in jobflow-remote, worked on by its own runner and a local worker: the same science as on one machine."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from benches import run_remote, write_project
from clusters import assert_same_science, store_section
from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.cli.app import app
from magflow.execution.campaign import submit_campaign
from magflow.execution.local.executor import LocalExecutor

pytest.importorskip("jobflow_remote", reason="jobflow-remote is not installed")
pytestmark = [pytest.mark.timeout(1800), pytest.mark.slow]


@pytest.fixture
def project(tmp_path, monkeypatch, mongo_uri):
    """A project of jobflow-remote with one worker, on this machine."""
    return write_project(tmp_path, mongo_uri, monkeypatch)


def test_a_campaign_gives_the_same_science_as_on_one_machine(
    campaign_file, write_campaign, tmp_path, mongo_uri, project
):
    from jobflow_remote.jobs.jobcontroller import JobController

    def magflow(*words: object, code: int = 0) -> str:
        result = CliRunner().invoke(app, [str(w) for w in words])
        assert result.exit_code == code, result.output
        return result.output if code else result.stdout

    file = campaign_file()
    here = CampaignDirectory.prepare(tmp_path / "local", file, load_campaign(file))
    submit_campaign(here)
    LocalExecutor(here.path, workers=2).run()

    file = write_campaign(tmp_path / "remote.yaml", store=store_section(mongo_uri))
    words = ["submit", file, "--to", "jobflow-remote", "--dir", tmp_path / "remote"]
    assert "not set up" in magflow(*words, code=4)
    JobController.from_project_name(project).reset()
    assert "no such worker" in magflow(*words, "--worker", "there", code=2)
    assert json.loads(magflow(*words, "--json"))["new_jobs"] == 7
    assert "submitted before: tiny has 7 jobs" in magflow(*words)
    run_remote(project)
    there = CampaignDirectory.existing(tmp_path / "remote")
    assert_same_science(there.store, here.store)
    status = json.loads(magflow("status", there.path, "--json"))
    assert status["state"] == "finished"
    assert status["jobs"]["COMPLETED"] == sum(status["jobs"].values())
