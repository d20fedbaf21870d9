"""From the section `phonons` to its Makers, and what it leaves of a campaign's budget for the loop."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from magflow.campaign.crystals import chosen_structures
from magflow.campaign.phonons import PhononsSpec
from magflow.campaign.schema import CampaignSpec
from magflow.core.frame import Frame
from magflow.explore.geometry import repeated
from magflow.makers.packing import pack_frame, unpack_frame
from magflow.makers.phonons import PhononMaker
from magflow.makers.train import TrainMaker
from magflow.makers.tuning import TuneMaker
from magflow.makers.validate import ValidateMaker
from magflow.properties.displaced import displaced_frames
from magflow.select.stopping import StopRules

Crystal = tuple[str, Frame, tuple[int, int, int]]
"""Name of a prototype, its cell, and repeats of it."""


def crystals(spec: CampaignSpec, asked: PhononsSpec) -> list[Crystal]:
    """What is labelled for force constants.

    Raises
    ------
    InputError
        If a prototype cannot be built or there is none of a name.
    """
    chosen = chosen_structures(spec, asked.structures, "phonons.structures")
    return [(name, frame, (a, b, c)) for name, frame in chosen for a, b, c in asked.supercells]


def labels_wanted(spec: CampaignSpec) -> list[int]:
    """Labels that each crystal takes as far as the symmetry of its prototype tells; empty without the section.

    Raises
    ------
    InputError
        As :func:`crystals`.
    """
    if spec.phonons is None:
        return []
    distance = spec.phonons.displacement
    return [_labels(pack_frame(frame), repeats, distance) for _, frame, repeats in crystals(spec, spec.phonons)]


@lru_cache(maxsize=256)
def _labels(cell: str, repeats: tuple[int, int, int], distance: float) -> int:
    """The perfect supercell and those with one atom displaced; phonopy takes its time over their symmetry."""
    return 1 + len(displaced_frames(repeated(unpack_frame(cell), repeats), distance))


def loop_rules(spec: CampaignSpec) -> StopRules:
    """When the loop stops: with what the labels for force constants leave of the budget.

    Raises
    ------
    InputError
        As :func:`crystals`.
    """
    rules = spec.stop.rules()
    if spec.phonons is None:
        return rules
    labels, hours = rules.labels, rules.core_hours
    if labels is not None:
        labels = max(0, labels - sum(labels_wanted(spec)))
    if hours is not None:
        hours = max(0.0, hours - (spec.phonons.core_hours or 0.0))
    return replace(rules, labels=labels, core_hours=hours)


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
