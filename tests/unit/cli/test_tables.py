from __future__ import annotations

import io
import json

import pytest

from magflow.cli.tables import Question, parse_condition, pick, write
from magflow.errors import InputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("force_max > 2", ("force_max", {"$gt": 2})),
        ("force_max>=2.5", ("force_max", {"$gte": 2.5})),
        ("state = failed", ("state", "failed")),
        ("state != 'ok'", ("state", {"$ne": "ok"})),
        ("rmse.energy <= 5e-3", ("rmse.energy", {"$lte": 5e-3})),
        ("formula in Al1Fe1, Fe2", ("formula", {"$in": ["Al1Fe1", "Fe2"]})),
        ("within_target = true", ("within_target", True)),
        ("failure = null", ("failure", None)),
        ("source ~ bcc-Fe:AFM", ("source", {"$regex": "bcc\\-Fe:AFM"})),
    ],
)
def test_conditions(text, expected):
    assert parse_condition(text) == expected


@pytest.mark.parametrize("text", ["", "state", "state =", "= 3", "a b c"])
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(InputError, match="condition"):
        parse_condition(text)


def test_a_question_keeps_every_condition_on_the_same_key():
    question = Question.parse(["force_max > 1", "force_max < 2"], "-iteration", "a, b.c", 3)
    assert question.criteria == {"$and": [{"force_max": {"$gt": 1}}, {"force_max": {"$lt": 2}}]}
    assert question.sort == ("iteration", -1)
    assert question.fields == ("a", "b.c")


def test_rows_are_written_as_json_and_csv():
    rows = [{"a": 1, "b": {"c": 0.123456789}}, {"a": None, "b": {}}]
    question = Question.parse([], None, "a,b.c", 0)
    out = io.StringIO()
    write(rows, "labels", question, "json", out)
    assert json.loads(out.getvalue()) == [{"a": 1, "b.c": 0.123456789}, {"a": None, "b.c": None}]
    out = io.StringIO()
    write(rows, "labels", question, "csv", out)
    assert out.getvalue().splitlines() == ["a,b.c", "1,0.123457", ","]
    assert pick(rows[0], "b.c") == 0.123456789
