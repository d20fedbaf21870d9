"""What every released magflow has left is opened, and a campaign it left half done goes on, with this one."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.cli.app import app
from magflow.core.moved import where_now
from magflow.core.versions import NewerFormatError
from magflow.execution.campaign import submit_campaign
from magflow.execution.local.executor import LocalExecutor
from magflow.execution.payload import decoded
from magflow.makers.documents import BatchDoc
from magflow.report.record import read_record
from magflow.stores import queries

PAST = Path(__file__).parents[1] / "past"
KEPT = sorted(path.name for path in PAST.iterdir() if path.is_dir())
COMMANDS = {
    "query labels": ["query", "DIR", "labels", "--format", "json"],
    "query frames": ["query", "DIR", "frames", "--format", "json"],
    "query models": ["query", "DIR", "models", "--format", "json"],
    "query iterations": ["query", "DIR", "iterations", "--format", "json"],
    "query jobs": ["query", "DIR", "jobs", "--format", "json"],
    "status": ["status", "DIR", "--json"],
    "export": ["export", "DIR", "-o", "DIR/labels.extxyz"],
    "export --models": ["export", "DIR", "--models", "-o", "DIR/exported"],
    "report": ["report", "DIR"],
}
NO_DRAWING = sorted(set(COMMANDS) - {"report"})
READERS = {
    "label": ["query labels", "status", "export", "report"],
    "selection": ["query frames", "report"],
    "candidates": ["report"],
    "model": ["query models", "export --models", "report"],
    "iteration": ["query iterations", "status", "export --models", "report"],
    "transfer": ["report"],
    "outcome": ["status", "report"],
}
"""Commands that read a kind of document."""


def unpacked(name: str, target: Path) -> Path:
    """A copy of a kept campaign in `target`, as its release left it."""
    target.mkdir()
    for file in ("campaign.yaml", "campaign.json"):
        shutil.copy(PAST / name / file, target)
    (target / "campaign.db").write_bytes(gzip.decompress((PAST / name / "campaign.db.gz").read_bytes()))
    return target


@pytest.fixture
def finished(tmp_path) -> Path:
    """A campaign with documents of every kind."""
    return unpacked("0.1-transfer", tmp_path / "campaign")


def run(command: str, directory: Path):
    return CliRunner().invoke(app, [word.replace("DIR", str(directory)) for word in COMMANDS[command]])


def change(directory: Path, criteria: dict, **fields: object) -> list[dict]:
    """Set fields in the output of stored documents."""
    store = CampaignDirectory.existing(directory).store.docs_store
    found = list(store.query(criteria))
    for document in found:
        document["output"].update(fields)
    store.update(found, key=["uuid", "index"])
    return found


@pytest.mark.parametrize("name", KEPT)
def test_every_command_reads_it(name, tmp_path):
    directory = unpacked(name, tmp_path / "campaign")
    outputs = {}
    for command in NO_DRAWING:
        result = run(command, directory)
        assert result.exit_code == 0, f"{command}: {result.output}"
        outputs[command] = result.stdout
    for command in ("query labels", "query frames", "query models", "query iterations", "query jobs"):
        assert json.loads(outputs[command]), command
    assert json.loads(outputs["status"])["labels"] > 0
    assert read_record(directory).iterations, "what the report draws"


@pytest.mark.parametrize("name", KEPT)
def test_it_goes_on_to_its_end_and_no_label_is_computed_again(name, tmp_path):
    directory = unpacked(name, tmp_path / "campaign")
    before, ended = labels(directory), finished_jobs(directory)
    file = directory / "campaign.yaml"
    here = CampaignDirectory.prepare(directory, file, load_campaign(file))
    submit_campaign(here)
    summary = LocalExecutor(directory, workers=1).run()
    assert summary.ok
    assert queries.outcome(here.store, here.id) is not None
    assert before.items() <= labels(directory).items(), "a label that was there was made again"
    assert ended.items() <= finished_jobs(directory).items(), "a job that had ended ran again"
    if "half-done" in name:
        assert len(labels(directory)) > len(before) > 0


def labels(directory: Path) -> dict[str, str]:
    """When the label of each job was made."""
    store = CampaignDirectory.existing(directory).store
    found = store.query({"output.doc_type": "label"}, properties=["uuid", "output.created_at"])
    return {d["uuid"]: d["output"]["created_at"] for d in found}


def finished_jobs(directory: Path) -> dict[str, float]:
    """When each completed job began."""
    with closing(sqlite3.connect(directory / "campaign.db")) as con:
        return dict(con.execute("SELECT uuid || \"index\", started FROM jobs WHERE state = 'COMPLETED'"))


@pytest.mark.parametrize("name", KEPT)
def test_every_class_and_function_it_names_is_found(name, tmp_path):
    directory = unpacked(name, tmp_path / "campaign")
    with closing(sqlite3.connect(directory / "campaign.db")) as con:
        payloads = [text for (text,) in con.execute("SELECT job FROM payloads")]
    documents = list(CampaignDirectory.existing(directory).store.docs_store.query({}))
    names = set(named([json.loads(text) for text in payloads] + documents))
    assert any(module.startswith("magflow.makers.") for module, _ in names)
    for module, path in names:
        new_module, new_path = where_now(module, path)
        assert attrgetter(new_path)(import_module(new_module)), f"{module}:{path}"
    for text in payloads:
        assert callable(decoded(text).function), "monty leaves a function that it does not find as it is"


def named(thing: object) -> Iterator[tuple[str, str]]:
    """Module and name of every class and function in plain data, at any depth."""
    if isinstance(thing, list):
        for item in thing:
            yield from named(item)
    elif isinstance(thing, dict):
        if thing.get("@module"):
            yield thing["@module"], thing.get("@class") or thing["@callable"]
        yield from named(list(thing.values()))


def test_a_field_more_is_passed_over(finished):
    changed = change(finished, {"output.doc_type": {"$gt": ""}}, of_a_later_release={"answer": 42})
    assert {d["output"]["doc_type"] for d in changed} >= {*READERS, "batch", "reference-model"}
    for command in NO_DRAWING:
        result = run(command, finished)
        assert result.exit_code == 0, f"{command}: {result.output}"
    assert read_record(finished).outcome is not None, "what the report draws"


@pytest.mark.parametrize(("kind", "command"), [(kind, command) for kind, some in READERS.items() for command in some])
def test_a_newer_document_is_told_by_name(kind, command, finished):
    change(finished, {"output.doc_type": kind}, format=999, magflow="0.9")
    result = run(command, finished)
    assert result.exit_code == 4, result.output
    assert "was written by magflow 0.9, this is" in result.stderr
    assert "upgrade magflow" in result.stderr


def test_a_newer_batch_is_told_by_name(finished):
    change(finished, {"output.doc_type": "batch"}, format=999, magflow="0.9")
    with pytest.raises(NewerFormatError, match=r"magflow 0\.9"):
        list(queries.documents(CampaignDirectory.existing(finished).store, BatchDoc))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_newer_campaign_is_told_by_name(command, finished):
    identity = json.loads((finished / "campaign.json").read_text())
    (finished / "campaign.json").write_text(json.dumps(identity | {"format": 999, "magflow": "0.9"}))
    result = run(command, finished)
    assert (result.exit_code, "this campaign was written by magflow 0.9" in result.stderr) == (4, True)


@pytest.mark.parametrize("command", ["query jobs", "status", "report"])
def test_a_newer_queue_is_told_by_name(command, finished):
    with closing(sqlite3.connect(finished / "campaign.db", isolation_level=None)) as con:
        con.execute("CREATE TABLE queue_format (format INTEGER, magflow TEXT)")
        con.execute("INSERT INTO queue_format VALUES (999, '0.9')")
    result = run(command, finished)
    assert (result.exit_code, "this queue was written by magflow 0.9" in result.stderr) == (4, True)
    with pytest.raises(NewerFormatError):
        LocalExecutor(finished)
