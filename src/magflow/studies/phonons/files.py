"""The files that a benchmark of phonons leaves: everything, a table of numbers, a figure, and a page."""

from __future__ import annotations

import json
from pathlib import Path

from magflow.presentation.files import as_csv, write_texts
from magflow.presentation.page import page
from magflow.presentation.style import standalone
from magflow.studies.phonons.result import RESULTS, PhononBenchmark
from magflow.studies.phonons.section import columns, section

NUMBERS, FIGURE, PAGE = "results.csv", "phonons.svg", "phonons.html"
FILES = (RESULTS, NUMBERS, FIGURE, PAGE)
"""What a benchmark leaves in its directory; the figure only where there are answers."""


def write_phonons(benchmark: PhononBenchmark, directory: Path) -> dict[str, Path]:
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
        PAGE: page("Phonons – magflow", "magflow benchmark phonons", ", ".join(benchmark.potentials), [shown]),
    }
    if shown.plots:
        texts[FIGURE] = standalone(str(shown.plots[0].svg))
    return write_texts(directory, texts)
