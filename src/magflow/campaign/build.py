"""From a campaign file to the Makers that run it."""

from __future__ import annotations

import json
from pathlib import Path

from magflow.campaign.schema import CampaignSpec
from magflow.core.arrays import digest
from magflow.explore.prototypes import Prototype, build_prototypes
from magflow.makers.assess import AssessMaker
from magflow.makers.base import Campaign
from magflow.makers.explore import ExploreMaker
from magflow.makers.iteration import ActiveLearningMaker, IterationMaker
from magflow.makers.label import LabelMaker
from magflow.makers.select import SelectMaker
from magflow.makers.train import TrainMaker


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
    prototypes = _prototypes(spec)
    iteration = IterationMaker(
        explore=ExploreMaker(
            settings=spec.explore, campaign=campaign, prototypes=prototypes, moments=dict(spec.system.moments)
        ),
        select=SelectMaker(
            settings=spec.select, campaign=campaign, targets=spec.targets(), label_budget=spec.stop.labels
        ),
        label=LabelMaker(engine=spec.engine(), campaign=campaign),
        train=TrainMaker(
            family=spec.family(),
            campaign=campaign,
            members=spec.train.ensemble,
            bagging=spec.train.bagging,
            validation=spec.train.validation,
            warm_start=spec.train.warm_start,
        ),
        assess=AssessMaker(campaign=campaign, stop=spec.stop.rules()),
    )
    return ActiveLearningMaker(iteration=iteration, campaign=campaign)
