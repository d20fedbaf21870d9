"""The one table, the one JSON, the one progress bar."""

from __future__ import annotations

import json

import pytest

from magflow.cli.printing import print_json, print_section, print_table
from magflow.cli.progress import count, progress_bar
from magflow.presentation.blocks import Table
from magflow.presentation.sections import Section, TitledTable

TABLE = Table(["Entry", "Energy (meV/atom)"], [["mmtp [bold]", 1.25], ["dp", 30.5]], frozenset({1}))


@pytest.fixture
def printed(capsys):
    """What a function prints, by lines."""

    def lines(function, *arguments) -> list[str]:
        function(*arguments)
        return [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    return lines


def test_numbers_stand_flush_right_and_units_below_their_heads(printed):
    assert printed(print_table, TABLE) == [
        "                 Energy",
        "Entry        (meV/atom)",
        "mmtp [bold]        1.25",
        "dp                 30.5",
    ]


def test_a_title_is_followed_by_an_empty_line(printed):
    lines = printed(print_table, TABLE, "Errors")
    assert lines[0] == "Errors"
    assert lines[-1] == ""


def test_a_wide_table_is_not_folded_where_there_is_no_terminal(printed):
    assert len(printed(print_table, Table(["a"] * 10, [["x" * 20] * 10]))) == 2


def test_a_section_is_its_tables_and_its_remarks(printed):
    section = Section(
        "fit", "Fit", "The fit", tables=[TitledTable("Errors", TABLE)], remarks=[("dp", "reads no moments")]
    )
    lines = printed(print_section, section)
    assert (lines[0], lines[-2:]) == ("Errors", ["", "dp: reads no moments"])


def test_json_with_what_it_does_not_know(capsys):
    print_json({"at": 1 + 2j}, default=str)
    assert json.loads(capsys.readouterr().out) == {"at": "(1+2j)"}


def test_where_there_is_no_terminal_only_milestones_are_told(capsys):
    with progress_bar() as progress:
        progress(0.0, "fit 1 begins")
        progress(0.5, "fit 1 [done]", milestone=True)
        count(progress, "labels", 3, 4)
    assert capsys.readouterr().err == "fit 1 [done]\n"


def test_counting_nothing_is_no_division():
    told = []
    count(lambda fraction, text, milestone=False: told.append((fraction, text)), "results", 0, 0)
    assert told == [(0.0, "results 0 of 0")]
