"""Assessment: the errors of the old ensemble on the new labels, their calibration, and what the iteration cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jobflow import Job, OutputReference, job

from magflow.core.arrays import encode_arrays
from magflow.core.comparison import parity
from magflow.core.label import LabeledFrame, LevelOfTheory
from magflow.core.prediction import QUANTITIES
from magflow.makers import roles
from magflow.makers.base import Campaign, PluginMaker, prepare, references
from magflow.makers.documents import BatchDoc, IterationDoc, ModelDoc
from magflow.makers.packing import unpack_labelled
from magflow.makers.train import ensemble_of
from magflow.potentials.ensemble import as_labelled
from magflow.select.calibration import assess
from magflow.select.stopping import Progress, StopRules, decide


@dataclass(kw_only=True)
class AssessMaker(PluginMaker):
    """Writes the document that decides whether to go on.

    Parameters
    ----------
    stop
        Targets and budgets.
    """

    campaign: Campaign
    stop: StopRules
    name: str = "assess"

    @job(data="arrays")
    def make(
        self,
        old_models: list[ModelDoc],
        new_models: list[ModelDoc],
        batch: BatchDoc,
        selection: dict[str, Any],
        previous: IterationDoc | None,
        iteration: int,
    ) -> IterationDoc:
        """Errors, calibration, cost and the decision of one iteration.

        Parameters
        ----------
        selection
            ``offered``, ``selected``, ``exhausted``, and wall seconds of exploration and selection: ``seconds``.
        """
        items = unpack_labelled(batch.arrays)
        before = {} if previous is None else previous.calibration
        assessment, arrays = None, {}
        if items and _comparable(old_models, items):
            prediction = as_labelled(ensemble_of(old_models), items)
            assessment = assess(prediction, items, previous=before)
            arrays = parity(prediction, items)
        rmse = {} if assessment is None else dict(assessment.rmse)
        streak = self.stop.streak(rmse, previous.streak if previous else 0)
        hours = {
            "explore": selection["explore_seconds"] / 3600,
            "select": selection["select_seconds"] / 3600,
            "label": batch.core_hours,
            "train": sum(m.wall_seconds for m in new_models) / 3600,
        }
        labels = (previous.labels_total if previous else 0) + len(items)
        attempted = (previous.labels_attempted if previous else 0) + len(items) + len(batch.failed)
        total = (previous.core_hours_total if previous else 0.0) + sum(hours.values())
        decision = decide(Progress(iteration, streak, bool(selection["exhausted"]), attempted, total), self.stop)
        return IterationDoc(
            campaign=self.campaign.id,
            iteration=iteration,
            offered=selection["offered"],
            selected=len(selection["selected"]),
            labels_new=len(items),
            labels_failed=len(batch.failed),
            labels_total=labels,
            labels_attempted=attempted,
            failures=dict(Counter(batch.failed.values())),
            exhausted=selection["exhausted"],
            assessment=None if assessment is None else assessment.as_dict(),
            calibration=before if assessment is None else assessment.factors,
            rmse=rmse,
            within_target=self.stop.within(rmse),
            streak=streak,
            train_rmse=_mean_rmse(new_models),
            core_hours=hours,
            core_hours_total=total,
            stop=None if decision is None else decision[0],
            explanation=None if decision is None else decision[1],
            arrays=encode_arrays(arrays),
        )

    def after(
        self,
        old: list[str],
        new: list[Job],
        batch: Job,
        explore: Job,
        select: Job,
        previous: str | None,
        iteration: int,
    ) -> Job:
        """The job that assesses one iteration, wired to its parents."""
        selection = {
            "offered": select.output.offered,
            "selected": select.output.selected,
            "exhausted": select.output.exhausted,
            "explore_seconds": explore.output.wall_seconds,
            "select_seconds": select.output.wall_seconds,
        }
        made = self.make(
            references(old),
            [j.output for j in new],
            batch.output,
            selection,
            None if previous is None else OutputReference(previous),
            iteration,
        )
        return prepare(made, self.campaign, roles.assess(iteration))


def _comparable(models: Sequence[ModelDoc], items: Sequence[LabeledFrame]) -> bool:
    """Whether there are models, fitted at the level of theory of the labels: energies of two levels do not compare."""
    levels = {item.label.level_of_theory for item in items}
    return bool(models) and levels == {LevelOfTheory.from_dict(models[0].level_of_theory)}


def _mean_rmse(models: Sequence[ModelDoc]) -> dict[str, float]:
    trained = [m.rmse.get("train", {}) for m in models]
    return {q: float(np.mean([r[q] for r in trained])) for q in QUANTITIES if trained and all(q in r for r in trained)}
