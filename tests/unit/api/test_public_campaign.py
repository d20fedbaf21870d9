"""A campaign from Python: the same answers as the commands give."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import magflow
from magflow.cli.app import app

KEPT = Path(__file__).parents[2] / "past" / "0.1-transfer"


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """A finished campaign that magflow 0.1 has left."""
    directory = tmp_path_factory.mktemp("kept")
    for name in ("campaign.yaml", "campaign.json"):
        shutil.copy(KEPT / name, directory)
    (directory / "campaign.db").write_bytes(gzip.decompress((KEPT / "campaign.db.gz").read_bytes()))
    return magflow.Campaign(directory)


def told(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("what", ["labels", "frames", "models", "iterations", "jobs"])
def test_rows_are_those_of_the_command(campaign, what):
    rows = campaign.query(what)
    assert rows
    assert json.loads(json.dumps(rows)) == told("query", campaign.path, what, "--json")


def test_conditions_order_and_limit(campaign):
    rows = campaign.query("labels", ["force_max > 0.1", "state = ok"], sort="-force_max", limit=3)
    sizes = [row["force_max"] for row in rows]
    assert len(sizes) == 3 and sizes == sorted(sizes, reverse=True)
    assert campaign.query("labels", "force_max > 0.1", sort="-force_max", limit=3) == rows
    with pytest.raises(magflow.MagflowError, match="no such field"):
        campaign.query("labels", sort="fource_max")
    with pytest.raises(magflow.MagflowError, match="labels, frames, models"):
        campaign.query("lables")


def test_labels_models_and_status(campaign):
    status = campaign.status
    assert json.loads(json.dumps(status.as_dict())) == told("status", campaign.path, "--json")
    assert status.ok and status.state == "finished"
    assert len(campaign.labels) == status.labels
    assert campaign.models.species == campaign.labels.elements
    assert magflow.load(campaign.path).species == campaign.models.species
    assert magflow.read_labels(campaign.path).fingerprint == campaign.labels.fingerprint
    assert [row["iteration"] for row in campaign.iterations] == list(range(len(campaign.iterations)))
    assert {"frame_id", "reason"} <= set(campaign.frames[0])


def test_what_a_person_sees(campaign):
    assert repr(campaign) == f"<Campaign {campaign.name} in {campaign.path}>"
    assert repr(campaign.status).startswith(f"<CampaignStatus {campaign.name}: finished, ")
    for shown in (campaign, campaign.status):
        assert "core-hours" in shown._repr_html_()


def test_texts_of_a_status_are_no_markup(campaign):
    page = replace(campaign.status, name="<b>", reason="mongodb://me:word@host")._repr_html_()
    assert "&lt;b&gt;" in page and "word" not in page


def test_no_campaign(tmp_path):
    with pytest.raises(magflow.MagflowError, match="no campaign here"):
        magflow.Campaign(tmp_path)
    with pytest.raises(magflow.MagflowError, match=r"no such file|cannot be read"):
        magflow.Campaign.from_file(tmp_path / "none.yaml")


def test_a_failed_batch_is_not_ok(campaign):
    status = campaign.status
    assert not replace(status, reason="batch-failed").ok
    assert not replace(status, failed_jobs=[{"name": "train 0.0", "error": "killed"}]).ok
