"""The files that a transfer curve leaves: everything, a table of numbers, a figure, and a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from magflow.presentation.blocks import Plot, Table
from magflow.presentation.files import as_csv, write_texts
from magflow.presentation.formats import number
from magflow.presentation.page import page
from magflow.presentation.sections import Section, TitledTable
from magflow.presentation.style import standalone
from magflow.studies.transfer.factors import saving_tables, savings
from magflow.studies.transfer.question import remarks
from magflow.studies.transfer.result import RESULTS, TransferCurve
from magflow.studies.transfer.saving import Price
from magflow.studies.transfer.section import columns, error_table, transfer_plot

NUMBERS, FIGURE, PAGE = "results.csv", "transfer.svg", "transfer.html"
FILES = (RESULTS, NUMBERS, FIGURE, PAGE)
"""What a transfer leaves in its directory."""


def write_transfer(curve: TransferCurve, directory: Path, price: Price) -> dict[str, Path]:
    """Write numbers, figure and page; returns their paths by name.

    Raises
    ------
    StoreError
        If a file cannot be written.
    """
    told = curve.as_dict() | {"saving": savings(curve, price)}
    drawn = transfer_plot(curve, price)
    texts = {
        RESULTS: json.dumps(told, indent=1) + "\n",
        NUMBERS: as_csv(columns(curve)),
        FIGURE: standalone(str(drawn.svg)),
        PAGE: _page(curve, drawn, price),
    }
    return write_texts(directory, texts)


def _page(curve: TransferCurve, drawn: Plot, price: Price) -> str:
    """One self-contained HTML document."""
    about = curve.about
    settings = [TitledTable("", _labels(about["labels"])), TitledTable("", _settings(about))]
    sections = [
        Section(
            "curve",
            "",
            "Error against labels and cost",
            plots=[drawn],
            tables=saving_tables(curve, price),
            remarks=remarks(about),
        ),
        Section("errors", "", "Errors", tables=[TitledTable("", error_table(curve))]),
        Section("settings", "", "Labels and settings", tables=settings),
    ]
    heading = f"{'-'.join(about['elements'])}, {about['family']}"
    return page("Transfer – magflow", "From non-magnetic to magnetic labels", heading, sections)


def _labels(parts: Mapping[str, Mapping[str, Any]]) -> Table:
    heads = ["Labels", "Number", "Kind", "CPU s per label", "Core-seconds per label"]
    rows = [
        [
            name.replace("_", " "),
            part["count"],
            ", ".join(part["kinds"]),
            number(3600.0 * part["cpu_hours"] / part["count"]),
            number(3600.0 * part["core_hours"] / part["count"]),
        ]
        for name, part in parts.items()
    ]
    return Table(heads, rows, frozenset({1, 3, 4}))


def _settings(about: Mapping[str, Any]) -> Table:
    pairs = [("family", about["family"])]
    for part in ("settings", "pretraining", "correction", "schedule"):
        pairs += [(f"{part}: {key}", json.dumps(value)) for key, value in about.get(part, {}).items()]
    return Table(["", ""], [list(pair) for pair in pairs])
