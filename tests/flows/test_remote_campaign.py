"""A campaign in jobflow-remote, worked on by its own runner and a local worker: the same science as on one machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pymongo.uri_parser import parse_uri
from typer.testing import CliRunner

from clusters import assert_same_science, store_section
from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.cli.app import app
from magflow.execution.campaign import submit_campaign
from magflow.execution.local.executor import LocalExecutor

pytest.importorskip("jobflow_remote", reason="jobflow-remote is not installed")
pytestmark = [pytest.mark.timeout(1800), pytest.mark.slow]

RUN_ALL = (
    "import sys; from jobflow_remote.jobs.runner import Runner; Runner(sys.argv[1]).run_all_jobs(max_seconds=1500)"
)
PYTHON = Path(sys.executable).parent


@pytest.fixture
def project(tmp_path, monkeypatch, mongo_uri):
    """A project of jobflow-remote with one worker, on this machine."""
    from jobflow_remote import SETTINGS

    folder = tmp_path / "projects"
    folder.mkdir()
    where = {"uri": mongo_uri, "database": parse_uri(mongo_uri)["database"]}
    often = ["delay_checkout", "delay_check_run_status", "delay_advance_status"]
    path = os.pathsep.join([*sys.path, str(Path.cwd())])
    description = {
        "name": "test",
        "runner": dict.fromkeys(often, 0.2),
        "workers": {
            "here": {
                "type": "local",
                "scheduler_type": "shell",
                "work_dir": str(tmp_path / "work"),
                "execution_cmd": "python -m magflow.execution.remote.run {}",
                "pre_run": f"export PATH={PYTHON}:$PATH PYTHONPATH={path} OMP_NUM_THREADS=1",
            }
        },
        "queue": {"store": {"type": "MongoStore", **where, "collection_name": "jobs"}},
        "jobstore": {
            "docs_store": {"type": "MongoStore", **where, "collection_name": "magflow"},
            "additional_stores": {"data": {"type": "GridFSStore", **where, "collection_name": "magflow_blobs"}},
        },
    }
    (folder / "test.json").write_text(json.dumps(description))
    monkeypatch.setenv("JFREMOTE_PROJECTS_FOLDER", str(folder))
    monkeypatch.setattr(SETTINGS, "projects_folder", str(folder))
    return "test"


def run_everything(project: str) -> None:
    done = subprocess.run([sys.executable, "-c", RUN_ALL, project], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


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
    run_everything(project)
    there = CampaignDirectory.existing(tmp_path / "remote")
    assert_same_science(there.store, here.store)
    status = json.loads(magflow("status", there.path, "--json"))
    assert status["state"] == "finished"
    assert status["jobs"]["COMPLETED"] == sum(status["jobs"].values())
