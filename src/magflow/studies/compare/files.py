"""The files that a comparison of families leaves: everything, a table of numbers, and a figure."""

from __future__ import annotations

import json
from pathlib import Path

from magflow.presentation.files import as_csv, write_texts
from magflow.presentation.style import standalone
from magflow.studies.compare.result import RESULTS, Comparison
from magflow.studies.compare.section import columns, comparison_plot

NUMBERS, FIGURE = "results.csv", "comparison.svg"
FILES = (RESULTS, NUMBERS, FIGURE)
"""What a comparison leaves in its directory."""


def write_comparison(comparison: Comparison, directory: Path, by: str) -> dict[str, Path]:
    """Write numbers and figure; returns their paths by name.

    Raises
    ------
    StoreError
        If a file cannot be written.
    """
    texts = {
        RESULTS: json.dumps(comparison.as_dict(), indent=1) + "\n",
        NUMBERS: as_csv(columns(comparison)),
        FIGURE: standalone(str(comparison_plot(comparison, by).svg)),
    }
    return write_texts(directory, texts)
