"""The files of numbers and figures that stand beside a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from magflow.core.files import replace_file
from magflow.presentation.blocks import no_formula


def as_csv(columns: Mapping[str, Sequence[Any]]) -> str:
    """Columns of equal length as a table with a head; numbers in full."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(no_formula, columns))
    writer.writerows(map(no_formula, row) for row in zip(*columns.values(), strict=True))
    return buffer.getvalue()


def write_texts(directory: Path, texts: Mapping[str, str]) -> dict[str, Path]:
    """Write each text to the file of its name, whole or not at all; returns their paths by name.

    Raises
    ------
    StoreError
        If a file cannot be written.
    """
    paths = {name: directory / name for name in texts}
    for name, text in texts.items():
        replace_file(paths[name], text.encode("utf-8"))
    return paths
