"""What a campaign may spend: on labels for force constants, and on its loop with what these leave."""

from __future__ import annotations

from functools import lru_cache

from magflow.campaign.crystals import chosen_structures
from magflow.campaign.phonons import PhononsSpec
from magflow.campaign.schema import CampaignSpec
from magflow.core.frame import Frame
from magflow.explore.geometry import repeated
from magflow.makers.packing import pack_frame, unpack_frame
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
    from magflow.properties.displaced import displaced_frames

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
    return rules.after(sum(labels_wanted(spec)), spec.phonons.core_hours or 0.0)
