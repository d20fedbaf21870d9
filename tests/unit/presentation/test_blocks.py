"""The numbers behind a figure: what is thinned, what is kept, and how cells are written."""

from __future__ import annotations

import base64
import csv
import io

import numpy as np

from magflow.presentation.blocks import MAX_ROWS, csv_link


def rows_of(link) -> list[list[str]]:
    text = base64.b64decode(str(link).partition(",")[2]).decode()
    return list(csv.reader(io.StringIO(text)))


def test_thinned_columns_keep_their_first_rows_and_their_last():
    link, rows, shown = csv_link({"n": np.arange(10 * MAX_ROWS)}, always=5)
    head, *cells = rows_of(link)
    found = [int(x) for (x,) in cells]
    assert (head, rows, shown) == (["n"], 10 * MAX_ROWS, MAX_ROWS)
    assert found[:6] == [0, 1, 2, 3, 4, 5] and found[-1] == rows - 1
    assert found == sorted(set(found)) and max(np.diff(found)) <= 11


def test_short_columns_are_whole_and_no_cell_is_a_formula_or_a_secret():
    names = ["=1+1", "mongodb://ada:hunter2@db.example/x", "Fe"]
    link, rows, shown = csv_link({"name": names, "x (eV)": np.array([1.0 / 3.0, 2.0, 0.0]), "n": [1, 2, 3]})
    assert (rows, shown) == (3, 3)
    head, *cells = rows_of(link)
    assert head == ["name", "x (eV)", "n"]
    assert cells[0] == ["'=1+1", "0.333333", "1"] and cells[2] == ["Fe", "0", "3"]
    assert "hunter2" not in cells[1][0] and "db.example" in cells[1][0]
