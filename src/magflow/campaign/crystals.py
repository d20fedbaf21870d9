"""The crystals of a campaign: its prototypes built, and one of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from magflow.campaign.schema import CampaignSpec
from magflow.core.frame import Frame
from magflow.errors import InputError
from magflow.explore.orderings import PrototypeOrdering
from magflow.explore.prototypes import Prototype, build_prototypes
from magflow.explore.symmetry import reduced_formula, space_group


def prototypes(spec: CampaignSpec) -> list[Prototype]:
    """All of them, in all their orderings.

    Raises
    ------
    InputError
        If one cannot be built.
    """
    # The loader has made the paths of structure files absolute.
    return build_prototypes(spec.system.prototypes, spec.system.elements, Path(), spec.system.moments)


def ideal_structures(spec: CampaignSpec) -> list[tuple[str, Frame]]:
    """Name and frame of each crystal of a campaign: one per composition, space group and magnetic state.

    Larger cells of the same crystal, and disordered states, which have no cell of their own, are left out.

    Raises
    ------
    InputError
        If a prototype cannot be built.
    """
    found: dict[tuple[str, int, str], tuple[str, Frame]] = {}
    for p in sorted(_ordered(prototypes(spec)), key=lambda p: len(p.frame)):
        found.setdefault((reduced_formula(p.frame), space_group(p.frame), str(p.ordering)), (p.name, p.frame))
    return list(found.values())


def chosen_structures(spec: CampaignSpec, names: Sequence[str], where: str) -> list[tuple[str, Frame]]:
    """The prototypes of these names in all their orderings; without names :func:`ideal_structures`.

    Raises
    ------
    InputError
        If a prototype cannot be built or there is none of a name; `where` is the key that names them.
    """
    if not names:
        return ideal_structures(spec)
    built = prototypes(spec)
    known = {p.name for p in built}
    for name in names:
        if name not in known:
            expected = "one of " + ", ".join(sorted(known))
            raise InputError("no prototype of this name", where=where, seen=name, expected=expected)
    return [(p.name, p.frame) for p in _ordered(built) if p.name in names]


def _ordered(built: Sequence[Prototype]) -> list[Prototype]:
    return [p for p in built if p.ordering is not PrototypeOrdering.DLM]
