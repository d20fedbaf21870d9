"""A comparison of families in tables, in files of numbers, and on a page."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ET

import pytest

from magflow.io.importing.magnetic_states import MagneticStates
from magflow.presentation.page import page
from magflow.presentation.quantities import quantity
from magflow.studies.base import Traces
from magflow.studies.compare.files import write_comparison
from magflow.studies.compare.result import DIRECTORY, ComparedFit, Comparison, read_comparison
from magflow.studies.compare.section import STUDY, cost_table, error_table, remarks, stratum_table
from magflow.studies.compare.timing import InferenceCost

QUANTITIES = ("energy", "forces", "magnetic_forces")


def fit(entry: str, seed: int, forces: float, *, magnetic: bool) -> ComparedFit:
    errors = {q: {"n": 4, "rmse": forces, "mae": forces / 2, "max": 1.0} for q in QUANTITIES}
    if not magnetic:
        del errors["magnetic_forces"]
    strata = {"composition": {"Fe2": {"labels": 4, "errors": errors}}}
    cost = InferenceCost(50.0 * seed, 10.0 * seed, 8, 16)
    return ComparedFit(entry, seed, None, errors, errors, strata, True, 2.0 * seed, 3.0, cost)


@pytest.fixture
def comparison() -> Comparison:
    part = {"count": 4, "quantities": list(QUANTITIES), "with_moments": 4}
    about = {
        "labels": {"train": part | {"count": 30}, "test": part},
        "entries": [
            {"name": "plain", "family": "dp", "magnetic": False},
            {"name": "mmtp", "family": "mmtp", "magnetic": True},
        ],
    }
    fits = [fit("mmtp", k, 0.02 * k, magnetic=True) for k in (1, 2, 3)]
    fits += [fit("plain", 1, 0.5, magnetic=False), ComparedFit("plain", 2, failure="<b>no disk</b>")]
    return Comparison(tuple(fits), about)


def test_tables_show_medians_ranges_and_what_is_not_there(comparison):
    errors = error_table(comparison, "forces")
    assert errors.columns == ["Entry", "Energy (meV/atom)", "Forces (meV/Å)", "Magnetic forces (meV/μB)"]
    assert errors.rows[0] == ["mmtp", *["40 (20 to 60)"] * 3]
    assert errors.rows[1][0] == "plain (dp)" and errors.rows[1][2] == "500" and errors.rows[1][3] in "-–—"
    assert error_table(comparison, "forces", "mae").rows[0][1] == "20 (10 to 30)"
    costs = cost_table(comparison, "forces").rows
    assert costs == [["mmtp", "3 of 3", "4", "100", "20"], ["plain (dp)", "1 of 2", "2", "50", "10"]]
    assert stratum_table(comparison, quantity("forces")).rows == [["composition", "Fe2", 4, "40", "500"]]


def test_an_entry_that_reads_no_moments_is_told_what_it_cannot_learn(comparison):
    states = MagneticStates(30, 0.05, 0.04, 0.001, 80.0)
    known = Comparison(comparison.fits, dict(comparison.about) | {"magnetic_states": states.as_dict()})
    told = dict(remarks(known, "forces"))
    assert set(told) == {"plain (dp)"}
    said = [text for entry, text in remarks(known, "forces") if "cannot be learnt" in text]
    assert len(said) == 1 and "40 of the 50 meV/atom" in said[0]
    assert Comparison.from_dict(known.as_dict()).magnetic_states == states
    assert comparison.magnetic_states is None  # an older one


def test_files_hold_every_fit(comparison, tmp_path):
    files = write_comparison(comparison, tmp_path, "forces")
    with files["results.csv"].open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 and float(rows[2]["rmse_forces (meV/Å)"]) == pytest.approx(60.0)
    assert rows[3]["rmse_magnetic_forces (meV/μB)"] == "nan" and rows[4]["failure"] == "<b>no disk</b>"
    assert read_comparison(tmp_path).as_dict() == comparison.as_dict()
    words = "".join(ET.parse(files["comparison.svg"]).getroot().itertext())
    assert "CPU s" in words and "plain" in words


def test_the_section_of_a_page(comparison):
    html = page("title", "lead", "heading", [STUDY.section(comparison)])
    for word in ('id="families"', "Families side by side", "reads no moments", "40 (20 to 60)", "same 30 labels"):
        assert word in html
    assert "<b>no disk</b>" not in html and "&lt;b&gt;no disk" in html
    assert html.index("reads no moments") < html.index("Mean absolute error") < html.index("(meV/Å) by stratum")


def test_it_is_found_in_the_directory_of_a_campaign(comparison, tmp_path):
    traces = Traces(tmp_path, lambda doc_type: [])
    assert STUDY.left_in(traces) is None
    write_comparison(comparison, tmp_path / DIRECTORY, "forces")
    assert STUDY.left_in(traces).as_dict() == comparison.as_dict()
