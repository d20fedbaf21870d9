"""From the section `phonons` to its Makers."""

from __future__ import annotations

from dataclasses import replace

from magflow.campaign.budget import crystals
from magflow.campaign.schema import CampaignSpec
from magflow.makers.packing import pack_frame
from magflow.makers.phonons import PhononMaker
from magflow.makers.train import TrainMaker
from magflow.makers.tuning import TuneMaker
from magflow.makers.validate import ValidateMaker


def tune_maker(
    spec: CampaignSpec, train: TrainMaker, given: list[str], test: str, validate: ValidateMaker | None
) -> TuneMaker | None:
    """The Maker of the stage after the loop; None without the section.

    Parameters
    ----------
    train
        Fits the ensemble of the loop.
    given, test
        Uuids of the jobs that hold labels the campaign did not make, and of that whose labels nobody learns from.

    Raises
    ------
    InputError
        As :func:`crystals`; a family that learns from no force constants, or from none of these labels.
    """
    asked = spec.phonons
    if asked is None:
        return None
    asked.check_moments(spec.engine(), spec.family())
    phonons = PhononMaker(
        engine=spec.engine(),
        campaign=train.campaign,
        crystals=[(name, pack_frame(frame), list(repeats)) for name, frame, repeats in crystals(spec, asked)],
        displacement=asked.displacement,
        kept=asked.cell == "kept",
        max_moment={element: high for element, (_, high) in spec.system.moments.items()},
        labels=spec.stop.labels,
        core_hours=asked.core_hours,
    )
    tuned = replace(train, family=asked.family(spec.family()))
    return TuneMaker(
        phonons=phonons, train=tuned, given=given, test=test, forgetting=asked.forgetting, validate=validate
    )
