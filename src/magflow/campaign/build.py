"""From a campaign file to the Makers that run it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from magflow.campaign.schema import CampaignSpec
from magflow.campaign.transfer import TransferSpec
from magflow.core.arrays import digest
from magflow.core.protocols import LabelEngine
from magflow.explore.prototypes import Prototype, build_prototypes
from magflow.makers.assess import AssessMaker
from magflow.makers.base import Campaign
from magflow.makers.documents import Purpose
from magflow.makers.explore import ExploreMaker
from magflow.makers.iteration import ActiveLearningMaker, IterationMaker
from magflow.makers.label import LabelMaker
from magflow.makers.roles import Phase
from magflow.makers.select import SelectMaker
from magflow.makers.train import TrainMaker
from magflow.makers.transfer import BesideMaker, FineTuneMaker, TransferLearningMaker


def campaign_id(spec: CampaignSpec) -> str:
    """24 hex digits of everything that decides the science, the structures themselves included.

    Raises
    ------
    InputError
        If a prototype cannot be built.
    """
    built = json.dumps([p.as_dict() for p in _prototypes(spec)], sort_keys=True)
    return digest([spec.fingerprint.encode(), built.encode()])


def _prototypes(spec: CampaignSpec) -> list[Prototype]:
    # The loader has made the paths of structure files absolute.
    return build_prototypes(spec.system.prototypes, spec.system.elements, Path(), spec.system.moments)


def campaign_maker(spec: CampaignSpec) -> ActiveLearningMaker:
    """The Maker of a whole campaign.

    Raises
    ------
    InputError
        If a prototype cannot be built.
    """
    campaign = Campaign(campaign_id(spec), spec.name, list(spec.system.elements), spec.seed)
    iteration = IterationMaker(
        explore=ExploreMaker(
            settings=spec.explore, campaign=campaign, prototypes=_prototypes(spec), moments=dict(spec.system.moments)
        ),
        select=SelectMaker(
            settings=spec.select, campaign=campaign, targets=spec.targets(), label_budget=spec.stop.labels
        ),
        label=LabelMaker(engine=spec.engine(), campaign=campaign),
        train=TrainMaker(campaign=campaign, warm_start=spec.train.warm_start, **_training(spec)),
        assess=AssessMaker(campaign=campaign, stop=spec.stop.rules()),
    )
    if spec.transfer is not None:
        return _transfer_maker(spec, spec.transfer, iteration)
    return ActiveLearningMaker(iteration=iteration, campaign=campaign)


def _training(spec: CampaignSpec) -> dict[str, Any]:
    """What all ensembles of a campaign have in common."""
    train = spec.train
    common = {"members": train.ensemble, "bagging": train.bagging, "validation": train.validation}
    return {"family": spec.family(), **common}


def _transfer_maker(spec: CampaignSpec, transfer: TransferSpec, iteration: IterationMaker) -> TransferLearningMaker:
    """The same loop with its beginning and its control."""
    campaign, explore, common = iteration.train.campaign, iteration.explore, _training(spec)

    def beside(engine: LabelEngine, purpose: Purpose, number: int) -> BesideMaker:
        return BesideMaker(
            label=LabelMaker(engine=engine, campaign=campaign, purpose=purpose), explore=explore, number=number
        )

    pretraining = beside(spec.non_magnetic_engine(), Purpose.PRETRAINING, transfer.non_magnetic)
    pretrain = TrainMaker(campaign=campaign, reference=True, name="pretrain", **common)
    tune = FineTuneMaker(
        campaign=campaign,
        pretrained=pretrain.uuids(0, Phase.PRETRAIN),
        non_magnetic=pretraining.batch_uuid,
        replay=transfer.share(spec.engine(), spec.family()),
        **common,
    )
    return TransferLearningMaker(
        iteration=replace(iteration, train=tune),
        campaign=campaign,
        pretraining=pretraining,
        test=beside(spec.engine(), Purpose.TEST, transfer.test),
        pretrain=pretrain,
        control=TrainMaker(campaign=campaign, reference=True, name="control", **common),
    )
