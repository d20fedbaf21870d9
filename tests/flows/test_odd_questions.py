"""Odd questions, odd names and damaged files get one clear line, or are printed as they are: never a traceback."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from flows.test_past_versions import unpacked
from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import MOST
from magflow.campaign.templates import template_text
from magflow.cli.app import app
from magflow.cli.live import panel
from magflow.cli.printing import console
from magflow.execution.status import campaign_status
from magflow.presentation.blocks import no_formula

DEEP = "[" * 100_000


def invoke(*words: str):
    return CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "MAGFLOW_DEBUG": ""}).invoke(app, list(words))


@pytest.fixture(scope="module")
def campaign(tmp_path_factory) -> Path:
    return unpacked("0.1-half-done", tmp_path_factory.mktemp("odd") / "campaign")


def refused(done, *says: str, code: int = 2) -> None:
    assert done.exit_code == code, (done.output, done.exception)
    assert done.stderr.count("\n") == 1
    for text in says:
        assert text in done.stderr


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (["iterations", "--sort", "rmse"], "put into an order"),
        (["labels", "--where", "source = \udcff\udcfe"], "this is not text"),
        (["labels", "--sort", "\udcff"], "this is not text"),
        (["labels", "--where", "force_max > 1" + "0" * 400], "too large"),
        (["jobs", "--where", "cpu_seconds > 1" + "0" * 400], "too large"),
        (["labels", "--where", f"source = {DEEP}"], None),
        (["labels", "--where", "force_max > 1e400"], None),
    ],
)
def test_questions(campaign, question, says):
    done = invoke("query", str(campaign), *question)
    if says is None:
        assert done.exit_code == 0, (done.output, done.exception)
    else:
        refused(done, says)


@pytest.mark.parametrize("name", ["[/x]", "[bold]B2[/red]", ":smile: [link=x]", "\x1b[31m"])
def test_what_comes_from_data_is_never_read_as_markup(campaign, tmp_path, name):
    copy = tmp_path / "campaign"
    copy.mkdir()
    for path in campaign.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    con = sqlite3.connect(copy / "campaign.db")
    con.execute("UPDATE jobs SET state = 'FAILED', name = ?, error = ?", (name, f"{name} went wrong"))
    con.commit()
    con.close()
    status = campaign_status(CampaignDirectory.existing(copy))
    out = console(file=(tmp_path / "shown").open("w"), width=200)
    out.print(panel(status))
    out.file.close()
    assert f"{name} went wrong".replace("\x1b", "") in (tmp_path / "shown").read_text().replace("\x1b", "")
    assert invoke("status", str(copy)).exit_code == 5
    done = invoke("query", str(copy), "jobs", "--limit", "1")
    assert done.exit_code == 0
    assert name.replace("\x1b", "") in done.stdout.replace("\x1b", "")


def test_cells_of_a_csv_are_no_formulas(campaign, tmp_path, capsys):
    rows = ["=cmd|'/C calc'!A0", "+1+cmd", "@SUM(A1)", "-2+3", "-0.5", "+1e3", "plain", "\t=1", 3.0, None]
    assert [no_formula(cell) for cell in rows] == [
        *("'=cmd|'/C calc'!A0", "'+1+cmd", "'@SUM(A1)", "'-2+3", "-0.5", "+1e3", "plain", "'\t=1", 3.0, None)
    ]
    con = sqlite3.connect(campaign / "campaign.db")
    con.execute("UPDATE jobs SET error = '=1+1'")
    con.commit()
    con.close()
    done = invoke("query", str(campaign), "jobs", "--fields", "error,state", "--format", "csv", "--limit", "1")
    assert list(csv.reader(done.stdout.splitlines()))[1][0] == "'=1+1"


@pytest.mark.parametrize("name", ["campaign.json", "backend.json"])
def test_files_that_nest_without_end(campaign, tmp_path, name):
    copy = tmp_path / "campaign"
    copy.mkdir()
    for path in campaign.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / name).write_text(DEEP)
    refused(invoke("status", str(copy)), str(copy / name), code=4)


@pytest.mark.parametrize("text", ["magflow: " + DEEP, "seed: 1" + "0" * 400, "seed: -1" + "0" * 400])
def test_campaign_files_with_numbers_beyond_all_and_depth_without_end(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text + "\n")
    refused(invoke("check", str(tmp_path / "c.yaml")), "c.yaml:1")


def test_of_thousands_of_unknown_keys_few_are_told(tmp_path):
    number = 3_000
    unknown = "".join(f"x{n}: 1\n" for n in range(number))
    (tmp_path / "c.yaml").write_text(template_text("model_hamiltonian") + unknown)
    done = invoke("check", str(tmp_path / "c.yaml"))
    assert done.exit_code == 2
    assert done.stderr.count("\n") == MOST + 1
    assert f"{number - MOST} more problems" in done.stderr


@pytest.mark.parametrize("damage", ["empty", "half", "zeros", "deep header", "deep manifest"])
def test_damaged_ensembles(tmp_path, damage):
    folder = tmp_path / "models"
    folder.mkdir()
    manifest = {"format": "magflow-ensemble-1", "family": "mmtp", "members": ["member-0.model"]}
    (folder / "ensemble.json").write_text(json.dumps(manifest | {"calibration": {}, "metadata": {}}))
    np.savez(tmp_path / "whole.npz", header=np.frombuffer(DEEP.encode(), np.uint8), times=np.zeros(9))
    whole = (tmp_path / "whole.npz").read_bytes()
    if damage == "deep manifest":
        (folder / "ensemble.json").write_text(DEEP)
    data = {"empty": b"", "half": whole[: len(whole) // 2], "zeros": whole[:64] + bytes(len(whole) - 64)}
    (folder / "member-0.model").write_bytes(data.get(damage, whole))
    (tmp_path / "fe.xyz").write_text(
        '1\nLattice="2.8 0 0 0 2.8 0 0 0 2.8" Properties=species:S:1:pos:R:3 pbc="T T T"\nFe 0 0 0\n'
    )
    refused(invoke("predict", str(folder), str(tmp_path / "fe.xyz"), "-o", str(tmp_path / "o.xyz")), str(folder))


def test_what_is_written_under_a_strict_umask_is_for_nobody_else(campaign, tmp_path):
    before = os.umask(0o077)
    try:
        done = invoke("export", str(campaign), "-o", str(tmp_path / "labels.extxyz"))
        deepmd = invoke("export", str(campaign), "--format", "deepmd", "-o", str(tmp_path / "deepmd"))
    finally:
        os.umask(before)
    assert (done.exit_code, deepmd.exit_code) == (0, 0)
    assert [p for p in tmp_path.rglob("*") if p.stat().st_mode & 0o077] == []


@pytest.mark.parametrize("uri", ["mongodb://u:p@[::1/db", "mongodb://[::1/db", "mongodb://u:p@[/db"])
def test_addresses_that_cannot_be_taken_apart(tmp_path, uri, monkeypatch):
    refused(invoke("db", "move", "--from", uri, "--to", str(tmp_path / "new")))
    monkeypatch.setenv("MAGFLOW_MONGO_URI", uri)
    refused(invoke("db", "move", "--from", "mongodb", "--to", str(tmp_path / "new")), "no MongoDB URI")
