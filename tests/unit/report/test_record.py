from __future__ import annotations

import dataclasses
import json
from importlib import resources

import numpy as np
import pytest
from campaign_records import CALIBRATION, Builder, finished

from magflow.core.arrays import encode_arrays
from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, LevelOfTheory
from magflow.errors import InputError, MagflowError
from magflow.makers.documents import Purpose
from magflow.makers.packing import pack_candidates, pack_labelled
from magflow.presentation.formats import number, plural, seconds, without_ones
from magflow.report import headline, sections, tables
from magflow.report.page import render
from magflow.report.record import read_record

TEMPLATE = resources.files("magflow.campaign.templates").joinpath("model_hamiltonian.yaml").read_text()


@pytest.fixture
def prepared(tmp_path):
    """A campaign's directory before its first job."""
    from magflow.campaign.directory import CampaignDirectory
    from magflow.campaign.load import load_campaign

    file = tmp_path / "campaign.yaml"
    file.write_text(TEMPLATE)
    return CampaignDirectory.prepare(tmp_path / "run", file, load_campaign(file))


@pytest.fixture
def directory(prepared):
    """A campaign's directory with the documents of two iterations in its store, another campaign's among them."""
    here = prepared
    builder = Builder(batch=6, offered=30).iteration(0, failed=2).iteration(1)
    documents = []
    for record in (builder.record(), Builder(batch=6, offered=30).iteration(0).record()):
        mine = {} if documents else {"campaign": here.identity["id"]}
        documents += [_with_arrays(d).model_copy(update=mine) for d in record.documents()]
    store = here.store
    for n, document in enumerate(documents):
        task = {"uuid": f"job-{n}", "index": 1, "output": document.model_dump(mode="json")}
        store.update(task, key=["uuid", "index"], save={"data": ["arrays"]})
    return here.path


def _with_arrays(document):
    if document.doc_type == "selection":
        return document.model_copy(update={"arrays": encode_arrays({"grade": np.arange(30.0)})})
    if document.doc_type == "candidates":
        frames = [Frame(("Fe",), np.eye(3) * (2.5 + 0.01 * k), np.zeros((1, 3)), [2.0]) for k in range(30)]
        return document.model_copy(update={"arrays": pack_candidates(frames, ["domain"] * 30)})
    if document.doc_type == "label" and document.state == "ok":
        frame = Frame(("Fe",), np.eye(3) * np.cbrt(document.volume_per_atom), np.zeros((1, 3)), [2.0])
        label = Label(frame.frame_id, LevelOfTheory("abinit", "9.6.2", "constrained", "PBE"), energy=-8.1)
        return document.model_copy(update={"arrays": pack_labelled([LabeledFrame(frame, label)])})
    return document.model_copy(update={"arrays": document.arrays or encode_arrays({})})


def test_a_directory_is_read_whole(directory):
    record = read_record(directory)
    assert record.name == "model-hamiltonian"
    assert record.text == TEMPLATE
    assert record.targets == pytest.approx({"energy": 0.002, "forces": 0.02, "magnetic_forces": 0.01})
    assert (len(record.selections), len(record.candidates), len(record.models)) == (2, 2, 10)
    assert [d.iteration for d in record.iterations] == [0, 1]
    assert (len(record.usable), len(record.failed)) == (10, 2)
    assert record.pools[0]["volume"] == pytest.approx((2.5 + 0.01 * np.arange(30)) ** 3)
    assert record.pools[1]["moment_max"] == pytest.approx(np.full(30, 2.0))
    assert set(record.parities[0]) == set()
    assert len(record.parities[1]["forces_true"]) == 36
    assert set(record.frames) == set(record.worst) == set(record.iterations[1].assessed)
    volumes = {x.label_id: x.volume_per_atom for x in record.usable}
    assert all(frame.volume == pytest.approx(volumes[name]) for name, frame in record.frames.items())
    assert record.outcome is None
    assert record.jobs == ()
    assert record.campaign == json.loads((directory / "campaign.json").read_text())["id"]
    assert "model-hamiltonian" in render(record)


def test_the_command_writes_the_page(prepared, tmp_path):
    from typer.testing import CliRunner

    from magflow.cli.app import app

    directory = prepared.path
    result = CliRunner().invoke(app, ["report", str(directory)])
    assert result.exit_code == 0, result.output
    assert result.output.strip() == str(directory / "report.html")
    assert (directory / "report.html").read_text().startswith("<!doctype html>")
    other = tmp_path / "page.html"
    CliRunner().invoke(app, ["report", str(directory), "-o", str(other)])
    assert other.exists()


def test_no_campaign_is_a_clear_error(tmp_path):
    with pytest.raises(InputError, match="no campaign here"):
        read_record(tmp_path)


def test_a_damaged_store_is_a_clear_error(directory):
    for part in directory.glob("campaign.db*"):
        part.write_bytes(b"not a database" * 1000)
    with pytest.raises(MagflowError):
        read_record(directory)


def test_a_label_counts_once_however_often_it_was_tried():
    record = finished(1)
    ok, bad = record.usable[0], record.failed[0]
    again = ok.model_copy(update={"reused": True, "iteration": 3})
    later = bad.model_copy(update={"attempts": 9})
    healed = record.failed[1].model_copy(update={"state": "ok", "failure": None})
    more = dataclasses.replace(record, labels=(*record.labels, again, later, healed))
    assert len(more.usable) == len(record.usable) + 1
    assert not any(x.reused for x in more.usable)
    assert [x.attempts for x in more.failed] == [9]


def test_jobs_share_as_few_slots_as_ever_ran_at_once():
    start = np.array([0.0, 0.0, 1.0, 1.5, 5.0])
    end = np.array([1.0, 2.0, 3.0, 1.6, 6.0])
    assert sections._slots(start, end).tolist() == [0, 1, 0, 2, 0]


def test_foretold_uses_the_calibration_known_before():
    record = finished(3)
    rows = sections.foretold(record).rows
    assert [r[0] for r in rows] == [1, 2]
    first, second = (p["forces_deviation"] for p in record.parities[1:])
    expected = np.sqrt([np.mean(first**2), np.mean(CALIBRATION.of("forces").of(second) ** 2)])
    for row, foretold, document in zip(rows, expected, record.iterations[1:], strict=True):
        assert row[2] == f"{number(foretold * 1e3)} / {number(document.rmse['forces'] * 1e3)}"


def test_claims_are_told_for_typical_and_for_chosen_labels():
    _, table = sections.calibration(finished(3))
    rows = {(r[0], r[3]): r for r in table.rows}
    assert rows["Forces", "typical"] == ["Forces", "1.3", "2 meV/Å", "typical", 9, "61 %", "93 %", "0.44"]
    assert rows["Forces", "chosen"][4] == 16 and ("Energy", "chosen") not in rows


def test_compositions_share_a_reference_whatever_the_cell():
    assert sections.reduced_formula("Al2Fe4") == sections.reduced_formula("Al1Fe2") == "Al1Fe2"
    assert without_ones("Al1Fe1 FM") == "AlFe FM"
    assert without_ones("Al12Fe1 NM") == "Al12Fe NM"


def test_small_strata_are_drawn_together():
    record = finished(1)
    many = tuple(x.model_copy(update={"formula": f"Fe{n + 2}"}) for n, x in enumerate(record.usable))
    plot = sections.coverage(dataclasses.replace(record, labels=many))
    assert f"other ({len(many) - sections.MAX_STRATA})" in plot.svg


def test_level_of_theory_is_complete_and_units_stand_behind_values():
    level = {
        "code": "abinit",
        "parameters": {"ecut_ha": 10.0, "chksymbreak": False, "spins": {"Fe": 2.2}},
        "new": 3,
        "@class": "x",
    }
    rows = [tuple(r) for r in tables.level_of_theory(level).rows]
    assert rows == [("Code", "abinit"), ("chksymbreak", "no"), ("ecut", "10 Ha"), ("spins", "Fe 2.2"), ("new", "3")]


def test_labels_of_impossible_energies_are_named_on_the_first_screen():
    record = finished(1, jobs=False)
    assert tables.apart(record).rows == []
    assert "Labels that stand apart" not in render(record)
    wrong = next(x for x in record.labels if x.state == "ok")
    moved = wrong.model_copy(update={"energy_per_atom": wrong.energy_per_atom - 48.2})
    record = dataclasses.replace(record, labels=tuple(moved if x is wrong else x for x in record.labels))
    ((purpose, iteration, label, _, distance),) = tables.apart(record).rows
    assert (purpose, iteration, label) == ("campaign", wrong.iteration, wrong.label_id)
    assert float(distance.replace("−", "-")) == pytest.approx(-48.2, abs=0.5)
    page = render(record)
    assert page.index("1 label with an energy more than 3") < page.index("Labels that stand apart")


def test_members_are_those_of_the_newest_ensemble():
    record = finished(3, jobs=False)
    models = tuple(m.model_copy(update={"seed": 100 * m.iteration + m.member}) for m in record.models)
    rows = tables.models(dataclasses.replace(record, models=models)).rows
    assert [row[1] for row in rows] == [200, 201, 202, 203, 204]


def test_labels_beside_the_loop_have_their_share_of_the_cost():
    record = finished(1, jobs=False)
    spent = sum(sum(d.core_hours.values()) for d in record.iterations)
    beside = record.labels[0].model_copy(update={"purpose": Purpose.TEST, "core_hours": spent})
    phase, _, share = tables.cost(dataclasses.replace(record, beside=(beside,))).rows[-1]
    assert (phase, share) == ("test labels", "50.0 %")


def test_core_hours_count_labels_of_the_iteration_under_way():
    builder = Builder(batch=6, offered=30).iteration(0)
    before = headline.core_hours(builder.record())
    builder.label(1)
    record = builder.record()
    new = sum(x.core_hours for x in record.labels if x.iteration == 1)
    assert new > 0
    assert headline.core_hours(record) == pytest.approx(before + new)


def test_the_written_ensemble_is_named_with_its_command():
    first, line = headline.commands(dataclasses.replace(finished(1), ensemble="runs/my run/models"))
    assert first[1] == "magflow validate 'runs/my run/models' --quick"
    assert line[1] == "magflow predict 'runs/my run/models' frames.extxyz -o predicted.extxyz"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.23456, "1.23"),
        (0.0, "0"),
        (None, "–"),
        (float("nan"), "–"),
        (12345.6, "12300"),
        (1e-5, "1.00e-05"),
        (5.0, "5"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


def test_durations_and_plurals():
    assert [seconds(x) for x in (0.0123, 12.3, 240, 7200, 400_000)] == ["12.3 ms", "12.3 s", "4 min", "2 h", "4.63 d"]
    assert (plural(1, "label"), plural(2, "label")) == ("1 label", "2 labels")
