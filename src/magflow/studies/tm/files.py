"""The files that a benchmark leaves: everything, a table of numbers, a figure, and a page."""

from __future__ import annotations

import json
from pathlib import Path

from magflow.presentation.files import as_csv, write_texts
from magflow.presentation.page import page
from magflow.presentation.style import standalone
from magflow.studies.tm.result import RESULTS, TmBenchmark
from magflow.studies.tm.section import columns, section

NUMBERS, FIGURE, PAGE = "results.csv", "tm.svg", "tm.html"
FILES = (RESULTS, NUMBERS, FIGURE, PAGE)
"""What a benchmark leaves in its directory; the figure only where there is a potential of every row."""


def write_tm(benchmark: TmBenchmark, directory: Path) -> dict[str, Path]:
    """Write numbers, figure and page; returns their paths by name.

    Raises
    ------
    StoreError
        If a file cannot be written.
    """
    shown = section(benchmark)
    texts = {
        RESULTS: json.dumps(benchmark.as_dict(), indent=1) + "\n",
        NUMBERS: as_csv(columns(benchmark)),
        PAGE: page("Transition metals – magflow", "magflow benchmark tm", ", ".join(benchmark.rows), [shown]),
    }
    if shown.plots:
        texts[FIGURE] = standalone(str(shown.plots[0].svg))
    return write_texts(directory, texts)
