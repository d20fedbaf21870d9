"""From a campaign file to the Makers that run it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from magflow.campaign.budget import loop_rules
from magflow.campaign.crystals import chosen_structures, prototypes
from magflow.campaign.schema import CampaignSpec
from magflow.campaign.transfer import TransferSpec
from magflow.campaign.tuning import tune_maker
from magflow.campaign.validation import ValidationSpec
from magflow.core.arrays import digest
from magflow.core.dataset import Dataset
from magflow.core.label import LabelKind
from magflow.core.protocols import LabelEngine
from magflow.errors import InputError
from magflow.makers.assess import AssessMaker
from magflow.makers.base import Campaign
from magflow.makers.documents import Purpose
from magflow.makers.explore import ExploreMaker
from magflow.makers.imports import ImportMaker
from magflow.makers.iteration import ActiveLearningMaker, IterationMaker
from magflow.makers.label import LabelMaker
from magflow.makers.packing import pack_frame
from magflow.makers.roles import Phase
from magflow.makers.select import SelectMaker
from magflow.makers.train import TrainMaker
from magflow.makers.transfer import BesideMaker, FineTuneMaker, TransferLearningMaker
from magflow.makers.validate import ValidateMaker
from magflow.makers.warm import Pretraining, WarmStartMaker
from magflow.properties.references import read_references


def campaign_id(spec: CampaignSpec) -> str:
    """24 hex digits of everything that decides the science, the structures themselves included.

    Raises
    ------
    InputError
        If a prototype cannot be built.
    """
    built = json.dumps([p.as_dict() for p in prototypes(spec)], sort_keys=True)
    return digest([spec.fingerprint.encode(), built.encode()])


def campaign_maker(spec: CampaignSpec, known_as: str | None = None) -> ActiveLearningMaker:
    """The Maker of a whole campaign.

    Parameters
    ----------
    known_as
        Id of a campaign that was begun before; None: :func:`campaign_id`.

    Raises
    ------
    InputError
        If a prototype cannot be built; force constants of or for what gives and learns none.
    """
    campaign = Campaign(known_as or campaign_id(spec), spec.name, list(spec.system.elements), spec.seed)
    engine, rules = spec.engine(), loop_rules(spec)
    iteration = IterationMaker(
        explore=ExploreMaker(
            settings=spec.explore, campaign=campaign, prototypes=prototypes(spec), moments=dict(spec.system.moments)
        ),
        select=SelectMaker(
            settings=spec.select,
            campaign=campaign,
            targets=spec.targets(),
            label_budget=rules.labels,
            family=spec.family(),
            kind=str(engine.kind),
            core_seconds=spec.label.core_seconds,
        ),
        label=LabelMaker(engine=engine, campaign=campaign),
        train=TrainMaker(campaign=campaign, warm_start=spec.train.warm_start, **_training(spec)),
        assess=AssessMaker(campaign=campaign, stop=rules),
    )
    loop = _loop(spec, iteration)
    validate = None if spec.validation is None else validate_maker(spec, spec.validation, campaign)
    test = loop.test.batch_uuid if isinstance(loop, TransferLearningMaker) else ""
    tune = tune_maker(spec, loop.iteration.train, loop.given, test, validate)
    return replace(loop, tune=tune, validate=validate)


def _loop(spec: CampaignSpec, iteration: IterationMaker) -> ActiveLearningMaker:
    """The loop with its beginning."""
    if spec.transfer is not None:
        return _transfer_maker(spec, spec.transfer, iteration)
    if spec.labels:
        return _warm_maker(spec, iteration)
    return ActiveLearningMaker(iteration=iteration, campaign=iteration.train.campaign)


def validate_maker(spec: CampaignSpec, asked: ValidationSpec, campaign: Campaign) -> ValidateMaker:
    """The Maker of the measurements on the finished ensemble.

    Raises
    ------
    InputError
        If a prototype cannot be built or there is none of a name, or references cannot be read.
    """
    chosen = chosen_structures(spec, asked.structures, "validation.structures")
    return ValidateMaker(
        campaign=campaign,
        structures=[(name, pack_frame(frame)) for name, frame in chosen],
        properties={name: prop.model_dump(mode="json") for name, prop in asked.asked().items()},
        moments=str(asked.treatment()),
        max_moment={element: high for element, (_, high) in spec.system.moments.items()},
        references=[r.model_dump(mode="json") for r in read_references(asked.references)],
        engine=spec.engine() if asked.against == "dft" else None,
    )


def _training(spec: CampaignSpec) -> dict[str, Any]:
    """What all ensembles of a campaign have in common."""
    train = spec.train
    common = {"members": train.ensemble, "bagging": train.bags, "validation": train.validation}
    return {"family": spec.family(), "uncertainty": str(train.uncertainty), **common}


def import_maker(spec: CampaignSpec, campaign: Campaign, *, foreign: bool) -> ImportMaker | None:
    """The Maker that takes in the labels of the campaign's own level of theory, or of another; None without any.

    Raises
    ------
    InputError
        If a file is absent.
    """
    files = [labels.file() for labels in spec.label_files if labels.mixed is foreign]
    return ImportMaker(files=files, engine=spec.engine(), campaign=campaign, foreign=foreign) if files else None


def _warm_maker(spec: CampaignSpec, iteration: IterationMaker) -> WarmStartMaker:
    """The same loop with labels before its beginning."""
    campaign, common = iteration.train.campaign, _training(spec)
    own, foreign = (import_maker(spec, campaign, foreign=which) for which in (False, True))
    start, other = replace(iteration.train, reference=True, name="start"), None
    if foreign is not None:
        pretrain = TrainMaker(campaign=campaign, reference=True, name="pretrain", **common)
        other = Pretraining(labels=foreign, train=pretrain, chooses=chooses(spec, foreign.dataset()))
        tune = FineTuneMaker(campaign=campaign, pretrained=pretrain.uuids(0, Phase.PRETRAIN), replay=0.0, **common)
        iteration = replace(iteration, train=tune)
        start = replace(tune, reference=True, name="start")
    return WarmStartMaker(
        iteration=iteration, campaign=campaign, own=own, start=None if own is None else start, other=other
    )


def chooses(spec: CampaignSpec, labels: Dataset) -> bool:
    """Whether an ensemble on labels of another level of theory knows what the frames of the campaign differ in.

    Raises
    ------
    InputError
        If the family cannot learn from the labels, or go on from there to the campaign's.
    """
    family, own = spec.family(), spec.engine().kind
    bare = [item.configuration.magmoms is None for item in labels]
    seen = f"{sum(bare)} of {len(bare)} labels without moments"
    if any(bare) and (family.needs_moments or not all(bare)):
        raise InputError(
            "moments, or none, in all labels of another level of theory"
            if not all(bare)
            else f"the family {spec.train.family} cannot learn from labels without moments",
            where="labels",
            seen=seen,
            hint="leave the file out, or choose another train.family",
        )
    if not family.magnetic:
        return True
    if own == LabelKind.NON_MAGNETIC and not all(bare):
        raise InputError(
            "labels with moments are no start for labels without", where="labels", seen=seen, expected="none with them"
        )
    return own == LabelKind.NON_MAGNETIC or not any(bare)


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
