"""What decides a training, and what marks a member of it as finished. Nothing is fitted here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mmtp_models import random_potential
from mmtp_toy import toy_labels

from magflow.core.dataset import Dataset
from magflow.core.force_constants import ForceConstantLabel
from magflow.core.label import Cost
from magflow.core.protocols import FitReport
from magflow.potentials import training
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.members import member_seed
from magflow.potentials.mmtp import MmtpFamily
from magflow.potentials.training import MODEL, REPORT, EnsembleTask, train_ensemble

LABELS = Dataset(toy_labels(4, seed=1))
START = PotentialEnsemble((random_potential(seed=1), random_potential(seed=2)), "mmtp")
FRAME = LABELS[0].frame
CONSTANTS = ForceConstantLabel(FRAME, LABELS[0].label.level_of_theory, np.array([0]), np.ones((1, len(FRAME), 3, 3)))
TASK = EnsembleTask(MmtpFamily(), LABELS, ("Al", "Fe"), members=2, seed=1, start=START)


@pytest.mark.parametrize(
    "change",
    [
        {"start": None},
        {"start": replace(START, members=START.members[::-1])},
        {"seed": 2},
        {"bagging": False},
        {"validation": 0.1},
        {"members": 3},
        {"elements": ("Al", "Fe", "Ni")},
        {"dataset": LABELS[:3]},
        {"family": MmtpFamily(level=6)},
        {"seeds": (1, 2)},
        {"force_constants": (CONSTANTS,)},
    ],
)
def test_whatever_decides_the_result_is_in_the_key(change):
    assert replace(TASK, seed=1).key == TASK.key
    assert replace(TASK, **change).key != TASK.key


def test_each_member_starts_from_its_own_and_is_finished_once_its_report_is_there(tmp_path, monkeypatch):
    started: list[object] = []
    written: list[str] = []
    report = FitReport(converged=True, iterations=1, rmse={}, cost=Cost(1.0, 1.0))

    def fit(family, dataset, *, member, start, **how):
        started.append(start)
        return start, report

    replaced = training.replace_file
    monkeypatch.setattr(training, "fit_member", fit)
    monkeypatch.setattr(training, "replace_file", lambda path, data: written.append(path.name) or replaced(path, data))
    ensemble, _ = train_ensemble(TASK, tmp_path)
    assert started == list(START.members)
    assert written[1:] == [MODEL, REPORT] * 2
    assert [m.to_bytes() for m in ensemble.members] == [m.to_bytes() for m in START.members]


@pytest.mark.parametrize("seeds", [(), (4, 9)])
def test_an_ensemble_names_the_seed_that_each_member_was_fitted_with(tmp_path, monkeypatch, seeds):
    drawn: list[int] = []

    def fit(family, dataset, *, seed, member, start, **how):
        drawn.append(member_seed(seed, member))
        return start, FitReport(converged=True, iterations=1, rmse={}, cost=Cost(1.0, 1.0))

    monkeypatch.setattr(training, "fit_member", fit)
    ensemble, _ = train_ensemble(replace(TASK, seeds=seeds), tmp_path)
    assert ensemble.metadata["member_seeds"] == drawn and len(set(drawn)) == 2
    assert ensemble.metadata.get("seeds", []) == list(seeds)
