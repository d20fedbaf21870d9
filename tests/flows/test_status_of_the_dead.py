"""What is said of a campaign whose main process was killed, stands still, or has a worker that hangs."""

from __future__ import annotations

import json
import sqlite3
import time
from io import StringIO

import pytest
from rich.console import Console

from flows.test_past_versions import unpacked
from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.campaign.lock import LOCK, campaign_lock
from magflow.cli.live import panel
from magflow.execution.campaign import submit_campaign
from magflow.execution.status import campaign_status


@pytest.fixture
def here(tmp_path):
    """A campaign one of whose jobs was running when its main process was killed."""
    path = unpacked("0.1-half-done", tmp_path / "campaign")
    with sqlite3.connect(path / "campaign.db") as con:
        sql = "UPDATE jobs SET state = 'RUNNING', worker = '7.0', tries = 1, started = ? WHERE id ="
        con.execute(sql + " (SELECT id FROM jobs WHERE state IN ('READY', 'RUNNING') LIMIT 1)", (time.time() - 500,))
    con.close()
    note = {"pid": 7, "host": "there", "since": 1.0, "seen": 2.0, "workers": {}}
    (path / LOCK).write_text(json.dumps(note))
    return CampaignDirectory.existing(path)


def shown(status) -> str:
    out = StringIO()
    Console(file=out, width=200).print(panel(status))
    return out.getvalue()


def quiet(status) -> list[float | None]:
    return [job["quiet_seconds"] for job in status.running]


def test_a_campaign_whose_main_process_was_killed_does_not_run(here):
    status = campaign_status(here)
    assert (status.state, status.running) == ("interrupted", [])
    assert status.note.startswith("process 7 on there was killed; it was last seen at 1970-01-01")
    assert "`magflow run` goes on" in shown(status)


def test_a_campaign_that_was_only_submitted_has_not_started(campaign_file, tmp_path):
    file = campaign_file()
    here = CampaignDirectory.prepare(tmp_path / "run", file, load_campaign(file))
    submit_campaign(here)
    assert campaign_status(here).state == "not started"


def test_a_worker_that_hangs_is_told_of_since_when(here):
    with campaign_lock(here.path) as lock:
        lock.tell({"7.0": {"job": 1, "attempt": 1, "wall": 500.0, "cpu": 1.0, "quiet": 330.0}})
        status = campaign_status(here)
        assert (status.state, status.note) == ("running", None)
        assert 330.0 in quiet(status)
        assert "no CPU time for 5 min 30 s" in shown(status)
        lock.tell({"7.0": {"job": 1, "attempt": 9, "wall": 500.0, "cpu": 1.0, "quiet": 330.0}})
        assert 330.0 not in quiet(campaign_status(here)), "of another try"


def test_a_main_process_that_stands_still_is_told_of(here, monkeypatch):
    with campaign_lock(here.path):
        later = time.time() + 400
        monkeypatch.setattr(time, "time", lambda: later)
        assert "silent for 6 min 40 s" in campaign_status(here).note
