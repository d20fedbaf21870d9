"""What the labels of a campaign will cost, as far as its file tells."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from magflow.campaign.budget import crystals, labels_wanted
from magflow.campaign.schema import CampaignSpec
from magflow.core.frame import Frame
from magflow.errors import InputError
from magflow.explore.domain import sample
from magflow.explore.prototypes import build_prototypes
from magflow.select.quotas import allocate, stratum
from magflow.select.settings import Strategy

POWER = 1.8
"""Of the number of atoms, with which the cost of a small cell grows. Fe and Fe-Al on ABINIT, k-points of one crystal:
1.6 and 1.8 from 2 to 4 atoms, 2.0 from 2 to 8."""
_DRAWN = 256
"""Frames of the domain that show which compositions it offers."""


def estimate(spec: CampaignSpec) -> str:
    """The labels, their core-hours, and the time on this machine.

    Raises
    ------
    InputError
        If ``label.core_seconds`` lacks a composition of the prototypes.
    """
    seconds, labels = spec.label.core_seconds, spec.stop.labels
    if seconds is None or labels is None:
        limit = f"at most {spec.stop.core_hours:g} core-hours" if spec.stop.core_hours else "unknown"
        how = "stop.labels has to be given" if labels is None else "`magflow check FILE --try` measures a label"
        return f"{limit}; {how}"
    of_cells = labels_wanted(spec)
    labels -= sum(of_cells)
    each = seconds if isinstance(seconds, float) else _mean_of_a_label(spec, seconds, labels)
    beside = 0 if spec.transfer is None else spec.transfer.non_magnetic + spec.transfer.test
    hours = (each * (labels + beside) + _of_supercells(spec, of_cells, each)) / 3600.0
    cores = spec.execution.workers * spec.label_cores
    here = os.cpu_count() or 1
    busy = f" on {min(cores, here)} cores" + (f" (asked for {cores}, this machine has {here})" if cores > here else "")
    more = f" and {beside} beside the loop" if beside else ""
    more += f" and {sum(of_cells)} of displaced atoms" if of_cells else ""
    return f"{labels} labels{more}, about {hours:.2g} core-hours: {_duration(hours / min(cores, here))}{busy}"


def _duration(hours: float) -> str:
    """Minutes up to two hours, hours beyond."""
    return f"{60 * hours:.2g} minutes" if 60 * hours < 99.5 else f"{hours:.2g} hours"


def _of_supercells(spec: CampaignSpec, labels: Sequence[int], each: float) -> float:
    """Core-seconds of the labels of each supercell for force constants, from those of a label of the domain."""
    if spec.phonons is None:
        return 0.0
    usual = float(np.mean([len(frame) for frame in _drawn(spec)]))
    sizes = [len(frame) * a * b * c for _, frame, (a, b, c) in crystals(spec, spec.phonons)]
    return each * float(sum(n * (size / usual) ** POWER for n, size in zip(labels, sizes, strict=True)))


def compositions_of(spec: CampaignSpec) -> dict[str, int]:
    """Composition of each cell that the domain offers, and its number of atoms."""
    return {frame.formula: len(frame) for frame in _drawn(spec)}


def _drawn(spec: CampaignSpec) -> list[Frame]:
    system = spec.system
    prototypes = build_prototypes(system.prototypes, system.elements, Path(), system.moments)
    return [c.frame for c in sample(prototypes, spec.explore.domain, system.moments, _DRAWN, spec.seed)]


def _mean_of_a_label(spec: CampaignSpec, seconds: Mapping[str, float], labels: int) -> float:
    """Core-seconds of one label of the mixture of compositions that the prototypes and the quotas give."""
    quotas = spec.select.quotas
    drawn = Counter(stratum(frame) for frame in _drawn(spec))
    shares: Mapping[str, float] = drawn
    if quotas.enabled and spec.select.strategy is not Strategy.RANDOM:
        offered = {name: max(1, n * spec.explore.candidates // _DRAWN) for name, n in drawn.items()}
        shares = allocate(labels, offered, minimum_share=quotas.minimum_share, shares=quotas.shares)
    compositions = {name: name.split()[0] for name in shares}
    missing = sorted(set(compositions.values()) - set(seconds))
    if missing:
        raise InputError(
            "compositions without a cost",
            where="label.core_seconds",
            seen=", ".join(missing),
            expected="one number for all labels, or one for every composition of the prototypes",
        )
    return sum(n * seconds[compositions[name]] for name, n in shares.items()) / sum(shares.values())
