"""What is allowed in a campaign file and more likely a slip than meant: a mistaken unit, a target without meaning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from magflow.campaign.schema import CampaignSpec
from magflow.campaign.source import Key
from magflow.core.frame import Frame
from magflow.core.protocols import Doubt, HasCutoff, HasDoubts
from magflow.core.units import BOHR
from magflow.errors import InputError
from magflow.explore.geometry import nearest_distance
from magflow.explore.prototypes import build_prototypes

_FAR = 1.5
"""Nearest distance over the sum of the covalent radii beyond which lengths may be in bohr. Metals have 0.9 to 1.2."""

Placed = tuple[Key, Doubt]
"""A doubt, and the key of the campaign file that it is about."""


def doubts(spec: CampaignSpec) -> list[Placed]:
    """All of them, in the order of the file; crystals that cannot be built are left to the checks."""
    frames = list(_ideal(spec))
    found: list[Placed] = []
    for look in (_lengths, _engine, _family, _forces):
        found += look(spec, frames)
    return found


def _ideal(spec: CampaignSpec) -> Iterator[tuple[int, Frame]]:
    """Number of each prototype and its first cell."""
    system = spec.system
    for number, settings in enumerate(system.prototypes):
        try:
            yield number, build_prototypes([settings], system.elements, Path(), system.moments)[0].frame
        except InputError:
            continue


def _lengths(spec: CampaignSpec, frames: list[tuple[int, Frame]]) -> list[Placed]:
    from ase.data import covalent_radii

    found: list[Placed] = []
    for number, frame in frames:
        nearest = nearest_distance(frame)
        ratio = nearest / (2.0 * float(covalent_radii[frame.numbers].max()))
        if ratio <= _FAR:
            continue
        builder = spec.system.prototypes[number].builder
        place: tuple[str, ...] = ("file",)
        meant = "in bohr? the lengths of the file are taken for A"
        if builder is not None and builder.a is not None:
            place, meant = ("builder", "a"), f"in bohr? then a: {builder.a * BOHR:.4g}"
        detail = f"the nearest atoms are {nearest:.2f} A apart, {ratio:.1f} times the sum of their covalent radii"
        found.append((("system", "prototypes", number, *place), Doubt(place[-1], detail, meant)))
    return found


def _engine(spec: CampaignSpec, frames: list[tuple[int, Frame]]) -> list[Placed]:
    engine = spec.engine()
    found = engine.doubts([frame for _, frame in frames]) if isinstance(engine, HasDoubts) else []
    return [(("label", "settings", doubt.setting), doubt) for doubt in found]


def _family(spec: CampaignSpec, frames: list[tuple[int, Frame]]) -> list[Placed]:
    family = spec.family()
    if not isinstance(family, HasCutoff) or not frames:
        return []
    number, frame = max(frames, key=lambda item: nearest_distance(item[1]))
    nearest = float(np.cbrt(1.0 + spec.explore.domain.volume[1])) * nearest_distance(frame)
    if family.cutoff > nearest:
        return []
    name = spec.system.prototypes[number].name
    hint = f"nearest atoms are up to {nearest:.2f} A apart in {name}; twice that is usual"
    detail = f"a potential that sees {family.cutoff:g} A sees no neighbour"
    return [(("train", "settings", "cutoff"), Doubt("cutoff", detail, hint))]


def _forces(spec: CampaignSpec, frames: list[tuple[int, Frame]]) -> list[Placed]:
    if spec.stop.targets.forces_mev_per_a is None or not frames:
        return []
    key: Key = ("stop", "targets", "forces_mev_per_a")
    why = None
    if all(len(frame) == 1 for _, frame in frames):
        why = "every cell holds one atom, on which no force can act"
    elif spec.explore.domain.displacement == 0.0 and spec.explore.md is None:
        why = "no atom is ever displaced: most forces are zero by symmetry"
    hint = "take larger cells and explore.domain.displacement, or leave the target out"
    return [] if why is None else [(key, Doubt("forces", f"a target that teaches nothing: {why}", hint))]
