"""A campaign on a LaunchPad, worked on by FireWorks' own rapidfire: the same science as on one machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jobflow import JobStore
from pymongo.uri_parser import parse_uri
from ruamel.yaml import YAML
from typer.testing import CliRunner

from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.cli.app import app
from magflow.execution.campaign import submit_campaign
from magflow.execution.local import LocalExecutor
from magflow.stores import queries

pytest.importorskip("fireworks", reason="FireWorks is not installed")
pytestmark = pytest.mark.timeout(300)


def science(store: JobStore) -> dict[str, object]:
    """What must not depend on where the campaign ran."""
    return {
        "labels": sorted(d.label_id for d in queries.labels(store)),
        "selected": [d.selected for d in queries.selections(store)],
        "reasons": [d.reasons for d in queries.selections(store)],
        "rmse": [d.rmse for d in queries.iterations(store)],
        "outcome": getattr(queries.outcome(store), "reason", None),
    }


def store_section(uri: str) -> dict[str, object]:
    database = parse_uri(uri)["database"]
    return {
        "docs_store": {"type": "MongoURIStore", "uri": uri, "database": database, "collection_name": "outputs"},
        "additional_stores": {
            "data": {"type": "GridFSURIStore", "uri": uri, "database": database, "collection_name": "blobs"}
        },
    }


def write_launchpad(path: Path, uri: str) -> Path:
    with path.open("w") as file:
        YAML(typ="safe").dump({"host": uri, "uri_mode": True, "name": parse_uri(uri)["database"]}, file)
    path.chmod(0o600)
    return path


def rapidfire(launchpad: Path, folder: Path) -> None:
    """What a pilot job runs."""
    folder.mkdir(exist_ok=True)
    (folder / "FW_config.yaml").write_text("RAPIDFIRE_SLEEP_SECS: 1\nPRINT_FW_JSON: false\n")
    environment = {**os.environ, "FW_CONFIG_FILE": str(folder / "FW_config.yaml"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "fireworks.scripts.rlaunch_run", "-l", str(launchpad), "rapidfire"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def invoke(tmp_path):
    def call(*words: object, code: int = 0) -> str:
        result = CliRunner().invoke(app, [str(w) for w in words])
        assert result.exit_code == code, result.output
        return result.output

    return call


def test_a_campaign_gives_the_same_science_as_on_one_machine(
    campaign_file, write_campaign, tmp_path, mongo_uri, invoke
):
    here = CampaignDirectory.prepare(tmp_path / "local", campaign_file(), load_campaign(campaign_file()))
    submit_campaign(here)
    LocalExecutor(here.path, workers=2).run()
    expected = science(here.store)

    launchpad = write_launchpad(tmp_path / "my_launchpad.yaml", mongo_uri)
    file = write_campaign(tmp_path / "cluster.yaml", store=store_section(mongo_uri))
    words = ["submit", file, "--launchpad", launchpad, "--dir", tmp_path / "cluster", "--json"]
    first = json.loads(invoke(*words))
    assert first["new_jobs"] == 7
    assert json.loads(invoke(*words))["new_jobs"] == 0, "a second submission adds nothing"
    rapidfire(launchpad, tmp_path / "pilot")
    there = CampaignDirectory.existing(tmp_path / "cluster")
    seen = science(there.store)
    rmse = zip(expected.pop("rmse"), seen.pop("rmse"), strict=True)
    assert seen == expected
    for a, b in rmse:
        assert b == pytest.approx(a, rel=1e-6)
    status = json.loads(invoke("status", there.path, "--json"))
    assert status["state"] == "finished"
    assert status["jobs"]["COMPLETED"] == sum(status["jobs"].values())
    assert "another queue" in invoke("run", file, "--dir", there.path, code=5)
