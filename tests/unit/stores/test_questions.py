from __future__ import annotations

import pytest

from magflow.errors import InputError
from magflow.stores.questions import Question, parse_condition, pick


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


ROWS = [{"a": 1, "b": {"c": 0.5}}, {"a": None, "b": {}}, {"a": 2, "b": {"c": 0.25}}]


@pytest.mark.parametrize(("sort", "order"), [("a", [1, 2, None]), ("-a", [2, 1, None]), ("b.c", [2, 1, None])])
def test_rows_without_a_value_come_last_whatever_the_direction(sort, order):
    assert [row["a"] for row in Question.parse([], sort, None, 0).arranged(ROWS, "here")] == order


def test_as_many_rows_as_are_asked_for():
    assert Question.parse([], "-a", None, 1).arranged(ROWS, "here") == [ROWS[2]]


def test_a_row_has_to_meet_every_condition():
    question = Question.parse(["a > 0", "b.c < 0.4"], None, None, 0)
    assert list(question.matching(ROWS)) == [ROWS[2]]


@pytest.mark.parametrize("asked", [(["d = 1"], None, None), ([], "d", None), ([], None, "a,d.e")])
def test_a_field_that_no_row_has_is_named_with_those_there_are(asked):
    with pytest.raises(InputError, match=r"no such field.*d.*a, b"):
        Question.parse(*asked, 0).arranged(ROWS, "here")


def test_a_formula_may_be_spelt_as_people_do():
    where = ["formula = FeAl", "formula in Fe2Al2,Fe", "formula != Fe1Al1", "formula ~ Al", "formula = abc"]
    conditions = [part["formula"] for part in Question.parse(where, None, None, 0).criteria["$and"]]
    assert conditions == ["Al1Fe1", {"$in": ["Al2Fe2", "Fe1"]}, {"$ne": "Al1Fe1"}, {"$regex": "Al"}, "abc"]


def test_the_nearest_field_is_proposed():
    with pytest.raises(InputError, match="did you mean alpha"):
        Question.parse(["alhpa = 1"], None, None, 0).arranged([{"alpha": 2, "beta": 3}], "here")


def test_the_value_of_a_dotted_field():
    assert [pick(row, "b.c") for row in ROWS] == [0.5, None, 0.25]
    lists = {"b": [{"c": 1}, {"c": 2}], "text": "abc", "none": None}
    assert [pick(lists, path) for path in ("b.1.c", "b.2.c", "b.-1.c", "b.c", "text.0", "none.c")] == [2, *[None] * 5]
