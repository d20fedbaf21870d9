"""A campaign that may only be read, on a read-only medium or in the directory of somebody else."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from disks import read_only
from flows.test_past_versions import unpacked
from magflow.cli.app import app
from magflow.errors import StoreError
from magflow.report.record import read_record
from magflow.stores import connection
from magflow.stores.jobstore import campaign_store
from magflow.stores.sqlite import SQLiteStore

READING = {
    "status": "status DIR --json",
    "jobs": "query DIR jobs --json",
    "labels": "query DIR labels --json",
    "iterations": "query DIR iterations --json",
    "export": "export DIR -o OUT/labels.extxyz",
}


def run(command: str, campaign: Path, out: Path):
    return CliRunner().invoke(app, command.replace("DIR", str(campaign)).replace("OUT", str(out)).split())


@pytest.fixture(scope="module")
def campaign(tmp_path_factory) -> Path:
    """Of an older release: a store that lacks columns which this one would add."""
    return unpacked("0.1-transfer", tmp_path_factory.mktemp("read") / "campaign")


@pytest.mark.parametrize("command", READING.values(), ids=READING)
def test_it_is_read_and_left_alone(command, campaign, tmp_path):
    before = sorted(path.name for path in campaign.iterdir()), (campaign / "campaign.db").read_bytes()
    with read_only(campaign):
        done = run(command, campaign, tmp_path)
    assert done.exit_code == 0, done.output
    assert (sorted(path.name for path in campaign.iterdir()), (campaign / "campaign.db").read_bytes()) == before
    if "--json" in command:
        assert json.loads(done.stdout)


def test_its_report_has_all_that_it_needs(campaign):
    with read_only(campaign):
        record = read_record(campaign)
    assert record.iterations
    assert record.labels


@pytest.mark.parametrize("command", ["run DIR/campaign.yaml --dir DIR", "retry DIR"])
def test_what_would_write_says_that_it_cannot(command, campaign, tmp_path):
    with read_only(campaign):
        done = run(command, campaign, tmp_path)
    assert done.exit_code == 4, done.output
    assert done.output.count("\n") == 1
    assert str(campaign) in done.output


def test_a_store_that_may_only_be_read_refuses_to_write(tmp_path):
    store = campaign_store(tmp_path)
    store.connect()
    store.update({"uuid": "1", "index": 1, "output": 1, "metadata": {}})
    store.close()
    with read_only(tmp_path):
        assert store.docs_store.count() == 1
        with pytest.raises(StoreError, match="read-only"):
            store.docs_store.remove_docs({})
        more = SQLiteStore(str(tmp_path / "campaign.db"), fields=("uuid", "output"))
        assert more.count({"output": 1}) == 1
        assert SQLiteStore(str(tmp_path / "campaign.db"), table="another").count() == 0


@pytest.mark.parametrize("lost", [(), ("-shm",)], ids=["log", "log without index"])
def test_what_a_killed_run_left_in_its_log_is_read(tmp_path, lost):
    running, found = tmp_path / "running", tmp_path / "found"
    running.mkdir()
    found.mkdir()
    con = sqlite3.connect(running / "a.db")
    con.execute("PRAGMA journal_mode=WAL")
    con.execute("CREATE TABLE t (a)")
    con.execute("INSERT INTO t VALUES (1)")
    con.commit()
    for file in running.iterdir():
        (found / file.name).write_bytes(file.read_bytes())
    con.close()
    for end in lost:
        (found / f"a.db{end}").unlink()
    with read_only(found):
        reading = connection.connect_readonly(found / "a.db")
        assert reading.execute("SELECT a FROM t").fetchall() == [(1,)]
        reading.close()
