"""The files of the phonons of one crystal: everything, tables, the bands, and a page, beside those of phonopy."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from magflow.presentation.files import as_csv, write_texts
from magflow.presentation.page import page
from magflow.presentation.style import standalone
from magflow.properties import phonopy_export as phonopy
from magflow.properties.harmonic import BANDS, DOS, THERMODYNAMICS
from magflow.properties.measurement import Curve, Measurement
from magflow.properties.moment_response import MOMENTS
from magflow.properties.quasi_harmonic import CURVE as QUASI_HARMONIC
from magflow.studies.validate.result import RESULTS, Validation
from magflow.studies.validate.section import columns
from magflow.studies.vibrations.section import mode_of, section

PAGE, PICTURE, NUMBERS = "phonons.html", "bands.svg", "values.csv"
SINGLE = {DOS: "states.csv", THERMODYNAMICS: "thermodynamics.csv", QUASI_HARMONIC: "quasi_harmonic.csv"}
"""Curve to the file of its columns."""
FAMILIES = {BANDS: ("bands.csv", "stretch"), MOMENTS: ("moments.csv", "pair")}
"""Start of the names of curves to the file that holds all of them, and what tells them apart there."""
FORCE_CONSTANTS = (phonopy.FILE, phonopy.CONSTANTS)
"""Files of phonopy, which the property leaves; none without an answer."""


def write_vibrations(found: Validation, directory: Path) -> list[Path]:
    """Write page, picture and tables; returns the paths of all that is there then, the files of phonopy among them.

    Raises
    ------
    StoreError
        If a file cannot be written.
    """
    shown = section(found)
    texts = {
        PAGE: page("Phonons – magflow", "magflow phonons", found.found[0][1].structure, [shown]),
        RESULTS: json.dumps(found.as_dict(), indent=1) + "\n",
        NUMBERS: as_csv(columns(found)),
    }
    if shown.plots:
        texts[PICTURE] = standalone(str(shown.plots[0].svg))
    for _, measurement in found.found:
        texts |= dict(_tables(measurement))
    phonopys = [directory / name for name in FORCE_CONSTANTS if (directory / name).is_file()]
    return [*write_texts(directory, texts).values(), *phonopys]


def _tables(found: Measurement) -> Iterator[tuple[str, str]]:
    """Name and text of the file of each table; its last column names the magnetic mode."""
    mode = mode_of(found)
    for name, file in SINGLE.items():
        if name in found.curves:
            curve = {head: np.asarray(c).tolist() for head, c in found.curves[name].items()}
            yield file, as_csv(_with_mode(curve, mode))
    for start, (file, what) in FAMILIES.items():
        some = {n.removeprefix(start): curve for n, curve in found.curves.items() if n.startswith(start)}
        if some:
            yield file, as_csv(_with_mode(_stacked(some, what), mode))


def _with_mode(table: dict[str, list[Any]], mode: str) -> dict[str, list[Any]]:
    return table | {"mode": [mode] * len(next(iter(table.values())))} if mode else table


def _stacked(curves: Mapping[str, Curve], what: str) -> dict[str, list[Any]]:
    """Curves of the same columns below each other, the first column telling which; spreads that one lacks are empty."""
    heads = list(dict.fromkeys(head for curve in curves.values() for head in curve))
    lengths = {name: len(next(iter(curve.values()))) for name, curve in curves.items()}
    table: dict[str, list[Any]] = {what: [name for name, n in lengths.items() for _ in range(n)]}
    for head in heads:
        parts = (curve.get(head, np.full(lengths[name], np.nan)) for name, curve in curves.items())
        table[head] = [float(x) for part in parts for x in part]
    return table
