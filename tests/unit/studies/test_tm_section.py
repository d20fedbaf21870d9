"""What the benchmark of metals says: sentences only of what exceeds the spread, tables, page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from magflow.core.versions import FORMAT
from magflow.errors import InputError
from magflow.presentation.formats import NONE
from magflow.presentation.sections import Section
from magflow.studies.base import Traces
from magflow.studies.compare.timing import InferenceCost
from magflow.studies.tm import files
from magflow.studies.tm.contenders import Reading
from magflow.studies.tm.findings import findings
from magflow.studies.tm.judged import Judgement, Score
from magflow.studies.tm.result import RESULTS, Case, Spread, TmBenchmark, TmFit
from magflow.studies.tm.rows import d_column
from magflow.studies.tm.section import STUDY, columns, main_table, section

Errors = Mapping[tuple[str, str, int], Sequence[float] | str]
"""Metal (and ``metal/read``), contender and labels to one relative error of forces per seed, or why there is none."""


def scored(error: float) -> dict[str, Score]:
    return {
        "forces": Score(4, 24, error, 0.5 * error, 1.0, 0.8),
        "energy": Score(4, 4, 0.01 * error, 0.01 * error, 0.1, 0.1),
    }


def fits_of(errors: Errors) -> list[TmFit]:
    out = []
    for (metal, contender, labels), found in errors.items():
        name, _, reading = metal.partition("/")
        cases = [Case(name, contender, Reading(reading or "none"), labels, seed + 1) for seed in range(3)]
        if isinstance(found, str):
            out += [TmFit(case, failure=found) for case in cases[:2]]
            continue
        for case, error in zip(cases, found, strict=False):
            judged = Judgement(scored(error), {"group": {"solid": scored(0.5 * error), "melt": scored(2.0 * error)}})
            out.append(TmFit(case, None, judged, 8, True, 0.5, 1.0, InferenceCost(12.0, 4.0, 4, 8)))
    return out


def benchmark(errors: Errors, **about: Any) -> TmBenchmark:
    made = fits_of(errors)
    rows = {
        fit.case.row: {
            "elements": [fit.case.row],
            "column": d_column(fit.case.row.partition("-")[0]),
            "labels": 20,
            "to_learn_from": 16,
            "to_test_on": 4,
            "own_split": False,
            "atoms": 40,
            "rms_force": 1.0,
            "strata": {"group": ["melt", "solid"]},
            "quantities": ["energy", "forces"],
            "has_moments": fit.case.reading is not Reading.NONE,
        }
        for fit in made
    }
    contenders = []
    for name in dict.fromkeys(fit.case.contender for fit in made):
        base, _, varied = name.partition(" ")
        key, _, value = varied.partition(" ")
        one = {"name": name, "base": base, "varied": {key: json.loads(value)} if value else {}, "missing": ""}
        contenders.append(one | {"family": base, "settings": {}})
    seeds = sorted({fit.case.seed for fit in made})
    sizes = sorted({fit.case.labels for fit in made})
    told = {"rows": rows, "contenders": contenders, "sizes": sizes, "seeds": seeds, "share": 0.2}
    return TmBenchmark(tuple(made), told | about)


def said(errors: Errors) -> str:
    return "\n".join(f"{subject}: {text}" for subject, text in findings(benchmark(errors)))


class TestFindings:
    def test_early_metals_are_harder_where_no_seed_says_otherwise(self):
        text = said(
            {
                ("Nb", "mmtp", 8): (0.30, 0.32),
                ("Mo", "mmtp", 8): (0.12, 0.20),
                ("Cu", "mmtp", 8): (0.10, 0.14),
                ("Al", "mmtp", 8): (0.9, 0.9),
            }
        )
        assert "Early and middle d metals: Nb, Mo beside late ones (Cu)" in text
        assert "from 8 labels: mmtp: 1.3 to 2.6 times" in text
        assert "harder in 1 of 2 pairs, easier in 0, 1 within the spread" in text

    def test_one_seed_shows_no_difference(self):
        text = said({("Nb", "mmtp", 8): (0.9,), ("Cu", "mmtp", 8): (0.1,)})
        assert "of one seed no spread is known" in text and "harder" not in text
        assert not Spread(0.9, 0.9, 0.9, 1).exceeds(Spread(0.1, 0.1, 0.1, 3))
        assert Spread(0.9, 0.8, 0.9, 2).exceeds(Spread(0.1, 0.1, 0.7, 2))

    def test_rows_without_a_common_number_of_labels_do_not_compare(self):
        text = said({("Nb", "mmtp", 8): (0.9, 0.9), ("Cu", "mmtp", 4): (0.1, 0.1)})
        assert text.startswith("Differences: no number of labels is common to all rows")

    def test_moments(self):
        text = said(
            {
                ("Fe/read", "mmtp", 8): (0.10, 0.12),
                ("Fe/ignored", "mmtp", 8): (0.20, 0.24),
                ("Cu", "mmtp", 8): (0.1, 0.1),
            }
        )
        assert "Fe: with moments as input, 8 labels: mmtp: forces −50 %, energy −50 %" in text
        text = said({("Fe/read", "mmtp", 8): (0.10, 0.30), ("Fe/ignored", "mmtp", 8): (0.20, 0.24)})
        assert "forces −9 % (within the spread)" in text

    def test_settings_families_and_labels(self):
        text = said(
            {
                ("Nb", "mmtp level 14", 8): (0.2, 0.22),
                ("Nb", "mmtp level 8", 8): (0.3, 0.32),
                ("Nb", "mmtp level 8", 4): (0.6, 0.62),
                ("Nb", "sgp", 8): (0.4, 0.44),
                ("Cu", "mmtp level 14", 8): (0.1, 0.12),
                ("Cu", "mmtp level 8", 8): (0.1, 0.11),
                ("Cu", "mmtp level 8", 4): (0.1, 0.12),
                ("Cu", "sgp", 8): (0.05, 0.06),
            }
        )
        assert (
            "mmtp: level 14 instead of 8, forces from 8 labels: errs less in Nb (0.68 times); within the spread in Cu"
            in text
        )
        assert "sgp: instead of mmtp, each at its best, forces from 8 labels: errs less in Cu (0.52 times); " in text
        assert "errs more in Nb (2 times)" in text
        assert "From 4 to 8 labels: errors of forces fall: mmtp level 8: 2 times, 1 within the spread" in text


AXES: Errors = {
    ("Nb", "flare l_max 5", 8): (0.2, 0.22),
    ("Nb", "flare l_max 0", 8): (0.4, 0.44),
    ("Nb", "flare l_max 3", 8): (0.3, 0.33),
    ("Nb", 'flare descriptor "B1"', 8): (0.5, 0.55),
    ("Nb", 'flare descriptor "B3"', 8): (0.25, 0.26),
    ("Cu", "flare l_max 5", 8): (0.1, 0.12),
    ("Cu", "flare l_max 0", 8): (0.11, 0.1),
    ("Cu", 'flare descriptor "B3"', 8): "no memory",
}


def test_each_setting_of_a_family_is_an_axis_with_a_table_a_panel_and_a_sentence():
    """Numbers stand in their order, words as they were asked for; what failed is a gap."""
    made = benchmark(AXES)
    shown = section(made)
    tables = {t.title: t.table for t in shown.tables}
    angles = tables["Relative error of forces (%) of flare by l_max"]
    assert angles.columns == ["Metal", "0", "3", "5"]
    assert angles.rows == [
        ["Nb", "42 (40 to 44)", "31.5 (30 to 33)", "21 (20 to 22)"],
        ["Cu", "10.5 (10 to 11)", NONE, "11 (10 to 12)"],
    ]
    bodies = tables["Relative error of forces (%) of flare by descriptor"]
    assert bodies.columns == ["Metal", "B1", "B3"] and bodies.rows[1] == ["Cu", NONE, NONE]
    text = "\n".join(text for name, text in findings(made) if name == "flare")
    assert "l_max 5 instead of 0, forces from 8 labels: errs less in Nb (0.5 times); within the spread in Cu" in text
    assert "descriptor B3 instead of B1, forces from 8 labels: errs less in Nb (0.49 times)" in text
    (settings,) = [p for p in shown.plots if p.file.startswith("settings")]
    assert ">B1<" in str(settings.svg) and ">descriptor<" in str(settings.svg)


FULL = {
    ("Nb", "mmtp level 8", 4): (0.5, 0.6),
    ("Nb", "mmtp level 8", 8): (0.3, 0.32),
    ("Nb", "mmtp level 14", 8): (0.2, 0.22),
    ("Cu", "mmtp level 8", 4): (0.2, 0.3),
    ("Cu", "mmtp level 8", 8): (0.1, 0.12),
    ("Cu", "mmtp level 14", 8): "no such metal",
    ("Fe/read", "mmtp level 8", 8): (0.1, 0.2),
    ("Fe/ignored", "mmtp level 8", 8): (0.2, 0.3),
    ("Nb", "nequip", 8): "nequip is not installed",
    ("Cu", "nequip", 8): "nequip is not installed",
}


@pytest.fixture(scope="module")
def full() -> tuple[TmBenchmark, Section]:
    made = benchmark(FULL, sizes=[4, 8, 32])
    return made, section(made)


def test_tables_say_what_was_measured(full):
    made, shown = full
    (lead,) = shown.lead
    assert lead.table.columns == ["Metal", "mmtp level 8", "mmtp level 14", "nequip"]
    assert lead.table.rows[0] == ["Nb", "31 (30 to 32)", "21 (20 to 22)", "–"]
    assert [row[0] for row in lead.table.rows] == ["Nb", "Fe, moments read", "Fe, moments ignored", "Cu"]
    tables = {t.title: t.table for t in shown.tables}
    assert tables["Mean absolute error of forces (% of their mean absolute value)"].rows[0][1].startswith("19.4 ")
    assert tables["Energy, RMSE (meV/atom)"].rows[3][1] == "1.1 (1 to 1.2)"
    assert ["Nb", "melt", "62 (60 to 64)", "42 (40 to 44)", "–"] in tables["Relative error of forces (%) by group"].rows
    assert tables["Labels"].rows[0] == ["Nb", 5, NONE, NONE, 20, "2", 16, 4, "by group", "1"]
    assert tables["Cost"].rows[0] == ["mmtp level 8", 8, "0.5", "62.5", "12", "4"]
    assert ["Cu", 4, "25 (20 to 30)", "–", "–"] in tables["Relative error of forces (%) by number of labels"].rows
    remarks = dict(shown.remarks)
    assert remarks["nequip"] == "4 of 4 fits failed: nequip is not installed"
    assert ("mmtp level 14", "2 of 4 fits failed (Cu): no such metal") in shown.remarks
    assert remarks["Nb"] == "has 16 labels to learn from: no fits to 32"
    numbers = columns(made)
    assert len({len(values) for values in numbers.values()}) == 1
    assert numbers["relative force error (%)"][0] == pytest.approx(50.0) and numbers["failure"][-1].startswith("nequip")


def test_files_and_what_a_campaign_shows(tmp_path, full, monkeypatch):
    made, shown = full
    monkeypatch.setattr(files, "section", lambda benchmark: shown)
    files.write_tm(made, tmp_path / "tm")
    assert {path.name for path in (tmp_path / "tm").iterdir()} == set(files.FILES)
    page = (tmp_path / "tm" / "tm.html").read_text()
    assert page.count("<svg") == 3 and "How hard metals are to learn" in page and "no such metal" in page
    found = STUDY.left_in(Traces(tmp_path, lambda kind: []))
    assert found is not None and found.fits == made.fits
    assert repr(found) == "<TmBenchmark of Nb, Fe, Cu: 20 fits>"
    assert STUDY.left_in(Traces(tmp_path / "tm", lambda kind: [])) is None
    (tmp_path / "tm" / RESULTS).write_text(json.dumps(made.as_dict() | {FORMAT: "magflow-comparison-1"}))
    with pytest.raises(InputError, match="magflow-tm-1"):
        STUDY.left_in(Traces(tmp_path, lambda kind: []))


def test_a_row_that_fails_altogether_does_not_hide_the_others():
    made = benchmark({("Nb", "mmtp", 8): (0.3, 0.32), ("Cu", "mmtp", 8): "no such metal"})
    assert made.main_size == 8
    assert main_table(made, 8).table.rows == [["Nb", "31 (30 to 32)"], ["Cu", "–"]]


def test_a_benchmark_without_any_potential_is_a_page_all_the_same(tmp_path):
    paths = files.write_tm(benchmark({("Nb", "nequip", 8): "not installed"}), tmp_path)
    assert "tm.svg" not in paths and "not installed" in paths["tm.html"].read_text()


def smeared(errors: Errors, electrons: Mapping[str, float] | None = None) -> TmBenchmark:
    """Rows such as ``Ti-0.02``: element and smearing."""
    made = benchmark(errors)
    for name, row in made.about["rows"].items():
        element, _, value = name.partition("-")
        row |= {"elements": [element], "kind": "non-magnetic"}
        row |= {"smearing": [float(value), "Ha"], "electrons": {"d_centre_ev": electrons[name]} if electrons else {}}
    return made


SMEARED: Errors = {
    ("Ti-0.005", "mmtp", 10): (0.40, 0.42),
    ("Ti-0.02", "mmtp", 10): (0.20, 0.22),
    ("Cu-0.005", "mmtp", 10): (0.10, 0.12),
    ("Cu-0.02", "mmtp", 10): (0.11, 0.09),
}


def test_smearings_of_one_element_are_held_against_each_other_beyond_the_spread_alone():
    (told,) = [text for name, text in findings(smeared(SMEARED)) if name == "Larger smearing, mmtp"]
    assert told == (
        "forces from 10 labels: errs less in Ti-0.02 beside Ti-0.005 (0.51 times); within the spread in Cu-0.02 beside "
        "Cu-0.005 (0.91 times)"
    )


def test_early_and_late_metals_are_compared_at_the_same_smearing():
    told = [text for name, text in findings(smeared(SMEARED)) if name == "Early and middle d metals"]
    assert [text.split(":")[0] for text in told] == [
        "Ti-0.005 beside late ones (Cu-0.005), relative error of forces from 10 labels at 0.005 Ha",
        "Ti-0.02 beside late ones (Cu-0.02), relative error of forces from 10 labels at 0.02 Ha",
    ]
    assert all("harder in 1 of 1 pair" in text for text in told)


def test_rows_of_one_smearing_are_no_axis():
    assert not smeared({("Ti-0.005", "mmtp", 10): (0.4, 0.42), ("Cu-0.02", "mmtp", 10): (0.1, 0.12)}).smeared


def test_tables_and_figure_of_smearing_and_electrons():
    centres = {"Ti-0.005": 2.0, "Ti-0.02": 1.0, "Cu-0.005": -3.0, "Cu-0.02": -4.0}
    shown = section(smeared(SMEARED, centres))
    tables = {t.title: t.table for t in shown.tables}
    by_smearing = tables["Relative error of forces (%) by smearing"].rows
    assert [row[:2] for row in by_smearing] == [
        ["Ti-0.005", "0.005 Ha"],
        ["Ti-0.02", "0.02 Ha"],
        ["Cu-0.005", "0.005 Ha"],
        ["Cu-0.02", "0.02 Ha"],
    ]
    electrons = tables["Electronic structure and relative error of forces (%)"]
    assert list(electrons.columns)[:3] == ["Metal", "d-band centre (eV)", "mmtp"]
    (correlated,) = tables["Rank correlation with the electronic structure"].rows
    assert correlated == ["d-band centre (eV)", "+1.00 (4 rows)"]
    assert [p.file.removesuffix(".csv") for p in shown.plots] == ["metals", "electrons"]
    assert "Ti-0.02" in str(shown.plots[-1].svg)


def test_two_rows_have_no_correlation_and_labels_without_electrons_no_table():
    few = {key: value for key, value in SMEARED.items() if key[0].startswith("Ti")}
    tables = {t.title: t.table for t in section(smeared(few, {"Ti-0.005": 2.0, "Ti-0.02": 1.0})).tables}
    assert tables["Rank correlation with the electronic structure"].rows[0][1] == "–"
    assert not any("lectronic" in t.title for t in section(smeared(few)).tables)
