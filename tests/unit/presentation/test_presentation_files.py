from __future__ import annotations

import csv
import io

import pytest

from magflow.errors import StoreError
from magflow.presentation.files import as_csv, write_texts


def test_a_table_of_columns_keeps_every_digit():
    text = as_csv({"name": ["a,b", "c"], "x (eV)": [0.1 + 0.2, float("nan")]})
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[0] == {"name": "a,b", "x (eV)": "0.30000000000000004"} and rows[1]["x (eV)"] == "nan"
    with pytest.raises(ValueError, match="shorter"):
        as_csv({"a": [1, 2], "b": [1]})


def test_files_are_written_below_a_new_directory(tmp_path):
    paths = write_texts(tmp_path / "new", {"a.txt": "å", "b.txt": ""})
    assert paths["a.txt"].read_text(encoding="utf-8") == "å" and paths["b.txt"].is_file()
    with pytest.raises(StoreError):
        write_texts(tmp_path / "new" / "a.txt", {"c": ""})
