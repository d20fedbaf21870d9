"""From a campaign file to the Makers that run it."""

from __future__ import annotations

from pathlib import Path

from magflow.campaign.schema import CampaignSpec
from magflow.explore.prototypes import build_prototypes
from magflow.makers.assess import AssessMaker
from magflow.makers.base import Campaign
from magflow.makers.explore import ExploreMaker
from magflow.makers.iteration import ActiveLearningMaker, IterationMaker
from magflow.makers.label import LabelMaker
from magflow.makers.select import SelectMaker
from magflow.makers.train import TrainMaker


def build_campaign(spec: CampaignSpec, base_dir: Path) -> ActiveLearningMaker:
    """The Maker of a whole campaign.

    Parameters
    ----------
    base_dir
        Where relative paths of structure files start.

    Raises
    ------
    InputError
        If a prototype cannot be built.
    """
    campaign = Campaign(spec.fingerprint, spec.name, list(spec.system.elements), spec.seed)
    prototypes = build_prototypes(spec.system.prototypes, spec.system.elements, base_dir, spec.system.moments)
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
