"""Assessment: the errors of the old ensemble on the new labels, their calibration, and what the iteration cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jobflow import Job, OutputReference, job

from magflow.core.arrays import decode_arrays, encode_arrays
from magflow.core.calibration import Calibration
from magflow.core.comparison import parity
from magflow.core.label import LabeledFrame, LevelOfTheory
from magflow.core.prediction import QUANTITIES
from magflow.makers import roles
from magflow.makers.base import Campaign, PluginMaker, prepare, references
from magflow.makers.documents import BatchDoc, IterationDoc, ModelDoc
from magflow.makers.ensembles import dataset_of, ensemble_of
from magflow.makers.packing import unpack_labelled
from magflow.makers.unseen import unseen_by_ensemble
from magflow.potentials.ensemble import as_labelled
from magflow.select.assessment import Assessment, assess
from magflow.select.domain_error import SCATTER, UNSEEN_SCATTER, Judged, domain_errors, judge_labels, newest, upper_ends
from magflow.select.evidence import Evidence
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
        learnt: list[BatchDoc] | None = None,
    ) -> IterationDoc:
        """Errors, calibration, cost and the decision of one iteration.

        Parameters
        ----------
        learnt
            All batches that the new models have learnt from; without them only `batch` is looked at, as it came.
        selection
            ``offered``, ``selected``, ``drawn``, ``exhausted``, and wall seconds of exploration and selection:
            ``explore_seconds``, ``select_seconds``.
        """
        items = unpack_labelled(batch.arrays)
        before = Calibration.from_dict({} if previous is None else previous.calibration)
        evidence = Evidence.none() if previous is None else Evidence.from_arrays(decode_arrays(previous.arrays))
        judged = [Judged.from_dict(j) for j in previous.judged] if previous else []
        found = None
        if items and _comparable(old_models, items):
            found = _judge(old_models, items, selection.get("drawn", ()), before, iteration)
            judged = newest([*judged, *found.drawn])
            evidence = evidence.followed_by(found.evidence)
        drawn = [*(previous.drawn if previous else ()), *selection.get("drawn", ())]
        unseen = _unseen(new_models, learnt or [], drawn, iteration)
        judged = unseen or judged
        rmse, domain = {} if found is None else found.rmse, domain_errors(judged, UNSEEN_SCATTER if unseen else SCATTER)
        within = found is not None and (self.stop.within(rmse) or self.stop.within(upper_ends(domain)))
        streak = (previous.streak if previous else 0) + 1 if within else 0
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
            assessment=None if found is None else found.assessment.as_dict(),
            assessed=[] if found is None else [item.label.label_id for item in items],
            calibration=(before if found is None else evidence.calibration()).as_dict(),
            reliability={which: {q: r.as_dict() for q, r in of.items()} for which, of in evidence.claims().items()},
            rmse=rmse,
            drawn=drawn,
            judged=[asdict(j) for j in judged],
            domain={q: asdict(e) for q, e in domain.items()},
            within_target=within,
            streak=streak,
            train_rmse=_mean_rmse(new_models),
            core_hours=hours,
            core_hours_total=total,
            stop=None if decision is None else decision[0],
            explanation=None if decision is None else decision[1],
            arrays=encode_arrays(evidence.arrays() | ({} if found is None else found.arrays)),
        )

    def after(
        self,
        old: list[str],
        new: list[Job],
        learnt: list[str],
        batch: Job,
        explore: Job,
        select: Job,
        previous: str | None,
        iteration: int,
    ) -> Job:
        """The job that assesses one iteration, wired to its parents; `learnt` are the batches of the new models."""
        selection = {
            "offered": select.output.offered,
            "selected": select.output.selected,
            "drawn": select.output.drawn,
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
            references(learnt),
        )
        return prepare(made, self.campaign, roles.assess(iteration))


@dataclass(frozen=True, eq=False)
class _Found:
    """What an ensemble was off by on new labels.

    `rmse` is of the chosen ones, of all where none was drawn; `drawn`: of each of the random ones.
    """

    assessment: Assessment
    rmse: dict[str, float]
    drawn: list[Judged]
    evidence: Evidence
    arrays: dict[str, np.ndarray]


def _judge(
    models: Sequence[ModelDoc],
    items: Sequence[LabeledFrame],
    drawn: Collection[str],
    before: Calibration,
    iteration: int,
) -> _Found:
    prediction = as_labelled(ensemble_of(models), items)
    judged = judge_labels(prediction, items, iteration)
    at_random = [item.frame.frame_id in drawn for item in items]
    chosen = [j for j, r in zip(judged, at_random, strict=True) if not r]
    return _Found(
        assess(prediction, items),
        {q: e.rmse for q, e in domain_errors(chosen or judged).items()},
        [j for j, r in zip(judged, at_random, strict=True) if r],
        Evidence.of(prediction, before, items, drawn, iteration),
        parity(prediction, items),
    )


def _unseen(
    models: Sequence[ModelDoc], batches: Sequence[BatchDoc], drawn: Collection[str], iteration: int
) -> list[Judged]:
    """What new models are off by on each random label, by fits to the others; none if they do not tell."""
    items = list(dataset_of(batches)) if batches else []
    at_random = [item for item in items if item.frame.frame_id in set(drawn)]
    said = unseen_by_ensemble(models, at_random)
    return [] if said is None else judge_labels(said, at_random, iteration)


def _comparable(models: Sequence[ModelDoc], items: Sequence[LabeledFrame]) -> bool:
    """Whether there are models, fitted at the level of theory of the labels: energies of two levels do not compare."""
    levels = {item.label.level_of_theory for item in items}
    return bool(models) and levels == {LevelOfTheory.from_dict(models[0].level_of_theory)}


def _mean_rmse(models: Sequence[ModelDoc]) -> dict[str, float]:
    trained = [m.rmse.get("train", {}) for m in models]
    return {q: float(np.mean([r[q] for r in trained])) for q in QUANTITIES if trained and all(q in r for r in trained)}
