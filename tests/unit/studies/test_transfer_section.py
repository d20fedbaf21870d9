"""A transfer on the page of a campaign, and in files of its own."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from magflow.presentation.page import page
from magflow.presentation.sections import Place
from magflow.studies.base import Traces, read_result
from magflow.studies.transfer.files import write_transfer
from magflow.studies.transfer.result import TransferCurve, TransferPoint
from magflow.studies.transfer.saving import Price
from magflow.studies.transfer.section import STUDY
from magflow.studies.transfer.ways import Arm

SIZES = (10, 20, 40)


def point(arm: Arm, size: int, error: float) -> TransferPoint:
    plain = 0 if arm is Arm.SCRATCH else 12
    return TransferPoint(arm, 1, size, plain, {"energy": error, "forces": 10 * error}, size + plain, size / 2, 3.0)


@pytest.fixture
def documents() -> list[dict]:
    return [
        {
            "points": [asdict(point(Arm.SCRATCH, n, 1.0 / n)), asdict(point(Arm.REPLAYED, n, 0.25 / n))],
            "test_labels": 8,
        }
        for n in SIZES
    ]


def test_the_documents_of_a_campaign_make_its_section(documents):
    stored = json.loads(json.dumps(documents))
    curve = STUDY.left_in(Traces(Path(), {"transfer": stored}.__getitem__))
    assert [p.magnetic_labels for p in curve.of(Arm.REPLAYED, 1)] == list(SIZES)
    section = STUDY.section(curve)
    assert section.place is Place.ERRORS and "8 magnetic labels" in section.explanation
    saved, errors = section.tables
    assert [row[0] for row in saved.table.rows] == [n for n in SIZES for _ in range(2)]
    assert saved.table.columns[3:] == ["Labels", "core-hours", "core-hours: of magnetic labels"]
    most = saved.table.rows[4]
    assert most[:4] == [40, "Energy", "25 meV/atom", "4"]
    assert [float(x) for x in most[4:]] == [pytest.approx(40 / 22, rel=0.02), pytest.approx(4.0, rel=0.02)]
    assert errors.table.rows[0][:4] == ["from scratch", 10, "100", "1000"]
    html = page("title", "lead", "heading", [section])
    assert 'id="transfer"' in html and "How many times less it takes: fine-tuned with replay" in html


def test_a_campaign_without_a_transfer_has_no_section():
    assert STUDY.left_in(Traces(Path(), lambda doc_type: [])) is None


def test_files_hold_every_point_and_can_be_read_again(documents, tmp_path):
    points = tuple(TransferPoint.from_dict(p) for d in documents for p in d["points"])
    part = {"count": 12, "kinds": ["constrained"], "core_hours": 1.0, "cpu_hours": 2.0}
    about = {"elements": ["Al", "Fe"], "family": "mmtp", "labels": {"pool": part}, "settings": {"level": 6}}
    curve = TransferCurve(points, about | {"pretraining": {}, "schedule": {"replay": 1.0}})
    files = write_transfer(curve, tmp_path, Price.CPU_HOURS)
    assert set(files) == {"results.json", "results.csv", "transfer.svg", "transfer.html"}
    assert read_result(files["results.json"], TransferCurve).points == curve.points
    assert len(files["results.csv"].read_text().splitlines()) == 1 + len(points)
    html = files["transfer.html"].read_text()
    assert "Al-Fe, mmtp" in html and "settings: level" in html and "Labels and settings" in html
    assert html.count("<section") == html.count("</section>") == 3
