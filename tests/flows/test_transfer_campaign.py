"""A campaign that starts from non-magnetic labels, on the model Hamiltonian."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from ruamel.yaml import YAML
from running import run
from typer.testing import CliRunner

from magflow.api.opening import labels_of_file
from magflow.campaign.build import campaign_maker
from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.campaign.source import CampaignFileError
from magflow.cli.app import app
from magflow.core.label import LabelKind
from magflow.execution.campaign import failed_labels, retry_campaign, submit_campaign
from magflow.execution.local.reader import QueueReader
from magflow.execution.status import campaign_status
from magflow.makers.documents import Purpose
from magflow.report import headline, tables
from magflow.report.page import render
from magflow.report.record import read_record
from magflow.stores import contents, queries

pytestmark = pytest.mark.timeout(300)

TRANSFER = {"non_magnetic": 12, "test": 8}
REPLAYED = TRANSFER | {"replay": 0.5}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, write_campaign) -> tuple[Path, CampaignDirectory]:
    folder = tmp_path_factory.mktemp("transfer")
    file = write_campaign(folder / "tiny.yaml", transfer=TRANSFER)
    return file, run(file, folder / "run")


def test_every_iteration_is_held_against_its_control(finished):
    _, here = finished
    assert queries.outcome(here.store).reason == "label-budget"
    documents = queries.transfers(here.store)
    assert [d.iteration for d in documents] == [0, 1, 2]
    for document, labels in zip(documents, (10, 15, 20), strict=True):
        scratch, tuned = document.points
        assert (scratch["arm"], tuned["arm"]) == ("from scratch", "fine-tuned with replay")
        assert scratch["magnetic_labels"] == tuned["magnetic_labels"] == labels
        assert (scratch["non_magnetic_labels"], tuned["non_magnetic_labels"]) == (0, 12)
        assert all(tuned["rmse"][q] > 0 for q in ("energy", "forces", "stress", "magnetic_forces"))
        assert tuned["fit_cpu_seconds"] > 0 and tuned["cpu_hours"] > scratch["cpu_hours"] > 0
        assert document.test_labels == 8


def test_labels_beside_the_loop_are_neither_learnt_from_nor_counted(finished):
    _, here = finished
    of = {p: {d.label_id for d in queries.labels(here.store, criteria={"purpose": str(p)})} for p in Purpose}
    assert [len(of[p]) for p in (Purpose.CAMPAIGN, Purpose.PRETRAINING, Purpose.TEST)] == [20, 12, 8]
    assert not of[Purpose.TEST] & of[Purpose.CAMPAIGN]
    assert {item.label_id for item in contents.labelled_frames(here.store)} == of[Purpose.CAMPAIGN]
    status = campaign_status(here)
    assert (status.labels, status.state, queries.outcome(here.store).labels) == (20, "finished", 20)
    assert status.beside == {"pre-training": (12, 12), "test": (8, 8)}
    plain = queries.labels(here.store, criteria={"purpose": "pre-training"})
    assert {d.kind for d in plain} == {LabelKind.NON_MAGNETIC}


def test_the_cost_is_that_of_everything(finished):
    _, here = finished
    beside = sum(d.core_hours for d in queries.labels(here.store) if d.purpose is not Purpose.CAMPAIGN)
    loop = queries.iterations(here.store)[-1].core_hours_total
    assert campaign_status(here).core_hours == pytest.approx(loop + beside)
    record = read_record(here.path)
    assert headline.core_hours(record) == pytest.approx(loop + beside)
    assert [row[0] for row in tables.cost(record).rows][-2:] == ["pre-training labels", "test labels"]


def test_the_ensemble_of_the_campaign_is_the_fine_tuned_one(finished):
    _, here = finished
    members = queries.latest_models(here.store)
    assert [m.iteration for m in members] == [2, 2]
    assert {m.n_labels for m in members} == {20 + 12}
    everything = list(here.store.query({"output.doc_type": "reference-model"}, properties=["output.n_labels"]))
    assert sorted(d["output"]["n_labels"] for d in everything) == [10, 10, 12, 12, 15, 15, 20, 20]


@pytest.mark.parametrize(("form", "keeps"), [("extxyz", True), ("mlip-cfg", False), ("deepmd", False)])
def test_export_names_what_a_format_has_no_place_for(form, keeps, finished, tmp_path):
    _, here = finished
    result = CliRunner().invoke(app, ["export", str(here.path), "--format", form, "-o", str(tmp_path / "o"), "--json"])
    lost = json.loads(result.stdout)["lost"]
    assert (not lost) == keeps
    assert (f"{form} has no place for it" in result.stderr) == (not keeps)


def test_labels_beside_the_loop_can_be_taken_out_and_the_report_compares(finished, tmp_path):
    _, here = finished
    for purpose, number, kind in (("pre-training", 12, "non-magnetic"), ("test", 8, "constrained")):
        out = tmp_path / f"{purpose}.extxyz"
        result = CliRunner().invoke(app, ["export", str(here.path), "--purpose", purpose, "-o", str(out)])
        assert result.exit_code == 0, result.output
        labels = labels_of_file(out, mixed=False)
        assert len(labels) == number and labels.kinds == (LabelKind(kind),)
    page = render(read_record(here.path))
    assert "What the non-magnetic start saves" in page
    assert "fine-tuned with replay instead of from scratch" in page
    assert "8 magnetic labels" in page and "20 usable labels" in re.sub(r"<[^>]+>|\s+", " ", page).replace("  ", " ")


def test_running_again_computes_nothing_and_a_larger_budget_continues(finished, write_campaign, tmp_path):
    file, here = finished
    before = QueueReader(here.path).counts()
    assert submit_campaign(CampaignDirectory.prepare(here.path, file, load_campaign(file))) == 0
    assert QueueReader(here.path).counts() == before
    copy = tmp_path / "run"
    shutil.copytree(here.path, copy)
    larger = write_campaign(tmp_path / "tiny.yaml", transfer=TRANSFER, stop={"labels": 24})
    longer = run(larger, copy)
    points = queries.transfers(longer.store)[-1].points
    assert [p["magnetic_labels"] for p in points] == [24, 24]
    assert len(queries.labels(longer.store, criteria={"purpose": "test"})) == 8


def test_run_locally_agrees(finished):
    file, here = finished
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    run_locally(campaign_maker(load_campaign(file)).make(), store=store, ensure_success=True, log=False)
    for mine, theirs in zip(queries.transfers(store), queries.transfers(here.store), strict=True):
        for a, b in zip(mine.points, theirs.points, strict=True):
            assert a["rmse"] == pytest.approx(b["rmse"], rel=1e-6)


@pytest.mark.slow
def test_failures_beside_the_loop_cost_labels_and_nothing_else(write_campaign, tmp_path):
    file = write_campaign(tmp_path / "tiny.yaml", transfer=TRANSFER, label={"settings": {"failure_rate": 0.4}})
    here = run(file, tmp_path / "run")
    assert queries.outcome(here.store).reason == "label-budget"
    last = queries.transfers(here.store)[-1]
    usable = {p: len(queries.labels(here.store, criteria={"purpose": p, "state": "ok"})) for p in map(str, Purpose)}
    assert last.test_labels == usable["test"] < 8
    assert last.points[1]["non_magnetic_labels"] == usable["pre-training"] < 12
    failed = failed_labels(here)
    assert failed and {d.purpose for d in failed} == {Purpose.CAMPAIGN}
    assert retry_campaign(here)[0] == len(failed)


def test_a_family_without_moments_is_tuned_without_replay(write_campaign, tmp_path):
    file = write_campaign(tmp_path / "tiny.yaml", transfer=TRANSFER)
    content = YAML(typ="safe").load(file)
    content["train"] = {"family": "dp"}
    YAML(typ="safe").dump(content, file)
    assert campaign_maker(load_campaign(file)).iteration.train.replay == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": {"settings": {"kind": "non-magnetic"}}}, "magnetic labels in label.settings.kind"),
        (
            {"label": {"settings": {"kind": "spin-polarised"}}, "transfer": TRANSFER | {"replay": 0.5}},
            "replay: 0 unless",
        ),
        ({"train": {"family": "dp-spin", "settings": None}}, "a train.family that learns without"),
        ({"train": {"warm_start": True}}, "no train.warm_start"),
        ({"transfer": {"non_magnetic": 12}}, "transfer.test"),
    ],
)
def test_what_does_not_go_together_is_refused(write_campaign, tmp_path, changes, message):
    file = write_campaign(tmp_path / "tiny.yaml", **({"transfer": TRANSFER} | changes))
    content = YAML(typ="safe").load(file)
    content["train"]["settings"] = content["train"]["settings"] or {}
    YAML(typ="safe").dump(content, file)
    with pytest.raises(CampaignFileError, match=message):
        load_campaign(file)


def test_without_the_section_a_campaign_keeps_its_identity(write_campaign, tmp_path):
    plain = load_campaign(write_campaign(tmp_path / "a.yaml"))
    assert load_campaign(write_campaign(tmp_path / "b.yaml", transfer=None)).fingerprint == plain.fingerprint
    assert load_campaign(write_campaign(tmp_path / "c.yaml", transfer=TRANSFER)).fingerprint != plain.fingerprint
