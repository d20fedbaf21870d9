"""Labels and the potential that are kept with the workflows: they can be read, belong together, are as is said."""

from pathlib import Path

import numpy as np
import pytest

import magflow
from magflow.campaign.dichotomy import load_dichotomy
from magflow.campaign.load import load_campaign
from magflow.core.comparison import rmse
from magflow.core.label import LabelKind

WORKFLOWS = Path(__file__).parents[2] / "workflows"
FEAL = WORKFLOWS / "results" / "feal"


@pytest.fixture(scope="module")
def potential():
    return magflow.load(FEAL / "potential")


def test_labels_are_at_the_level_of_theory_of_their_campaign():
    labels = magflow.read_labels(FEAL / "labels.extxyz")
    assert len(labels) == 155
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
    assert abs(off[2.2]) < 0.5
    assert max(map(abs, off.values())) == pytest.approx(6.9, abs=0.1)
    assert np.sign(off[2.8]) < 0


def test_labels_of_the_dichotomy_are_of_its_kinds():
    spec = load_dichotomy(WORKFLOWS / "fe_dichotomy.yaml")
    (file,) = spec.labels
    labels = magflow.read_labels(file, mixed=True)
    levels = {item.label.level_of_theory for item in labels}
    assert {level.kind for level in levels} <= set(spec.label.kinds)
    for level in levels:
        assert level.parameters["ecut_ha"] == spec.label.settings.ecut_ha
