"""Labels and the potential that are kept with the workflows: they can be read, belong together, are as is said."""

from pathlib import Path

import pytest

import magflow
from magflow.campaign.dichotomy import load_dichotomy
from magflow.campaign.load import load_campaign
from magflow.core.comparison import rmse
from magflow.core.label import LabelKind
from magflow.core.units import EV_PER_A3_IN_GPA

WORKFLOWS = Path(__file__).parents[2] / "workflows"
FEAL = WORKFLOWS / "results" / "feal"


@pytest.fixture(scope="module")
def potential():
    return magflow.load(FEAL / "potential")


def test_labels_are_at_the_level_of_theory_of_their_campaign():
    labels = magflow.read_labels(FEAL / "labels.extxyz")
    assert len(labels) == 195
    (level,) = {item.label.level_of_theory for item in labels}
    settings = load_campaign(WORKFLOWS / "feal.yaml").label.settings
    for name in ("ecut_ha", "pawecutdg_ha", "ecutsm_ha", "tsmear_ha", "tolvrs"):
        assert level.parameters[name] == getattr(settings, name)
    assert level.kind == settings.kind == LabelKind.CONSTRAINED


def test_the_potential_meets_the_labels_it_learnt_from(potential):
    labels = magflow.read_labels(FEAL / "labels.extxyz")
    errors = rmse(potential.predict([item.frame for item in labels]), list(labels))
    assert errors["energy"] < 0.005
    assert errors["forces"] < 0.055


def test_energies_of_moments_it_never_saw_are_off_by_no_more_than_is_said(potential):
    labels = magflow.read_labels(FEAL / "moments.extxyz")
    found = potential.predict([item.frame for item in labels]).mean.energy
    off = {
        round(float(item.frame.magmoms[0, 2]), 1): 500.0 * (float(e) - item.label.energy)
        for item, e in zip(labels, found, strict=True)
    }
    assert abs(off[2.8]) == max(map(abs, off.values())) == pytest.approx(4.0, abs=0.06)
    assert max(abs(x) for m, x in off.items() if m not in (1.5, 2.5, 2.8)) < 2.3


def test_errors_on_frames_of_the_quick_campaign_are_as_is_said(potential):
    labels = magflow.read_labels(FEAL / "quick_domain.extxyz")
    learnt = {item.frame.frame_id for item in magflow.read_labels(FEAL / "labels.extxyz")}
    assert len(labels) == 24 and not learnt & {item.frame.frame_id for item in labels}
    found = rmse(potential.predict([item.frame for item in labels]), list(labels))
    assert 1e3 * found["energy"] == pytest.approx(3.5, abs=0.06)
    assert 1e3 * found["forces"] == pytest.approx(33, abs=0.5)
    assert EV_PER_A3_IN_GPA * found["stress"] == pytest.approx(0.64, abs=0.006)
    assert 1e3 * found["magnetic_forces"] == pytest.approx(32, abs=0.5)


def test_labels_of_the_dichotomy_are_of_its_kinds():
    spec = load_dichotomy(WORKFLOWS / "fe_dichotomy.yaml")
    (file,) = spec.labels
    labels = magflow.read_labels(file, mixed=True)
    levels = {item.label.level_of_theory for item in labels}
    assert {level.kind for level in levels} <= set(spec.label.kinds)
    for level in levels:
        assert level.parameters["ecut_ha"] == spec.label.settings.ecut_ha
