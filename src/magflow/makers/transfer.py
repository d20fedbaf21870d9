"""A campaign that starts from non-magnetic labels: pre-train, then choose magnetic labels, fine-tune, and compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from jobflow import Flow, Job, OutputReference, job

from magflow.core.dataset import Dataset
from magflow.core.label import LabelKind
from magflow.errors import InputError
from magflow.explore.domain import draw
from magflow.makers import roles
from magflow.makers.base import Campaign, PluginMaker, prepare, references
from magflow.makers.documents import BatchDoc, ModelDoc, TransferDoc
from magflow.makers.ensembles import dataset_of, ensemble_of
from magflow.makers.explore import ExploreMaker
from magflow.makers.iteration import ActiveLearningMaker
from magflow.makers.label import LabelMaker
from magflow.makers.packing import pack_frame, unpack_labelled
from magflow.makers.roles import Phase
from magflow.makers.train import TrainMaker
from magflow.potentials.replay import with_replay
from magflow.studies.transfer.result import Bought, measured
from magflow.studies.transfer.ways import Arm


@dataclass(kw_only=True)
class BesideMaker(PluginMaker):
    """Labels beside the loop: frames drawn at random from the campaign's domain, and a batch of them.

    Parameters
    ----------
    label
        Labels them; its purpose names the batch.
    explore
        The domain.
    number
        Frames.
    """

    label: LabelMaker
    explore: ExploreMaker
    number: int
    name: str = "beside"

    @property
    def campaign(self) -> Campaign:
        """The campaign the labels belong to."""
        return self.label.campaign

    @property
    def batch_uuid(self) -> str:
        """The job whose output is the BatchDoc."""
        return roles.batch_beside(self.label.purpose).uuid(self.campaign.id)

    @job
    def frames(self) -> dict[str, list[str]]:
        """The frames, and where each came from; without moments for non-magnetic labels."""
        explore, purpose = self.explore, self.label.purpose
        seed = self.campaign.seed_for("explore", purpose)
        drawn = draw(explore.prototypes, explore.settings.domain, explore.moments, self.number, seed).candidates
        plain = self.label.source.kind is LabelKind.NON_MAGNETIC
        return {
            "frames": [pack_frame(c.frame.non_magnetic() if plain else c.frame) for c in drawn],
            "sources": [c.source for c in drawn],
        }

    def jobs(self) -> list[Job]:
        """The job that draws, and the one that labels."""
        purpose = self.label.purpose
        drawn = prepare(self.frames(), self.campaign, roles.draw(purpose))
        batch = self.label.batch(drawn.output["sources"], drawn.uuid, 0, (str(purpose),))
        return [drawn, prepare(batch, self.campaign, roles.batch_beside(purpose))]


@dataclass(kw_only=True)
class FineTuneMaker(TrainMaker):
    """Fits the members of an ensemble, each from its counterpart on other labels: of another kind or level of theory.

    Parameters
    ----------
    pretrained
        Uuids of the jobs of that ensemble, one per member.
    non_magnetic
        Uuid of the job that holds the non-magnetic labels.
    replay
        Share of them that is learnt from again, at zero moments.
    """

    pretrained: list[str] = field(default_factory=list)
    non_magnetic: str = ""
    replay: float = 1.0

    @job(data="arrays")
    def tune(
        self, batches: list[BatchDoc], non_magnetic: BatchDoc | None, start: ModelDoc, member: int, iteration: int
    ) -> ModelDoc:
        """Fine-tune one member on everything labelled so far."""
        return self.fit(self.learnt(batches, non_magnetic, member), start, member, iteration)

    @property
    def beside(self) -> str:
        """The job that holds the non-magnetic labels, if they are replayed."""
        return self.non_magnetic if self.replay else ""

    def learnt(self, batches: Sequence[BatchDoc], beside: BatchDoc | None, member: int) -> Dataset:
        """The labels so far and, at zero moments, a share of the non-magnetic ones."""
        dataset = dataset_of(batches)
        if beside is None:
            return dataset
        seed = self.campaign.seed_for("replay", member)
        return with_replay(dataset, dataset_of([beside]), share=self.replay, seed=seed)

    def ensemble(
        self, batches: list[str], previous: list[str], iteration: int, phase: Phase = Phase.TRAIN
    ) -> list[Job]:
        """The jobs of all members; all start from the non-magnetic ensemble, whatever came before."""
        jobs = []
        for member in range(self.members):
            again = OutputReference(self.beside) if self.beside else None
            start = OutputReference(self.pretrained[member])
            made = self.tune(references(batches), again, start, member, iteration)
            jobs.append(prepare(made, self.campaign, roles.member(phase, iteration, member)))
        return jobs


@dataclass(kw_only=True)
class TransferLearningMaker(ActiveLearningMaker):
    """A campaign whose ensemble starts from non-magnetic labels.

    Non-magnetic labels are made and learnt from first, and held-out magnetic ones are made at random. Then the loop
    chooses magnetic labels: the first batch as any campaign does, because a non-magnetic ensemble knows nothing of
    moments, later ones where the fine-tuned ensemble disagrees. After each iteration the ensemble is held against the
    test labels, beside one that was fitted from scratch to the same magnetic labels.

    Parameters
    ----------
    iteration
        The loop; its `train` is a :class:`FineTuneMaker`.
    pretraining, test
        The non-magnetic and the held-out labels.
    pretrain, control
        Fit the non-magnetic ensemble, and the one from scratch.
    """

    pretraining: BesideMaker
    test: BesideMaker
    pretrain: TrainMaker
    control: TrainMaker
    name: str = "transfer"

    def __post_init__(self) -> None:
        if not isinstance(self.iteration.train, FineTuneMaker):
            raise InputError(
                "the loop of a transfer fine-tunes",
                where="iteration.train",
                seen=type(self.iteration.train).__name__,
                expected=FineTuneMaker.__name__,
            )
        self._arm = Arm.REPLAYED if self.iteration.train.replay else Arm.TUNED

    def make(self) -> Flow:
        """Labels beside the loop, the non-magnetic ensemble, and the first iteration."""
        first = self.step(0, [], [], None)
        plain = self.pretrain.ensemble([self.pretraining.batch_uuid], [], 0, Phase.PRETRAIN)
        return Flow([*self.pretraining.jobs(), *plain, *self.test.jobs(), first], name=f"{self.campaign.name} transfer")

    def step(self, iteration: int, batches: list[str], models: list[str], previous: str | None) -> Flow:
        """One iteration, its control, the comparison of both, and :meth:`advance`."""
        flow = self.iteration.make(iteration, batches, models, previous)
        known = [*batches, roles.batch(iteration).uuid(self.campaign.id)]
        control = self.control.ensemble(known, [], iteration, Phase.CONTROL)
        compared = self.compare(
            references(known),
            OutputReference(self.pretraining.batch_uuid),
            OutputReference(self.test.batch_uuid),
            [j.output for j in control],
            references(self.iteration.train.uuids(iteration)),
            references(self.pretrain.uuids(0, Phase.PRETRAIN)),
            iteration,
        )
        prepare(compared, self.campaign, roles.compare(iteration))
        following = self.continuation(flow.output, iteration, batches)
        return Flow([flow, *control, compared, following], name=f"{self.campaign.name} {iteration}")

    @job
    def compare(
        self,
        batches: list[BatchDoc],
        non_magnetic: BatchDoc,
        test: BatchDoc,
        control: list[ModelDoc],
        tuned: list[ModelDoc],
        pretrained: list[ModelDoc],
        iteration: int,
    ) -> TransferDoc:
        """Errors of both ensembles on the test labels, with what their labels and fits took."""
        items = unpack_labelled(test.arrays)
        magnetic = _bought(batches)

        def point(arm: Arm, models: list[ModelDoc], beside: list[BatchDoc], before: list[ModelDoc]) -> dict[str, Any]:
            made = measured(
                arm,
                self.campaign.seed,
                ensemble_of(models),
                items,
                magnetic=magnetic,
                beside=_bought(beside),
                fit_cpu_seconds=sum(m.cpu_seconds for m in [*models, *before]),
            )
            return asdict(made)

        return TransferDoc(
            campaign=self.campaign.id,
            iteration=iteration,
            points=[point(Arm.SCRATCH, control, [], []), point(self._arm, tuned, [non_magnetic], pretrained)],
            test_labels=len(items),
            test_core_hours=test.core_hours,
        )


def _bought(batches: list[BatchDoc]) -> Bought:
    """What the labels of some batches took."""
    return Bought(
        sum(len(b.label_ids) for b in batches),
        sum(b.core_hours for b in batches),
        sum(b.cpu_seconds for b in batches) / 3600.0,
    )
