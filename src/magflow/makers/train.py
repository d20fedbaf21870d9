"""Training: one job per member of the ensemble, and ensembles from documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from jobflow import CURRENT_JOB, Job, OutputReference, job

from magflow.core.arrays import encode_arrays
from magflow.core.dataset import Dataset
from magflow.core.force_constants import ForceConstantLabel
from magflow.core.protocols import Potential, PotentialFamily
from magflow.core.uncertainty import Uncertainty
from magflow.core.unseen import TellsUnseen
from magflow.errors import StoreError
from magflow.makers import roles
from magflow.makers.base import Campaign, PluginMaker, prepare, references
from magflow.makers.documents import BatchDoc, CampaignDocument, ModelDoc
from magflow.makers.ensembles import dataset_of, ensemble_of, potential_of
from magflow.makers.roles import Phase
from magflow.makers.unseen import MOST, pack_unseen
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.members import fit_member, unseen_by_member

Kept = TypeVar("Kept", bound=CampaignDocument)


_carried: dict[str, Any] = {}


def carry(outputs: Mapping[str, Any]) -> None:
    """Outputs by the uuid of their job, which came along with a job that reaches no store."""
    _carried.update(outputs)


def carried(uuids: Sequence[str], kind: type[Kept]) -> list[Kept]:
    """The outputs of those of these jobs that came along; none where the job reaches its store."""
    return [stored_document(uuid, kind) for uuid in uuids if uuid in _carried]


def stored_document(uuid: str, kind: type[Kept]) -> Kept:
    """The output of the job of this uuid, arrays loaded: from the store of the running job, or as it came along.

    Raises
    ------
    StoreError
        If the job reaches no store.
    """
    store = CURRENT_JOB.store
    if uuid in _carried:
        found = _carried[uuid]
    elif store is None:
        raise StoreError("the job cannot reach its store", where=uuid)
    else:
        found = store.get_output(uuid, load=True)
    return found if isinstance(found, kind) else kind(**found)


def stored_ensemble(models: Sequence[str], calibration: Mapping[str, Any]) -> PotentialEnsemble:
    """The ensemble whose members the jobs of these uuids hold.

    Raises
    ------
    StoreError
        As :func:`stored_document`.
    """
    return ensemble_of([stored_document(uuid, ModelDoc) for uuid in models], calibration)


@dataclass(kw_only=True)
class TrainMaker(PluginMaker):
    """Fits the members of an ensemble.

    Parameters
    ----------
    family
        A :class:`~magflow.core.protocols.PotentialFamily`.
    members
        Size of the ensemble.
    bagging
        Each member learns from its own share of the labels, drawn without replacement.
    validation
        Share of the labels each member keeps aside to stop early.
    warm_start
        Start from the same member of the previous iteration.
    uncertainty
        What deviations of the ensemble are made of, a :class:`~magflow.core.uncertainty.Uncertainty`.
    reference
        The models are no members of the campaign's ensemble.
    """

    family: PotentialFamily
    campaign: Campaign
    members: int = 5
    bagging: bool = True
    validation: float = 0.0
    warm_start: bool = False
    uncertainty: str = str(Uncertainty.ENSEMBLE)
    reference: bool = False
    name: str = "train"

    @job(data="arrays")
    def make(self, batches: list[BatchDoc], previous: ModelDoc | None, member: int, iteration: int) -> ModelDoc:
        """Fit one member on everything labelled so far."""
        return self.fit(self.learnt(batches, None, member), previous, member, iteration)

    @property
    def beside(self) -> str:
        """Uuid of the job that holds other labels which every fit learns from again; empty: there are none."""
        return ""

    def learnt(self, batches: Sequence[BatchDoc], beside: BatchDoc | None, member: int) -> Dataset:
        """What one member learns from: the labels so far, and of those :attr:`beside` as many as it is to."""
        return dataset_of(batches)

    def uuids(self, iteration: int, phase: Phase = Phase.TRAIN) -> list[str]:
        """Of the jobs of all members."""
        return [roles.member(phase, iteration, k).uuid(self.campaign.id) for k in range(self.members)]

    def fit(
        self,
        dataset: Dataset,
        start: ModelDoc | None,
        member: int,
        iteration: int,
        force_constants: Sequence[ForceConstantLabel] = (),
    ) -> ModelDoc:
        """The document of one member fitted to `dataset`, from scratch or from `start`.

        With `force_constants` it is a tuned model.
        """
        seed = self.campaign.seed_for("train", member)
        potential, report = fit_member(
            self.family,
            dataset,
            elements=self.campaign.elements,
            seed=seed,
            member=member,
            bagging=self.bagging,
            validation=self.validation,
            start=None if start is None else potential_of(start),
            force_constants=force_constants,
        )
        kind: Literal["model", "reference-model", "tuned-model"] = "reference-model" if self.reference else "model"
        return ModelDoc(
            campaign=self.campaign.id,
            iteration=iteration,
            doc_type="tuned-model" if force_constants else kind,
            family=self.family.name,
            settings=self.family.model_dump(mode="json"),
            member=member,
            seed=seed,
            elements=list(self.campaign.elements),
            n_labels=len(dataset),
            dataset=dataset.fingerprint,
            level_of_theory=dataset.levels_of_theory[0].as_dict(),
            uncertainty=Uncertainty(self.uncertainty),
            converged=report.converged,
            rmse={part: dict(values) for part, values in report.rmse.items()},
            cpu_seconds=report.cost.cpu_seconds,
            wall_seconds=report.cost.wall_seconds,
            objective=[row["objective"] for row in report.history] if force_constants else [],
            arrays=encode_arrays(
                {"model": np.frombuffer(potential.to_bytes(), dtype=np.uint8)}
                | ({} if force_constants else self._unseen(potential, dataset, member))
            ),
        )

    def _unseen(self, potential: Potential, dataset: Dataset, member: int) -> dict[str, np.ndarray]:
        """What the member says of its labels unseen; nothing where its family cannot tell or nobody will ask."""
        if not isinstance(self.family, TellsUnseen) or self.reference or len(dataset) > MOST:
            return {}
        said = unseen_by_member(
            self.family,
            potential,
            dataset,
            seed=self.campaign.seed_for("train", member),
            member=member,
            bagging=self.bagging,
            validation=self.validation,
        )
        return pack_unseen(said, list(dataset))

    def ensemble(
        self, batches: list[str], previous: list[str], iteration: int, phase: Phase = Phase.TRAIN
    ) -> list[Job]:
        """The jobs of all members. `batches` and `previous` are job uuids, `phase` says which ensemble it is."""
        jobs = []
        for member in range(self.members):
            start = OutputReference(previous[member]) if self.warm_start and previous else None
            made = self.make(references(batches), start, member, iteration)
            jobs.append(prepare(made, self.campaign, roles.member(phase, iteration, member)))
        return jobs
