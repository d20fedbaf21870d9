"""The labels that the ensemble was most wrong about: which they are, and what the page shows of them."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from campaign_records import Builder, finished, framed

from magflow.presentation.style import ANCHOR
from magflow.report import sections
from magflow.report.page import render
from magflow.report.worst import MOST, worst_labels


@pytest.fixture(scope="module")
def record():
    return framed(finished())


def test_errors_are_those_of_each_label_and_ranked_by_the_targets(record):
    last, arrays = record.iterations[-1], record.parities[-1]
    assert len(record.worst) == MOST < len(last.assessed)
    scores = []
    for name, errors in record.worst.items():
        mine = arrays["forces_label"] == last.assessed.index(name)
        error = (arrays["forces_predicted"] - arrays["forces_true"])[mine]
        assert errors["forces"] == pytest.approx(np.sqrt(np.mean(error**2)))
        scores.append(max(e / (record.targets.get(q) or last.rmse[q]) for q, e in errors.items()))
    assert scores == sorted(scores, reverse=True)


def test_a_label_without_a_quantity_is_judged_by_the_others():
    builder = Builder(batch=6).iteration(0).iteration(1)
    arrays = dict(builder.parts["parities"][1])
    kept = arrays["magnetic_forces_label"] != 2
    arrays |= {k: v[kept] for k, v in arrays.items() if k.startswith("magnetic_forces_")}
    worst = worst_labels(builder.parts["iterations"], [{}, arrays], {})
    assert "magnetic_forces" not in worst[builder.parts["iterations"][1].assessed[2]]
    assert len(worst) == 6


def test_campaigns_of_releases_that_noted_no_labels_have_none():
    record = finished()
    iterations = tuple(d.model_copy(update={"assessed": []}) for d in record.iterations)
    parities = tuple({k: v for k, v in p.items() if not k.endswith("_label")} for p in record.parities)
    old = dataclasses.replace(record, iterations=iterations, parities=parities)
    assert old.worst == {}
    assert "Nothing to compare yet" not in render(record)
    assert re.search(r'id="worst".*?did not note which', render(old), re.DOTALL)


def test_a_ring_in_a_parity_plot_leads_to_the_structure_on_the_page(record):
    page = render(record)
    links = set(re.findall(rf'href="#({ANCHOR}[^"]+)"', page))
    assert links == {f"{ANCHOR}{name}" for name in record.worst}
    assert all(f'<figure id="{link}">' in page for link in links)
    assert "_blank" not in page


def test_the_numbers_of_a_parity_plot_name_their_labels(record):
    table, structures = sections.worst(record)
    assert [row[-2] for row in table.rows] == list(record.worst)
    assert len(structures) == MOST
    assert "moments up to" in structures[0].caption


def test_a_calculation_is_named_from_the_directory_of_the_campaign(record, tmp_path):
    frame_id = record.usable[0].frame_id
    assert sections.calculation(record, frame_id) == "–"
    folder = tmp_path / "jobs" / "label_0-1" / f"label-{frame_id}"
    folder.mkdir(parents=True)
    jobs = (dataclasses.replace(record.jobs[0], directory=str(folder.parent)),)
    here = dataclasses.replace(record, directory=str(tmp_path), jobs=jobs)
    assert sections.calculation(here, frame_id) == f"jobs/label_0-1/label-{frame_id}"
