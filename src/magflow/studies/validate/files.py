"""The files that a validation leaves: everything, a table of numbers, and a page."""

from __future__ import annotations

import json
from pathlib import Path

from magflow.presentation.files import as_csv, write_texts
from magflow.presentation.page import page
from magflow.studies.validate.result import RESULTS, Validation
from magflow.studies.validate.section import columns, section

NUMBERS, PAGE = "values.csv", "validation.html"
FILES = (RESULTS, NUMBERS, PAGE)
"""What a validation leaves in its directory, beside a directory per potential."""


def write_validation(validation: Validation, directory: Path) -> dict[str, Path]:
    """Write numbers and page; returns their paths by name.

    Raises
    ------
    StoreError
        If a file cannot be written.
    """
    shown = section(validation)
    texts = {
        RESULTS: json.dumps(validation.as_dict(), indent=1) + "\n",
        NUMBERS: as_csv(columns(validation)),
        PAGE: page(shown.title, "magflow validate", ", ".join(validation.potentials), [shown]),
    }
    return write_texts(directory, texts)
