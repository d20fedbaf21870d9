"""Selection: which of the candidates to label, with a recorded reason for every one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
from jobflow import Job, job

from magflow.core.arrays import encode_arrays
from magflow.core.frame import Frame, unique_frames
from magflow.core.label import LabeledFrame, LabelKind
from magflow.core.prediction import QUANTITIES
from magflow.core.protocols import PotentialFamily
from magflow.core.undecided import TellsUndecided, Undecided
from magflow.core.unseen import TellsUnseen
from magflow.explore.watching import grader_of
from magflow.makers import roles
from magflow.makers.base import Campaign, PluginMaker, Stopwatch, prepare, references
from magflow.makers.design import ALIKE, alike, label_costs
from magflow.makers.documents import BatchDoc, CandidatesDoc, IterationDoc, ModelDoc, SelectionDoc
from magflow.makers.ensembles import ensemble_of
from magflow.makers.offered import verdicts
from magflow.makers.packing import unpack_candidates, unpack_failed, unpack_labelled
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.select.offered import Offered
from magflow.select.pipeline import select
from magflow.select.reasons import Reason
from magflow.select.sanity import insane
from magflow.select.settings import SelectSettings, Strategy


@dataclass(kw_only=True)
class SelectMaker(PluginMaker):
    """Chooses the frames to label.

    Parameters
    ----------
    settings
        :class:`~magflow.select.settings.SelectSettings`.
    targets
        RMSE aimed at, by quantity, house units (energy in eV/atom).
    label_budget
        Labels the campaign may make in all; None: no limit.
    family
        What learns: one that can tell what labels leave undecided chooses by expected errors. None: by deviation.
    kind
        Of the labels, a :class:`~magflow.core.label.LabelKind`.
    core_seconds
        What a label costs, as far as the campaign file says: of all, or by composition.
    """

    settings: SelectSettings
    campaign: Campaign
    targets: dict[str, float] = field(default_factory=dict)
    label_budget: int | None = None
    family: PotentialFamily | None = None
    kind: str = "constrained"
    core_seconds: float | dict[str, float] | None = None
    name: str = "select"

    @job(data="arrays")
    def make(
        self,
        candidates: CandidatesDoc,
        batches: list[BatchDoc],
        models: list[ModelDoc],
        previous: IterationDoc | None,
        iteration: int,
    ) -> SelectionDoc:
        """Choose the batch of one iteration."""
        frames, sources = unpack_candidates(candidates.arrays)
        labelled = [item for b in batches for item in unpack_labelled(b.arrays)]
        # Targets too: free moments end elsewhere, and the same start must not be offered again.
        known = unique_frames([f for item in labelled for f in (item.configuration, item.frame)])
        known += [frame for b in batches for frame in unpack_failed(b.arrays)]
        with Stopwatch() as watch:
            ensemble = ensemble_of(models, None if previous is None else previous.calibration) if models else None
            offered = replace(
                offer(frames, sources, ensemble),
                undecided=self.undecided(frames, labelled, ensemble),
                costs=label_costs(frames, self.core_seconds, labelled),
            )
            grader = None if ensemble is None else grader_of(ensemble)
            spent = 0 if previous is None else previous.labels_attempted
            choose = partial(
                select,
                known=known,
                known_descriptors=None if grader is None else grader.descriptors(known),
                settings=self.settings if models else self.first_settings,
                targets=self.targets,
                budget=None if self.label_budget is None else max(0, self.label_budget - spent),
                seed=self.campaign.seed_for("select", iteration),
            )
            selection = choose(offered)
            if selection.exhausted and ensemble is not None and not batches:
                # An ensemble of another level of theory is sure of everything: no evidence about this level.
                offered = replace(offered, deviations=None)
                selection = choose(offered)
        chosen = [int(i) for i in selection.selected]
        return SelectionDoc(
            campaign=self.campaign.id,
            iteration=iteration,
            offered=len(frames),
            selected=[frames[i].frame_id for i in chosen],
            rows=chosen,
            sources=[sources[i] for i in chosen],
            drawn=[frames[i].frame_id for i in chosen if selection.reasons[i] is Reason.DRAWN],
            reasons=dict(Counter(str(r) for r in selection.reasons)),
            strata=dict(Counter(selection.strata[i] for i in chosen)),
            trust={q: (float(lo), float(hi)) for q, (lo, hi) in selection.trust.items()},
            exhausted=selection.exhausted,
            criterion=_criterion(self.settings, offered),
            wall_seconds=watch.wall_seconds,
            cpu_seconds=watch.cpu_seconds,
            arrays=encode_arrays(verdicts(offered, selection)),
        )

    @property
    def first_settings(self) -> SelectSettings:
        """Before there is an ensemble; no random labels for a family that never judges what it has learnt from."""
        judged = isinstance(self.family, TellsUnseen)
        return self.settings if judged else self.settings.model_copy(update={"random_share": 0.0})

    def undecided(
        self, frames: list[Frame], labelled: list[LabeledFrame], ensemble: PotentialEnsemble | None
    ) -> Undecided | None:
        """What all labels so far leave undecided around the first member, or the prior before there is any label.

        None if the family cannot tell, or where labels of another level of theory are all there are.
        """
        if self.settings.strategy is not Strategy.ACTIVE or not isinstance(self.family, TellsUndecided):
            return None
        seed = self.campaign.seed_for("undecided")
        if ensemble is not None:
            return self.family.undecided(ensemble.members[0], labelled, seed=seed) if labelled else None
        sample = frames[:: max(1, len(frames) // ALIKE)]
        sane = [f for f, reason in zip(sample, insane(sample, self.settings.sanity), strict=True) if reason is None]
        kind = LabelKind(self.kind)
        if not sane or (kind is not LabelKind.NON_MAGNETIC and any(f.magmoms is None for f in frames)):
            return None
        return self.family.undecided_before(alike(sane, kind), elements=self.campaign.elements, seed=seed)

    def after(self, explore: Job, batches: list[str], models: list[str], previous: str | None, iteration: int) -> Job:
        """The job that selects for one iteration."""
        made = self.make(
            explore.output,
            references(batches),
            references(models),
            references([previous])[0] if previous else None,
            iteration,
        )
        return prepare(made, self.campaign, roles.select(iteration))


def _criterion(
    settings: SelectSettings, offered: Offered
) -> Literal["random", "expected-error", "deviation", "diversity"]:
    if settings.strategy is Strategy.RANDOM:
        return "random"
    if offered.undecided is not None:
        return "expected-error"
    return "diversity" if offered.deviations is None else "deviation"


def offer(frames: list[Frame], sources: list[str], ensemble: PotentialEnsemble | None) -> Offered:
    """The arrays selection looks at: calibrated deviations of what the ensemble predicts, grades and descriptors of the
    frames if its family has them.
    """
    if ensemble is None:
        return Offered(frames=frames, sources=sources)
    prediction = ensemble.predict(frames)
    grader = grader_of(ensemble)
    predicted = [q for q in QUANTITIES if getattr(prediction.mean, q) is not None]
    return Offered(
        frames=frames,
        sources=sources,
        deviations={q: prediction.frame_deviation(q) for q in predicted},
        grades=None if grader is None else grader.grades(frames),
        descriptors=None if grader is None else grader.descriptors(frames),
        max_forces=prediction.mean.atom_max(np.linalg.norm(prediction.mean.forces, axis=1)),
    )
