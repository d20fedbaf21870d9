"""A campaign that measures what its potential is good for, on the model Hamiltonian."""

from __future__ import annotations

import json

import pytest
from running import work
from typer.testing import CliRunner

from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.cli.app import app
from magflow.execution.campaign import submit_campaign
from magflow.makers.documents import Purpose
from magflow.stores import contents, queries

pytestmark = pytest.mark.timeout(300)

REFERENCES = """magflow_references: 1
references:
- {property: equation-of-state, name: a0, of: {formula: Fe, magnetic_state: FM}, value: 2.84, unit: A, kind: DFT,
   source: the model Hamiltonian}
"""
VALIDATION = {
    "against": "dft",
    "properties": {"equation-of-state": {"points": 5}},
    "references": ["iron.yaml"],
}


def run(file, directory):
    here = CampaignDirectory.prepare(directory, file, load_campaign(file))
    new = submit_campaign(here)
    work(here)
    return here, new


@pytest.fixture(scope="module")
def finished(tmp_path_factory, write_campaign):
    """A campaign that ended, and was then asked what its potential is good for."""
    folder = tmp_path_factory.mktemp("validated")
    (folder / "iron.yaml").write_text(REFERENCES)
    loop = {
        "select": {"initial": 24},
        "stop": {"labels": 24},
        "train": {"settings": {"level": 8, "max_iterations": 30}},
    }
    plain = write_campaign(folder / "tiny.yaml", **loop)
    before, _ = run(plain, folder / "run")
    assert not queries.measurements(before.store, campaign=before.id)
    asked = write_campaign(folder / "asked.yaml", **loop, validation=VALIDATION)
    here, new = run(asked, folder / "run")
    assert here.id == before.id
    return folder, here, new, loop


def test_it_may_be_asked_of_a_finished_campaign(finished):
    folder, here, new, _ = finished
    found = queries.measurements(here.store, campaign=here.id)
    assert {(d.potential, d.structure, d.magnetic_state) for d in found} == {
        (potential, *crystal)
        for potential in ("campaign", "DFT")
        for crystal in (("B2-FeAl", "FM"), ("bcc-Fe", "FM"), ("bcc-Fe", "AFM"))
    }
    assert new > 0
    again, none = run(folder / "asked.yaml", folder / "run")
    assert none == 0
    assert len(queries.measurements(again.store, campaign=again.id)) == len(found)


def test_labels_of_the_configurations_count_against_no_budget(finished):
    _, here, *_ = finished
    labels = queries.labels(here.store, campaign=here.id)
    beside = [d for d in labels if d.purpose is Purpose.VALIDATION]
    assert {d.source for d in beside} == {"validation:B2-FeAl:equation-of-state", "validation:bcc-Fe:equation-of-state"}
    assert len([d for d in labels if d.purpose is Purpose.CAMPAIGN]) == 24
    assert len(contents.labelled_frames(here.store, campaign=here.id)) == 24


def test_dft_says_what_the_model_says(finished):
    _, here, *_ = finished
    found = queries.measurements(here.store, campaign=here.id)
    iron = {d.potential: d for d in found if d.structure == "bcc-Fe" and d.magnetic_state == "FM"}
    assert iron["DFT"].values["a0"] == pytest.approx(2.84, abs=0.02)
    assert iron["campaign"].values["a0"] == pytest.approx(iron["DFT"].values["a0"], abs=0.1)
    assert iron["campaign"].references[0]["value"] == 2.84


def test_report_and_query_show_it(finished):
    folder, *_ = finished
    page = CliRunner().invoke(app, ["report", str(folder / "run"), "-o", str(folder / "report.html")])
    assert page.exit_code == 0, page.output
    text = (folder / "report.html").read_text()
    assert "What the potential is good for" in text
    assert "(own DFT)" in text
    rows = CliRunner().invoke(
        app, ["query", str(folder / "run"), "measurements", "--where", "potential = DFT", "--json"]
    )
    assert rows.exit_code == 0, rows.output
    assert len(json.loads(rows.output)) == 3


def test_another_question_has_configurations_of_its_own(finished, write_campaign):
    """Last in this file: it adds measurements to the campaign of the others."""
    folder, _, _, loop = finished
    asked = VALIDATION | {"properties": {"equation-of-state": {"points": 7}}, "structures": ["bcc-Fe"]}
    here, new = run(write_campaign(folder / "again.yaml", **loop, validation=asked), folder / "run")
    assert new > 0
    found = [d for d in queries.measurements(here.store, campaign=here.id) if d.measurement]
    seven = [d for d in found if d.measurement["settings"]["points"] == 7]
    assert {(d.potential, d.structure) for d in seven} == {("campaign", "bcc-Fe"), ("DFT", "bcc-Fe")}
    labels = [d.measurement for d in seven if d.potential == "DFT"]  # what the potential says may have no minimum
    assert all(len(m["curves"]["energy"]["energy (eV/atom)"]) == 7 for m in labels if not m["failure"])
    assert any(not m["failure"] for m in labels)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"properties": ["equation-of-stat"]}, "equation-of-state"),
        ({"properties": {"equation-of-state": {"points": 2}}}, "points"),
        ({"structures": ["hcp-Fe"]}, "hcp-Fe"),
        ({"references": ["nowhere.yaml"]}, "nowhere.yaml"),
    ],
)
def test_mistakes_are_told_before_anything_runs(tmp_path, write_campaign, section, said):
    file = write_campaign(tmp_path / "tiny.yaml", validation=section)
    result = CliRunner().invoke(app, ["run", str(file), "--dir", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert said in result.output
