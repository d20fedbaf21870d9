"""The loop as jobflow DAGs: one Flow per iteration, whose last job is replaced by the next."""

from __future__ import annotations

from dataclasses import dataclass

from jobflow import CURRENT_JOB, Flow, Job, OutputReference, Response, job

from magflow.makers import roles
from magflow.makers.assess import AssessMaker
from magflow.makers.base import Campaign, PluginMaker, prepare
from magflow.makers.documents import IterationDoc, OutcomeDoc
from magflow.makers.explore import ExploreMaker
from magflow.makers.label import LabelMaker, retried_batches
from magflow.makers.select import SelectMaker
from magflow.makers.train import TrainMaker
from magflow.makers.tuning import TuneMaker
from magflow.makers.validate import ValidateMaker
from magflow.select.stopping import Progress, StopReason, decide


@dataclass(kw_only=True)
class IterationMaker(PluginMaker):
    """explore -> select -> label -> train an ensemble -> assess, for one iteration.

    A part is swapped by swapping its field: VASP for ABINIT in `label`, DeePMD for mMTP in `train`.
    """

    explore: ExploreMaker
    select: SelectMaker
    label: LabelMaker
    train: TrainMaker
    assess: AssessMaker
    name: str = "iteration"

    def make(self, iteration: int, batches: list[str], models: list[str], previous: str | None) -> Flow:
        """The Flow of one iteration; `output` is its IterationDoc.

        Parameters
        ----------
        batches
            Uuids of the jobs that hold the labels so far.
        models
            Uuids of the current ensemble's jobs; empty at iteration 0.
        previous
            Uuid of the previous iteration's assessment.
        """
        explore = self.explore.after(models, previous, iteration)
        select = self.select.after(explore, batches, models, previous, iteration)
        batch = self.label.after(explore, select, iteration)
        train = self.train.ensemble([*batches, batch.uuid], models, iteration)
        assess = self.assess.after(models, train, [*batches, batch.uuid], batch, explore, select, previous, iteration)
        return Flow([explore, select, batch, *train, assess], output=assess.output, name=f"iteration {iteration}")


@dataclass(kw_only=True)
class ActiveLearningMaker(PluginMaker):
    """A whole campaign: iterations until the rules of :mod:`magflow.select.stopping` say stop.

    The Flow holds one iteration and the job that, once it is assessed, is replaced by the next, so that it never grows
    without bound and runs the same under any jobflow manager.

    Parameters
    ----------
    tune
        Teaches the finished ensemble force constants; None: nobody does.
    validate
        Measures what the ensemble is good for then; None: nobody does.
    """

    iteration: IterationMaker
    campaign: Campaign
    tune: TuneMaker | None = None
    validate: ValidateMaker | None = None
    name: str = "active learning"

    @property
    def given(self) -> list[str]:
        """Uuids of the jobs that hold labels the campaign did not make: every fit learns from them."""
        return []

    @property
    def first_models(self) -> list[str]:
        """Uuids of the jobs of the ensemble that iteration 0 has to begin with; empty: it begins with none."""
        return []

    def make(self) -> Flow:
        """The Flow of the first iteration, with the job that continues."""
        return self.step(0, self.given, self.first_models, None)

    def step(self, iteration: int, batches: list[str], models: list[str], previous: str | None) -> Flow:
        """One iteration followed by :meth:`advance`."""
        flow = self.iteration.make(iteration, batches, models, previous)
        return Flow(
            [flow, self.continuation(flow.output, iteration, batches)], name=f"{self.campaign.name} {iteration}"
        )

    def continuation(
        self, assessed: OutputReference, iteration: int, batches: list[str], rules: str | None = None
    ) -> Job:
        """The job that decides after one iteration and adds the next; `rules` tells a decision under others apart."""
        made = self.advance(assessed, assessed.uuid, iteration, batches)
        return prepare(made, self.campaign, roles.advance(iteration, rules), expose_store=True)

    @job
    def advance(
        self, assessed: IterationDoc, assessment: str, iteration: int, batches: list[str]
    ) -> Response[OutcomeDoc]:
        """Stop with an OutcomeDoc, or replace this job by the next iteration.

        Parameters
        ----------
        assessed, assessment
            The IterationDoc and the uuid of its job.
        batches
            Uuids of the jobs that hold the labels of all earlier iterations.
        """
        known = [*batches, roles.batch(iteration).uuid(self.campaign.id)]
        known += retried_batches(CURRENT_JOB.store, self.campaign, known)
        models = self.iteration.train.uuids(iteration)
        decision = decide(progress_of(assessed), self.iteration.assess.stop)
        if decision is not None:
            ended = outcome(assessed, self.campaign, models, *decision)
            asked = self.afterwards(ended)
            return Response(output=ended, addition=asked) if asked else Response(output=ended)
        following = self.step(iteration + 1, known, models, assessment)
        # jobflow lets only a replacement refer to jobs of earlier flows.
        return Response(replace=following)

    def afterwards(self, ended: OutcomeDoc, attempts: int = 0) -> Flow | None:
        """What follows the end of a campaign: force constants for its ensemble, and measurements on what it is then.

        With `attempts`, the labels made so far, failed ones of displaced atoms are computed again.
        """
        models = self.iteration.train.uuids(ended.iteration)
        if self.tune is None:
            return self.validation(ended)
        tune = self.tune.once_more(attempts) if attempts else self.tune
        return tune.flow(models, ended)

    def validation(self, ended: OutcomeDoc) -> Flow | None:
        """The measurements on the ensemble of an outcome; None if nobody asked for any."""
        return None if self.validate is None else self.validate.of(ended)


def outcome(
    last: IterationDoc, campaign: Campaign, models: list[str], reason: StopReason, explanation: str
) -> OutcomeDoc:
    """The end of a campaign that stopped by its rules."""
    return OutcomeDoc(
        campaign=campaign.id,
        iteration=last.iteration,
        name=campaign.name,
        reason=reason,
        explanation=explanation,
        labels=last.labels_total,
        core_hours=last.core_hours_total,
        models=models,
        calibration=last.calibration,
        rmse=last.rmse,
    )


def progress_of(last: IterationDoc) -> Progress:
    """What the stop rules look at."""
    return Progress(last.iteration, last.streak, last.exhausted, last.labels_attempted, last.core_hours_total)
