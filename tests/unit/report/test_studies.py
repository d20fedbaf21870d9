"""The page shows what studies have left, whichever they are: it knows none by name."""

from __future__ import annotations

import dataclasses
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from campaign_records import started

from magflow.core import plugins
from magflow.presentation.blocks import Table
from magflow.presentation.sections import Place, Section, TitledTable
from magflow.report.page import render
from magflow.studies.base import Study, Traces, results_left_in

NOTE = "weather.txt"


def _read(traces: Traces) -> str | None:
    path = traces.directory / NOTE
    return path.read_text() if path.is_file() else None


def _section(text: str) -> Section:
    table = TitledTable("Forecast", Table(["Day", "Sky"], [["today", text]]))
    return Section("weather", "Weather", "Will it rain?", "An outsider asks.", tables=[table], place=Place.ERRORS)


OUTSIDE = Study("weather", object, str, _read, _section)
"""Test double of a study that another package brings."""


@pytest.fixture
def outsider(monkeypatch):
    """One entry-point line more."""
    known = plugins._found(plugins.STUDIES)
    line = EntryPoint("weather", f"{__name__}:OUTSIDE", plugins.STUDIES)
    monkeypatch.setattr(plugins, "_found", lambda group: {**known, "weather": line})


def test_an_entry_point_is_all_a_study_needs_to_be_shown(outsider, tmp_path: Path):
    traces = Traces(tmp_path, lambda doc_type: [])
    assert results_left_in(traces) == {}
    (tmp_path / NOTE).write_text("<grey>")
    record = dataclasses.replace(started("none"), studies=results_left_in(traces))
    html = render(record)
    assert '<a href="#weather">Weather</a>' in html and "&lt;grey&gt;" in html
    assert html.index('id="errors"') < html.index('id="weather"') < html.index('id="parity"')
    later = Section("weather", "Weather", "Will it rain?")
    assert later.place is Place.POTENTIAL


def test_nothing_is_shown_where_nothing_was_left():
    html = render(started("none"))
    assert 'id="families"' not in html and 'id="transfer"' not in html
