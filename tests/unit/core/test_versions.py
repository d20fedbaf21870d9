"""One reader for all formats: older ones are upgraded step by step, newer ones are refused by name."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from magflow import __version__
from magflow.core.versions import Format, Mark, NewerFormatError, known_fields, read_stamped
from magflow.errors import InputError, StoreError

Fields = dict[str, object]


def in_metres(content: Fields) -> Fields:
    return {**content, "length": float(str(content["length"])) / 100}


def named_size(content: Fields) -> Fields:
    return {"size" if key == "length" else key: value for key, value in content.items()}


LAYOUT = Format("ruler", (in_metres, named_size))


def test_the_number_counts_the_steps_and_the_stamp_names_the_writer():
    assert Format("ruler").number == 1
    assert LAYOUT.stamp == {"format": 3, "magflow": __version__}


@pytest.mark.parametrize(
    "stored",
    [
        {"length": 250},
        {"length": 250, "format": 1, "magflow": "0.1.0"},
        {"length": 2.5, "format": 2, "magflow": "0.2.0"},
        {"size": 2.5, "format": 3, "magflow": "0.3.0"},
    ],
    ids=["without a number", "1", "2", "3"],
)
def test_any_older_format_is_read_as_the_present_one(stored: Fields):
    before = dict(stored)
    found = read_stamped(LAYOUT, stored)
    assert (found["size"], found["format"], found.get("magflow")) == (2.5, 3, stored.get("magflow"))
    assert "length" not in found
    assert stored == before, "what was given is left as it is"


def test_a_newer_format_is_refused_by_the_name_of_its_writer():
    with pytest.raises(NewerFormatError) as caught:
        read_stamped(LAYOUT, {"format": 4, "magflow": "9.1"}, "shelf")
    assert f"shelf: this ruler was written by magflow 9.1, this is {__version__}" in str(caught.value)
    assert "upgrade magflow" in str(caught.value)
    assert caught.value.exit_code == StoreError.exit_code


def test_a_newer_format_of_an_unknown_writer_is_refused_too():
    with pytest.raises(NewerFormatError, match="a newer magflow"):
        read_stamped(LAYOUT, {"format": 4})


@pytest.mark.parametrize("number", ["2", 0, -1, 1.0, True, None])
def test_what_is_no_number_of_a_format_is_damage(number: object):
    with pytest.raises(StoreError, match="damaged"):
        read_stamped(LAYOUT, {"format": number})


ROPE = Mark("rope", "magflow-rope", (in_metres,))


def test_the_stamp_of_a_mark_says_what_it_is_and_who_wrote_it():
    assert ROPE.stamp == {"format": "magflow-rope-2", "magflow": __version__} == {"format": str(ROPE), **ROPE.stamp}


@pytest.mark.parametrize(("mark", "length"), [("magflow-rope-1", 2.5), (str(ROPE), 250)])
def test_what_bears_an_older_mark_is_brought_up_to_date(mark: str, length: float):
    assert ROPE.upgraded({"format": mark, "length": 250}) == {"format": mark, "length": length}


def test_a_newer_mark_is_refused_by_the_name_of_its_writer():
    with pytest.raises(NewerFormatError, match=r"attic: this rope was written by magflow 9\.1"):
        ROPE.upgraded({"format": "magflow-rope-3", "magflow": "9.1"}, "attic")


@pytest.mark.parametrize("mark", ["magflow-rope", "magflow-rope-0", "magflow-rope--1", "magflow-cord-1", "", None, 1])
def test_another_mark_is_no_rope(mark: object):
    with pytest.raises(InputError, match=r"attic: this is no rope; .*expected: magflow-rope-2"):
        ROPE.upgraded({"format": mark}, "attic")


@dataclass
class Knot:
    """Test double."""

    name: str
    turns: int = 1


def test_fields_that_a_newer_magflow_added_are_left_out():
    assert Knot(**known_fields(Knot, {"name": "bowline", "colour": "red"})) == Knot("bowline")
