"""The page and the files of numbers that a transfer curve leaves."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from magflow.core.files import replace_file
from magflow.presentation.blocks import Plot, Table, number
from magflow.presentation.style import standalone
from magflow.report.page import environment, page_style
from magflow.studies.transfer.result import TransferCurve
from magflow.studies.transfer.saving import Price
from magflow.studies.transfer.section import columns, error_table, saved_arms, saving_table, savings, transfer_plot

RESULTS, NUMBERS, FIGURE, PAGE = "results.json", "results.csv", "transfer.svg", "transfer.html"


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
        NUMBERS: _csv(columns(curve)),
        FIGURE: standalone(str(drawn.svg)),
        PAGE: page(curve, drawn, price),
    }
    for name, text in texts.items():
        replace_file(directory / name, text.encode("utf-8"))
    return {name: directory / name for name in texts}


def page(curve: TransferCurve, drawn: Plot, price: Price) -> str:
    """One self-contained HTML document."""
    return (
        environment()
        .get_template("transfer.html.j2")
        .render(
            style=page_style(),
            about=curve.about,
            plot=drawn,
            savings={str(arm): saving_table(curve, arm, price) for arm in saved_arms(curve)},
            errors=error_table(curve),
            labels=_labels(curve.about["labels"]),
            settings=_settings(curve.about),
        )
    )


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
    for part in ("settings", "pretraining", "schedule"):
        pairs += [(f"{part}: {key}", json.dumps(value)) for key, value in about[part].items()]
    return Table(["", ""], [list(pair) for pair in pairs])


def _csv(table: Mapping[str, list[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return buffer.getvalue()
