"""``magflow query``: how rows are written."""

from __future__ import annotations

import csv
import json

import pytest
from typer.testing import CliRunner

from magflow.cli.app import app
from magflow.cli.query import OutputFormat, What, _write_rows
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
