"""A campaign that starts from labels others have computed: at its own level of theory, at another one, or both."""

from __future__ import annotations

from dataclasses import dataclass

from jobflow import Flow, Job

from magflow.makers.base import PluginMaker
from magflow.makers.imports import ImportMaker
from magflow.makers.iteration import ActiveLearningMaker
from magflow.makers.roles import Phase
from magflow.makers.train import TrainMaker


@dataclass(kw_only=True)
class Pretraining(PluginMaker):
    """The ensemble on labels of another level of theory, which no fit ever joins with the campaign's own.

    Parameters
    ----------
    labels
        Takes them in.
    train
        Fits the ensemble.
    chooses
        Whether it chooses the first batch. One that does not know moments says nothing about magnetic frames.
    """

    labels: ImportMaker
    train: TrainMaker
    chooses: bool = True
    name: str = "pretraining"

    def flow(self) -> Flow:
        """The labels and the ensemble."""
        fits = self.train.ensemble([self.labels.batch_uuid], [], 0, Phase.PRETRAIN)
        return Flow([self.labels.taking(), *fits], name="pretraining")


@dataclass(kw_only=True)
class WarmStartMaker(ActiveLearningMaker):
    """A campaign that has labels before its first iteration.

    Labels of its own level of theory are learnt from in every fit, and an ensemble on them alone chooses the first
    batch. On labels of another level an ensemble is fitted first; each member of every later one starts from its
    counterpart there (the loop's `train` is a :class:`~magflow.makers.transfer.FineTuneMaker` then).

    Parameters
    ----------
    own
        Takes in the labels of the campaign's own level; None: there are none.
    start
        Fits the ensemble on them.
    other
        The labels of another level; None: there are none.
    """

    own: ImportMaker | None = None
    start: TrainMaker | None = None
    other: Pretraining | None = None
    name: str = "warm start"

    @property
    def given(self) -> list[str]:
        """The job that holds the labels of the campaign's own level."""
        return [] if self.own is None else [self.own.batch_uuid]

    @property
    def first_models(self) -> list[str]:
        """The jobs of the ensemble that chooses the first batch."""
        if self.start is not None:
            return self.start.uuids(0, Phase.START)
        if self.other is not None and self.other.chooses:
            return self.other.train.uuids(0, Phase.PRETRAIN)
        return []

    def make(self) -> Flow:
        """The labels, what is fitted to them alone, and the first iteration."""
        begin: list[Flow | Job] = [] if self.other is None else [self.other.flow()]
        if self.own is not None and self.start is not None:
            begin += [self.own.taking(), *self.start.ensemble(self.given, [], 0, Phase.START)]
        return Flow([*begin, super().make()], name=f"{self.campaign.name} warm start")
