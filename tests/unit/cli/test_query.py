"""``magflow query``: how rows are written."""

from __future__ import annotations

import csv
import json
from importlib import resources
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.cli.app import app
from magflow.cli.query import OutputFormat, What, _write_rows
from magflow.core.frame import Frame
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.io.extxyz import read_extxyz
from magflow.makers.base import Campaign
from magflow.makers.label_document import label_document
from magflow.stores.questions import Question

ROWS = [{"a": 1, "b": {"c": 0.123456789}}, {"a": None, "b": {}}]
QUESTION = Question.parse([], None, "a,b.c", 0)


def test_json_has_the_fields_asked_for_or_all(capsys):
    _write_rows(ROWS, What.LABELS, QUESTION, OutputFormat.JSON)
    assert json.loads(capsys.readouterr().out) == [{"a": 1, "b.c": 0.123456789}, {"a": None, "b.c": None}]
    _write_rows(ROWS, What.LABELS, Question(), OutputFormat.JSON)
    assert json.loads(capsys.readouterr().out) == ROWS


def test_csv(capsys):
    _write_rows(ROWS, What.LABELS, QUESTION, OutputFormat.CSV)
    assert list(csv.reader(capsys.readouterr().out.splitlines())) == [["a", "b.c"], ["1", "0.123457"], ["", ""]]


def test_a_table_says_how_many_rows_there_are(capsys):
    _write_rows(ROWS, What.LABELS, QUESTION, OutputFormat.TABLE)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["a", "b.c"], ["1", "0.123457"], [], ["2", "rows"]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["jobs", "--format", "extxyz"], "only labels can be written as extxyz"),
        (["labels", "--format", "csv", "--json"], "exclude each other"),
        (["labels", "--where", "state"], "a condition cannot be read"),
        (["labels"], "no campaign here"),
    ],
)
def test_what_it_refuses(tmp_path, options, message):
    result = CliRunner().invoke(app, ["query", str(tmp_path), *options])
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr


@pytest.fixture
def here(tmp_path):
    """A campaign with a label in each of three iterations."""
    here = CampaignDirectory.prepare(tmp_path / "run", file := _campaign_file(tmp_path), load_campaign(file))
    engine = SpinLatticeEngine()
    level = engine.level_of_theory(["Al", "Fe"])
    for iteration in range(3):
        frame = Frame(("Fe", "Al"), (2.85 + 0.05 * iteration) * np.eye(3), [[0, 0, 0], [1.4, 1.4, 1.4]], [1.5, 0.0])
        campaign = Campaign(here.id, "x", ["Al", "Fe"], 1)
        document = label_document(frame, engine.label(frame, level, tmp_path), campaign, "spin-lattice", "x", iteration)
        task = {"uuid": f"label-{iteration}", "index": 1, "output": document.model_dump(mode="json")}
        task["metadata"] = {"campaign": here.id}
        here.store.update(task, key=["uuid", "index"], save={"data": ["arrays"]})
    return here


def asked(here, *question):
    return CliRunner(env={"COLUMNS": "300"}).invoke(app, ["query", str(here.path), *question])


def test_frames_are_those_of_the_labels_found(here, tmp_path):
    result = CliRunner().invoke(app, ["query", str(here.path), "labels", "--where", "iteration = 1", "-f", "extxyz"])
    (tmp_path / "found.extxyz").write_text(result.output)
    (found,) = read_extxyz(tmp_path / "found.extxyz")
    assert found.frame.cell[0, 0] == pytest.approx(2.9)


def test_fields_that_there_are_not_are_refused_though_no_row_is_found(here):
    refused = asked(here, "labels", "--where", "iteraton = 1")
    assert (refused.exit_code, "did you mean iteration?" in refused.stderr) == (2, True)
    assert asked(here, "labels", "--where", "iteration = 9").exit_code == 0


def test_heads_of_a_table_carry_units_and_fields_of_csv_do_not(here):
    lines = asked(here, "labels", "--fields", "energy_per_atom,force_max,state").stdout.splitlines()
    head = " ".join(lines[:2]).split()
    assert {"energy_per_atom", "(eV/atom)", "force_max", "(eV/A)", "state"} == set(head)
    assert asked(here, "labels", "--fields", "force_max", "-f", "csv").stdout.splitlines()[0] == "force_max"


def test_where_a_label_was_computed(here, monkeypatch):
    jobs = [SimpleNamespace(uuid="label-1", directory="/runs/1"), SimpleNamespace(uuid="label-2", directory=None)]
    monkeypatch.setattr("magflow.api.answers.open_reader", lambda _: SimpleNamespace(jobs=lambda: jobs))
    rows = json.loads(asked(here, "labels", "--fields", "iteration,directory", "--json").stdout)
    assert [(row["iteration"], row["directory"]) for row in rows] == [(0, None), (1, "/runs/1"), (2, None)]


def _campaign_file(folder):
    file = folder / "campaign.yaml"
    file.write_text(resources.files("magflow.campaign.templates").joinpath("model_hamiltonian.yaml").read_text())
    return file
