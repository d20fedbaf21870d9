"""What is told of work where there is no terminal: a line for each ten of what is counted, and one a minute."""

from __future__ import annotations

from dataclasses import fields
from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from magflow.cli import live, progress
from magflow.execution.status import CampaignStatus


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when the test says so."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    return now


def test_every_tenth_and_the_last_once(capsys, clock):
    with progress.progress_bar() as told:
        for done in range(26):
            for _ in range(3):
                progress.count(told, "labels", done, 25, every=10)
                progress.count(told, "documents", done, 25)
    assert capsys.readouterr().err.splitlines() == ["labels 10 of 25", "labels 20 of 25", "labels 25 of 25"]


def test_what_takes_long_is_told_once_a_minute(capsys, clock):
    with progress.progress_bar() as told:
        for done in range(9):
            progress.count(told, "labels", done, 25)
            clock.seconds += 25.0
    assert capsys.readouterr().err.splitlines() == ["labels 3 of 25", "labels 6 of 25"]


def test_a_campaign_tells_ten_labels_and_a_minute(monkeypatch):
    lines: list[str] = []
    status = SimpleNamespace(labels=0, beside={}, iteration=0, phase="label")
    monkeypatch.setattr(live, "campaign_status", lambda _: status)
    monkeypatch.setattr(live, "line", lambda status: f"labels {status.labels}")
    out = SimpleNamespace(print=lambda text, soft_wrap: lines.append(text.split("] ")[1]))
    told = live._Lines(None, out)
    for labels in range(31):
        status.labels = labels
        told(SimpleNamespace(elapsed=1.0 * labels))
    told(SimpleNamespace(elapsed=61.0))
    assert lines == ["labels 0", "labels 10", "labels 20", "labels 30", "labels 30"]


def test_what_has_failed_is_told_once_and_the_bar_reads_without_colours():
    out = StringIO()
    failed = [{"name": f"label {n}", "error": "no room"} for n in range(5)]
    facts = dict.fromkeys((f.name for f in fields(CampaignStatus)), None)
    facts |= {"name": "c", "state": "running", "jobs": {}, "running": [], "failed_jobs": failed, "beside": {}}
    facts |= {"labels": 3, "labels_failed": 2, "label_budget": 20, "failures": {"crash": 2}, "domain": {}, "errors": {}}
    status = CampaignStatus(**facts | {"core_hours": 0.0})
    Console(file=out, width=120).print(live.panel(status))
    assert out.getvalue().count("no room") == 3
    assert "and 2 more failed jobs" in out.getvalue()
    assert f"{'━' * 10}{'┄' * 30} 25 % spent" in out.getvalue()
    assert "5 jobs failed" in live.line(status)


def test_how_many_random_labels_are_missing_is_told_only_where_more_would_do():
    targets = {"energy": 0.005}
    error = {"rmse": 0.0035, "low": 0.002, "high": 0.007, "labels": 12}
    assert "more would show such errors to be within all targets" in live.domain_text({"energy": error}, targets).plain
    for changed in ({"rmse": 0.006, "high": 0.012}, {"rmse": 0.002, "high": 0.004}):
        told = live.domain_text({"energy": error | changed}, targets).plain
        assert "of 12 random labels" in told and "more would" not in told
