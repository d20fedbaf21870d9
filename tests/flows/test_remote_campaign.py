"""A campaign in jobflow-remote, worked on by its own runner and a local worker: the same science as on one machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benches import run_remote, write_project
from clusters import assert_same_science, store_section
from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.cli.app import app
from magflow.execution.campaign import submit_campaign
from magflow.execution.local.executor import LocalExecutor
from magflow.makers.documents import Purpose
from magflow.stores import queries

pytest.importorskip("jobflow_remote", reason="jobflow-remote is not installed")
pytestmark = [pytest.mark.timeout(1800), pytest.mark.slow]


@pytest.fixture
def project(tmp_path, monkeypatch, mongo_uri):
    """A project of jobflow-remote with one worker, on this machine."""
    return write_project(tmp_path, mongo_uri, monkeypatch)


def magflow(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(w) for w in words])
    assert result.exit_code == code, result.output
    return result.output if code else result.stdout


def on_one_machine(file: Path, folder: Path) -> CampaignDirectory:
    """The campaign of a file, run by the executor of this machine."""
    here = CampaignDirectory.prepare(folder, file, load_campaign(file))
    submit_campaign(here)
    LocalExecutor(here.path, workers=2).run()
    return here


def test_a_campaign_gives_the_same_science_as_on_one_machine(
    campaign_file, write_campaign, tmp_path, mongo_uri, project
):
    from jobflow_remote.jobs.jobcontroller import JobController

    here = on_one_machine(campaign_file(), tmp_path / "local")
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


def test_force_constants_are_labelled_and_learnt(write_campaign, tmp_path, mongo_uri, project):
    """The section `phonons`: what the loop leaves of the budget is spent on displaced atoms, and the fits go on."""
    from jobflow_remote.jobs.jobcontroller import JobController

    loop = {"select": {"initial": 10}, "stop": {"labels": 13}}
    loop |= {"train": {"settings": {"level": 4, "max_iterations": 5}}}
    asked = loop | {"phonons": {"structures": ["B2-FeAl"], "supercells": [[1, 1, 1]], "forgetting": 10.0}}
    here = on_one_machine(write_campaign(tmp_path / "tiny.yaml", **asked), tmp_path / "local")
    file = write_campaign(tmp_path / "remote.yaml", **asked, store=store_section(mongo_uri))
    JobController.from_project_name(project).reset()
    magflow("submit", file, "--to", "jobflow-remote", "--dir", tmp_path / "remote")
    run_remote(project)
    there = CampaignDirectory.existing(tmp_path / "remote")
    assert json.loads(magflow("status", there.path, "--json"))["state"] == "finished"
    assert_same_science(there.store, here.store)
    tuned, known = (queries.tuning(one.store, one.id) for one in (there, here))
    assert tuned.tuned and tuned.force_constants == known.force_constants
    labels = {d.label_id for d in queries.labels(there.store, campaign=there.id) if d.purpose is Purpose.PHONON}
    assert len(labels) == 3
    assert magflow("submit", file, "--to", "jobflow-remote", "--dir", there.path).count("submitted before") == 1
