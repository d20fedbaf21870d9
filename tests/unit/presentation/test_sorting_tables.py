"""Tables of a page in a browser: their rows follow the head that is clicked, or pressed from the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import Browser, needs_browser
from magflow.presentation.blocks import Table
from magflow.presentation.page import page
from magflow.presentation.sections import Section, TitledTable

pytestmark = needs_browser

COLUMNS = ["Frame", "Error (meV)", "Time", "Off", ""]
ROWS = [
    ["Fe2", "12.0 ± 0.4", "3 min", "(+2.5 %)", "b"],
    ["Fe10", "–", "90 s", "-0.4 %", "a"],
    ["Fe1", "1.2e-3", "1.5 h", "", "d"],
    ["Al", "-5 / 7", "500 ms", "3 %", "c"],
]
AS_WRITTEN = ["Fe2", "Fe10", "Fe1", "Al"]
ALIKE = Table(["Element", "Number"], [["Fe", 10], ["Al", 9]], frozenset({1}))


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("browser")
    with Browser(folder / "profile") as made:
        yield made


@pytest.fixture
def shown(browser: Browser, tmp_path: Path) -> Browser:
    """A page of four tables: one to sort, a folded one, and two that nobody can sort."""
    tables = [
        TitledTable("To sort", Table(COLUMNS, ROWS, frozenset({1, 2, 3}))),
        TitledTable("Pairs", Table(["", ""], [["b", "1"], ["a", "2"]])),
        TitledTable("One row", Table(["Element"], [["Fe"]])),
        TitledTable("Folded", ALIKE, folded=True),
    ]
    path = tmp_path / "page.html"
    path.write_text(page("Tables", "", "Tables", [Section(name="t", label="T", title="T", tables=tables)]))
    browser.said.clear()
    browser.look(1200, 800)
    browser.open(path.as_uri())
    return browser


def head(column: int, table: int = 0) -> str:
    return f"document.querySelectorAll('table')[{table}].tHead.rows[0].cells[{column}].querySelector('button')"


def first_cells(browser: Browser, table: int = 0) -> list[str]:
    return browser.value(
        f"Array.from(document.querySelectorAll('table')[{table}].tBodies[0].rows, row => row.cells[0].textContent)"
    )


def directions(browser: Browser) -> list[str | None]:
    return browser.value("Array.from(document.querySelectorAll('table')[0].querySelectorAll('th'), h => h.ariaSort)")


@pytest.mark.parametrize(
    ("column", "upwards", "downwards"),
    [
        (0, ["Al", "Fe1", "Fe2", "Fe10"], ["Fe10", "Fe2", "Fe1", "Al"]),
        (1, ["Al", "Fe1", "Fe2", "Fe10"], ["Fe2", "Fe1", "Al", "Fe10"]),
        (2, ["Al", "Fe10", "Fe2", "Fe1"], ["Fe1", "Fe2", "Fe10", "Al"]),
        (3, ["Fe10", "Fe2", "Al", "Fe1"], ["Al", "Fe2", "Fe10", "Fe1"]),
    ],
    ids=["words", "errors", "durations", "brackets"],
)
def test_a_head_sorts_up_then_down_then_not(shown, column, upwards, downwards):
    none = [None] * len(COLUMNS)
    for rows, direction in ((upwards, "ascending"), (downwards, "descending"), (AS_WRITTEN, None)):
        shown.click(head(column))
        assert first_cells(shown) == rows
        assert directions(shown) == [*none[:column], direction, *none[column + 1 :]]
    assert shown.said == [], "the page's security policy lets its script run, and nothing else was tried"


def test_another_head_takes_over(shown):
    shown.click(head(1))
    shown.click(head(2))
    assert first_cells(shown) == ["Al", "Fe10", "Fe2", "Fe1"]
    assert directions(shown) == [None, None, "ascending", None, None]


def test_the_keyboard_does_the_same(shown):
    shown.press("Tab")
    assert shown.value("document.activeElement.textContent") == "Frame"
    shown.press("Tab")
    for key, rows in (("Enter", ["Al", "Fe1", "Fe2", "Fe10"]), (" ", ["Fe2", "Fe1", "Al", "Fe10"])):
        shown.press(key)
        assert first_cells(shown) == rows
    assert shown.value("document.activeElement.textContent") == "Error (meV)"
    assert shown.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_only_what_can_be_sorted_has_buttons(shown):
    counts = "Array.from(document.querySelectorAll('table'), t => t.querySelectorAll('button').length)"
    assert shown.value(counts) == [4, 0, 0, 2]


def test_a_folded_table_is_sorted_once_it_is_open(shown):
    shown.click("document.querySelector('summary')")
    shown.click(head(1, table=3))
    assert first_cells(shown, table=3) == ["Al", "Fe"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_heads_are_legible_and_nothing_sticks_out_at_400_pixels(shown, scheme):
    shown.look(400, 800, scheme)
    shown.click(head(1))
    assert first_cells(shown) == ["Al", "Fe1", "Fe2", "Fe10"]
    assert shown.value("document.documentElement.scrollWidth") <= 400
    ink, paper = shown.value(f"[getComputedStyle({head(1)}).color, getComputedStyle(document.body).backgroundColor]")
    assert contrast(ink, paper) > 4.5


def contrast(one: str, other: str) -> float:
    """Of two colours ``rgb(r, g, b)``, as WCAG 2 defines it."""
    low, high = sorted(luminance(colour) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(c) / 255 for c in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
