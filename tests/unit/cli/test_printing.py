"""The one table, the one JSON, the one progress bar."""

from __future__ import annotations

import io
import json

from magflow.cli.printing import print_json, print_table
from magflow.cli.progress import count, progress_bar
from magflow.presentation.blocks import Table

TABLE = Table(["Entry", "Energy (meV/atom)"], [["mmtp [bold]", 1.25], ["dp", 30.5]], frozenset({1}))


def printed(**options) -> list[str]:
    out = io.StringIO()
    print_table(TABLE, file=out, **options)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_numbers_stand_flush_right_and_units_below_their_heads():
    assert printed() == [
        "                 Energy",
        "Entry        (meV/atom)",
        "mmtp [bold]        1.25",
        "dp                 30.5",
    ]


def test_a_title_is_followed_by_an_empty_line():
    lines = printed(title="Errors")
    assert lines[0] == "Errors"
    assert lines[-1] == ""


def test_a_wide_table_is_not_folded_where_there_is_no_terminal():
    out = io.StringIO()
    print_table(Table(["a"] * 10, [["x" * 20] * 10]), file=out)
    assert len(out.getvalue().splitlines()) == 2


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
