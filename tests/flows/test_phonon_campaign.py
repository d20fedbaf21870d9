"""A campaign whose finished potential learns force constants, on the model Hamiltonian."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
from running import run, work
from typer.testing import CliRunner

from magflow.api.finetuning import read_force_constants
from magflow.campaign.build import campaign_maker
from magflow.campaign.check import _phonons, check_campaign
from magflow.campaign.load import load_campaign
from magflow.campaign.phonons import PhononsSpec
from magflow.cli.app import app
from magflow.core.label import LabelKind
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.errors import InputError
from magflow.execution.campaign import failed_displacements, failed_labels, retry_campaign, submit_campaign
from magflow.execution.status import campaign_status
from magflow.makers.documents import Purpose
from magflow.makers.phonons import force_constants_of
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.nequip import NequipSpinFamily
from magflow.properties.displaced import columns_of, displaced_frames
from magflow.report.files import write_results
from magflow.stores import contents, queries
from magflow.studies.base import Traces
from magflow.studies.finetune.section import left_in, section

pytestmark = pytest.mark.timeout(300)

LOOP = {
    "select": {"initial": 10, "random_share": 0.0},
    "stop": {"labels": 10},
    "train": {"settings": {"level": 4, "max_iterations": 5}},
}
ASKED = {"structures": ["B2-FeAl"], "supercells": [[1, 1, 1]], "forgetting": 10.0}
"""So few labels and so small a potential forget more than the usual limit allows."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory, write_campaign):
    """A campaign that ended with its budget, was asked for force constants, and was then given labels for them."""
    folder = tmp_path_factory.mktemp("phonons")
    before = run(write_campaign(folder / "tiny.yaml", **LOOP), folder / "run")
    loop = queries.outcome(before.store, before.id)
    poor = run(write_campaign(folder / "poor.yaml", **LOOP, phonons=ASKED), folder / "run")
    refused = campaign_status(poor).phonons
    richer = LOOP | {"stop": {"labels": 13}}
    here = run(write_campaign(folder / "asked.yaml", **richer, phonons=ASKED), folder / "run")
    assert here.id == before.id
    return folder, here, loop, refused


def test_labels_count_against_the_budget(finished):
    _, here, _, refused = finished
    assert not refused["tuned"] and refused["reason"] == "there are no force constants"
    assert refused["left_out"]["B2-FeAl FM 1x1x1"] == "10 of stop.labels: 10 are spent, and it takes 1 more"
    labels = queries.labels(here.store, campaign=here.id)
    assert [d.purpose for d in labels].count(Purpose.PHONON) == 3
    assert {d.source for d in labels if d.purpose is Purpose.PHONON} == {"phonon:B2-FeAl FM 1x1x1"}
    assert len(contents.labelled_frames(here.store, campaign=here.id)) == 10
    status = campaign_status(here)
    assert (status.label_budget, status.beside) == (10, {"phonon": (3, 3)})


def test_force_constants_are_stored_and_are_those_of_the_engine(finished):
    _, here, _, _ = finished
    (refused, document) = queries.force_constants(here.store, campaign=here.id, arrays=True)
    assert (refused.state, document.state, document.rows, document.n_atoms) == ("refused", "ok", [0, 1], 2)
    label, engine = force_constants_of(document), SpinLatticeEngine()
    assert label.label_id == document.label_id
    level = engine.level_of_theory(["Al", "Fe"])
    h, sides = 1e-3, []
    for s in (1.0, -1.0):
        moved = label.frame.positions.copy()
        moved[1, 2] += s * h
        sides.append(engine.label(label.frame.replace(positions=moved), level, here.path).forces)
    expected = (sides[1] - sides[0]) / (2 * h)
    np.testing.assert_allclose(label.columns[5], expected, atol=0.02 * np.abs(expected).max())
    assert document.residual_force < 1e-6 and document.residual_stress_gpa < 2.0
    assert len(document.labels) == 1 + len(displaced_frames(label.frame, 0.01))


def test_the_tuned_ensemble_is_that_of_the_outcome_and_the_other_is_kept(finished):
    _, here, loop, _ = finished
    ended = queries.outcome(here.store, here.id)
    assert loop.tuned == "" and ended.untuned == loop.models and ended.tuned and ended.models != loop.models
    tuned, untuned = (contents.latest_ensemble(here.store, here.id, untuned=which) for which in (False, True))
    (document,) = queries.force_constants(here.store, criteria={"state": "ok"}, campaign=here.id, arrays=True)
    label = force_constants_of(document)
    off = {
        name: float(np.sqrt(np.mean((columns_of(one, label.frame, label.atoms) - label.columns) ** 2)))
        for name, one in {"before": untuned, "after": tuned}.items()
    }
    (crystal,) = campaign_status(here).phonons["crystals"]
    assert off == {name: pytest.approx(crystal[name]["rmse"]) for name in off}
    assert off["after"] < 0.2 * off["before"]
    shown = section(left_in(Traces(here.path, partial(queries.plain_documents, here.store, campaign=here.id))))
    assert [table.title for table in shown.tables] == ["Phonons", "Mean error over the crystals", "RMSE on labels"]
    assert [row[0] for row in shown.tables[2].table.rows] == ["cotrain"] * 4 + ["held back"] * 4


def test_status_tells_learning_curves_and_forgetting(finished):
    folder, *_ = finished
    told = json.loads(CliRunner().invoke(app, ["status", str(folder / "run"), "--json"]).stdout)["phonons"]
    assert told["tuned"] and not told["left_out"]
    assert set(told["forgetting"]) == {"cotrain", "held back"}
    assert set(told["forgetting"]["held back"]) == {"energy", "forces", "stress", "magnetic_forces"}
    assert len(told["objective"]) == 2 and all(curve[-1] < curve[0] for curve in told["objective"])
    shown = CliRunner().invoke(app, ["status", str(folder / "run")], env={"COLUMNS": "200"}).stdout
    assert "force constants" in shown and "held back" in shown


def test_force_constants_go_to_phonopy_and_back(finished, tmp_path):
    folder, here, _, _ = finished
    out = tmp_path / "phonons"
    told = CliRunner().invoke(app, ["export", str(folder / "run"), "--format", "phonopy", "-o", str(out)])
    assert told.exit_code == 0 and "force constants of 1 crystals" in told.stdout, told.output
    (document,) = queries.force_constants(here.store, criteria={"state": "ok"}, campaign=here.id, arrays=True)
    label = force_constants_of(document)
    (again,) = read_force_constants(out / "B2-FeAl_FM_1x1x1", clamped=True)
    rows = [label.atoms.tolist().index(atom) for atom in again.atoms]
    np.testing.assert_allclose(again.array, label.array[rows], atol=1e-9)
    np.testing.assert_allclose(again.frame.magmoms, label.frame.magmoms, atol=1e-6)
    wrong = CliRunner().invoke(app, ["export", str(folder / "run"), "-f", "phonopy", "--purpose", "test", "-o", "x"])
    assert wrong.exit_code == 2 and "exclude each other" in wrong.stderr


def test_a_second_submission_adds_nothing(finished):
    _, here, _, _ = finished
    assert submit_campaign(here) == 0


@pytest.mark.slow
def test_what_would_be_forgotten_lowers_the_weight_and_then_leaves_the_potential(finished, write_campaign):
    """Last of this campaign: it is asked again. Labels that are there are not paid again."""
    folder, here, loop, _ = finished
    paid = sum(d.core_hours for d in queries.labels(here.store, campaign=here.id))
    loop_again, strict = LOOP | {"stop": {"labels": 13}}, ASKED | {"forgetting": 0.0, "weight": 1.6e6}
    run(write_campaign(folder / "again.yaml", **loop_again, phonons=strict), folder / "run")
    assert sum(d.core_hours for d in queries.labels(here.store, campaign=here.id)) == paid
    found = queries.tuning(here.store, here.id)
    assert [one["weight"] for one in found.tried] == [1.6e6, 4e5, 1e5, 2.5e4]
    assert all(one["forgetting"] > 0.0 for one in found.tried)
    assert not found.tuned and "phonons.forgetting allows 0 %" in found.reason
    ended = queries.outcome(here.store, here.id)
    assert (ended.models, ended.tuned, ended.untuned) == (loop.models, "", [])
    shown = section(left_in(Traces(here.path, partial(queries.plain_documents, here.store, campaign=here.id))))
    assert "the ensemble is as it was" in dict(shown.remarks)


def _first_atom_displaced(frame) -> bool:
    """In a cubic cell, which no frame of the loop has."""
    away = frame.positions[0] - frame.cell @ np.rint(np.linalg.solve(frame.cell, frame.positions[0]))
    return np.allclose(frame.cell, frame.cell[0, 0] * np.eye(3)) and 1e-3 < np.linalg.norm(away) < 0.1


@pytest.mark.slow
def test_failed_labels_of_displaced_atoms_are_offered_again(tmp_path, write_campaign, monkeypatch):
    monkeypatch.setattr(SpinLatticeEngine, "_draw", lambda self, frame: 0.0 if _first_atom_displaced(frame) else 1.0)
    fails = {"label": {"settings": {"failure_rate": 0.5}}}
    file = write_campaign(tmp_path / "tiny.yaml", **LOOP | {"stop": {"labels": 13}}, **fails, phonons=ASKED)
    here = run(file, tmp_path / "run")
    assert not failed_labels(here) and {d.failure for d in failed_displacements(here)} == {"scf-unconverged"}
    (before,) = queries.force_constants(here.store, campaign=here.id)
    assert before.rows == [1] and len(before.failed) == len(failed_displacements(here)) == 1
    assert retry_campaign(here, "time-limit") == (0, 0)
    monkeypatch.setattr(SpinLatticeEngine, "_draw", lambda self, frame: 1.0)
    assert retry_campaign(here) == (1, 0)
    work(here)
    assert not failed_displacements(here) and retry_campaign(here) == (0, 0)
    _, after = sorted(queries.force_constants(here.store, campaign=here.id), key=lambda d: d.created_at)
    assert after.rows == [0, 1] and not after.failed and set(before.labels) < set(after.labels)
    again = [d for d in queries.labels(here.store, campaign=here.id) if d.purpose is Purpose.PHONON][3:]
    assert sorted(d.reused for d in again) == [False, True, True], "labels that were there were computed again"
    ended = queries.outcome(here.store, here.id)
    assert ended.tuned and ended.tuned == queries.tuning(here.store, here.id).which


@pytest.mark.slow
def test_a_validation_is_of_the_tuned_ensemble(tmp_path, write_campaign):
    asked = {"phonons": ASKED, "validation": {"properties": {"equation-of-state": {"points": 5}}}}
    loop = LOOP | {"stop": {"labels": 13}}
    here = run(write_campaign(tmp_path / "tiny.yaml", **loop, **asked), tmp_path / "run")
    ended = queries.outcome(here.store, here.id)
    assert ended.tuned
    assert len(queries.measurements(here.store, campaign=here.id)) == 3
    maker = campaign_maker(here.spec, here.id)
    jobs = {job.uuid for job in maker.validation(ended).jobs}
    assert jobs.isdisjoint(job.uuid for job in maker.validate.flow(ended.untuned, {}, ended.iteration).jobs)
    assert jobs == {d["uuid"] for d in here.store.query({"output.doc_type": "measurement"})}
    write_results(here)
    tuned, untuned = (PotentialEnsemble.load(place) for place in (here.models, here.untuned))
    assert tuned.identity != untuned.identity
    assert "Phonons and labels before and after" in here.report.read_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"phonons": {}}, "supercells"),
        ({"phonons": {"supercells": []}}, "supercells"),
        ({"phonons": ASKED | {"structures": ["hcp-Fe"]}}, "hcp-Fe"),
        ({"phonons": ASKED | {"displacement": 0.5}}, "displacement"),
        ({"phonons": ASKED, "stop": {"core_hours": 2.0}}, "phonons.core_hours below stop.core_hours"),
        ({"phonons": ASKED | {"core_hours": 1.0}}, "without stop.core_hours"),
        ({"phonons": ASKED, "train": {"family": "sgp", "settings": None}}, "learn from no force constants"),
        (
            {"phonons": ASKED, "label": {"settings": {"kind": "spin-polarised"}}},
            "moments of spin-polarised labels follow the atoms",
        ),
    ],
)
def test_mistakes_are_told_in_one_line_before_anything_runs(tmp_path, write_campaign, changes, said):
    file = write_campaign(tmp_path / "tiny.yaml", **changes)
    file.write_text(file.read_text().replace("settings: null", "settings: {}"))
    with pytest.raises(InputError) as caught:
        spec = load_campaign(file)
        failed = [probe for probe in _phonons(spec) if not probe.ok]
        raise InputError(failed[0].detail)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_the_loop_needs_labels_of_its_own(tmp_path, write_campaign):
    spec = load_campaign(write_campaign(tmp_path / "tiny.yaml", phonons=ASKED, stop={"labels": 10}))
    (budget,) = [probe for probe in check_campaign(spec, tmp_path) if probe.name == "budget"]
    assert not budget.ok and "without the labels for force constants (7)" in budget.detail


def test_check_counts_labels_and_the_loop_keeps_to_the_rest(tmp_path, write_campaign):
    file = write_campaign(tmp_path / "tiny.yaml", phonons={"supercells": [[1, 1, 2]]})
    spec = load_campaign(file)
    probes = {p.name: p.detail for p in check_campaign(spec, tmp_path)}
    assert probes["crystals"] == "3 crystals of up to 4 atoms, 7 labels"
    assert campaign_maker(spec).iteration.assess.stop.labels == 20 - 7
    plain = load_campaign(write_campaign(tmp_path / "plain.yaml"))
    assert plain.fingerprint == spec.fingerprint


def test_beside_force_constants_all_labels_but_energies_weigh_twice(tmp_path, write_campaign):
    spec = load_campaign(write_campaign(tmp_path / "tiny.yaml", phonons=ASKED))
    weights, own = spec.phonons.family(spec.family()).weights, spec.family().weights
    assert (weights.force_constants, weights.stress) == (20.0, 2.0 * own.stress)
    assert (weights.energy, weights.forces) == (own.energy, 2.0 * own.forces)
    assert weights.magnetic_forces == 2.0 * own.magnetic_forces
    tuned = PhononsSpec(supercells=((1, 1, 1),), weight=30.0).family(NequipSpinFamily())
    weights = tuned.finetuning.weights
    assert (weights.force_constants, weights.stress, weights.forces, weights.energy) == (30.0, 100.0, 400.0, 500.0)
    with pytest.raises(InputError, match="follow the atoms"):
        spec.phonons.check_moments(SpinLatticeEngine(kind=LabelKind.SPIN_POLARISED), spec.family())
