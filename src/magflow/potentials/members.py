"""One member of an ensemble: its seed, its labels, its fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from magflow.core.dataset import Dataset
from magflow.core.force_constants import ForceConstantLabel
from magflow.core.label import LabeledFrame
from magflow.core.prediction import Prediction, concatenate
from magflow.core.protocols import (
    FitReport,
    KnowsStressOffset,
    LearnsForceConstants,
    Potential,
    PotentialFamily,
    Progress,
)
from magflow.core.unseen import TellsUnseen
from magflow.errors import InputError

MEMBER_SHARE = 0.8
"""Share of the labels a bagged member sees, drawn without replacement.

On 120 constrained-DFT labels the mean of such members is more accurate than that of bootstrap members, which see 63 %
of the labels (forces 29 against 34 meV/A, magnetic forces 28 against 35 meV/muB), and the deviation tells as much.
"""


def member_seed(seed: int, member: int) -> int:
    """Seed of one member: members of one ensemble, and ensembles of different seeds, all differ."""
    return int(np.random.SeedSequence([seed, member]).generate_state(1)[0])


def member_sample(dataset: Dataset, seed: int, share: float = MEMBER_SHARE) -> list[LabeledFrame]:
    """The labels one member learns from: a share without replacement, in the order of the dataset.

    Raises
    ------
    InputError
        If the share is out of range.
    """
    if not 0.0 < share <= 1.0:
        raise InputError("sample of a member out of range", seen=share, expected="0 < share <= 1")
    n = max(1, round(share * len(dataset)))
    return dataset.take(np.sort(np.random.default_rng(seed).permutation(len(dataset))[:n]).tolist())


def member_labels(
    dataset: Dataset, *, seed: int, member: int, bagging: bool = True, validation: float = 0.0
) -> tuple[list[LabeledFrame], list[LabeledFrame]]:
    """The labels that one member learns from, and those it keeps aside to stop its fit early.

    The parameters are those of :func:`fit_member`.
    """
    own = member_seed(seed, member)
    rest, aside = dataset.split(validation, own)
    return member_sample(rest, own) if bagging else list(rest), list(aside)


def fit_member(
    family: PotentialFamily,
    dataset: Dataset,
    *,
    elements: Sequence[str],
    seed: int,
    member: int,
    bagging: bool = True,
    validation: float = 0.0,
    start: Potential | None = None,
    progress: Progress | None = None,
    workdir: Path | None = None,
    force_constants: Sequence[ForceConstantLabel] = (),
) -> tuple[Potential, FitReport]:
    """One member of an ensemble: its own seed, its own validation labels and, with bagging, its own sample.

    Parameters
    ----------
    seed
        Seed of the ensemble; the same `seed` and `member` give the same model.
    bagging
        Learn from :data:`MEMBER_SHARE` of the labels (:func:`member_sample`) instead of all.
    validation
        Share of the labels kept aside to stop the fit early.
    force_constants
        That each member learns from, too.

    Raises
    ------
    InputError
        Force constants for a family that learns from none; what its fit refuses.
    """
    own = member_seed(seed, member)
    train, aside = member_labels(dataset, seed=seed, member=member, bagging=bagging, validation=validation)
    fit = family.fit
    if force_constants:
        fit = partial(learns_force_constants(family).fit, force_constants=force_constants)
    return fit(train, elements=elements, seed=own, validation=aside, start=start, progress=progress, workdir=workdir)


def unseen_by_member(
    family: TellsUnseen,
    potential: Potential,
    dataset: Dataset,
    *,
    seed: int,
    member: int,
    bagging: bool = True,
    validation: float = 0.0,
) -> Prediction:
    """What a member says of each label of `dataset`, of those it has learnt from by a fit to the others.

    The parameters are those of :func:`fit_member`, which made `potential`; stresses are those of labels.
    """
    labels = list(dataset)
    frames = [item.configuration for item in labels]
    said = potential.predict(frames)
    if isinstance(potential, KnowsStressOffset):
        said = replace(said, stress=said.stress + potential.label_stress_offset(frames))
    own, _ = member_labels(dataset, seed=seed, member=member, bagging=bagging, validation=validation)
    by_others = family.unseen(potential, own, seed=member_seed(seed, member))
    place = {item.label_id: k for k, item in enumerate(own)}
    parts = [
        by_others.frame(place[item.label_id]) if item.label_id in place else said.frame(k)
        for k, item in enumerate(labels)
    ]
    return concatenate(parts)


def learns_force_constants(family: PotentialFamily) -> LearnsForceConstants:
    """The family, as one that learns from force constants.

    Raises
    ------
    InputError
        If it does not.
    """
    if isinstance(family, LearnsForceConstants) and family.learns_force_constants:
        return family
    hint = "mmtp, nequip, nequip-spin, allegro and chgnet do"
    if isinstance(family, LearnsForceConstants):
        hint = "give the weight of force constants in its settings a value above zero"
    raise InputError(f"potentials of family {family.name} learn from no force constants", hint=hint)
