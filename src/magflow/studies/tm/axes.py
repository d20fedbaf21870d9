"""What the TM23 study varies, as values of one setting of a family each.

Owen et al., npj Comput. Mater. 10, 92 (2024): angular resolution is l_max, of FLARE's bond sums and of NequIP's
features; body order is how many bond sums FLARE multiplies (B1, B2, B3), and how long the contractions of an mMTP are
(its level).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from magflow.errors import InputError


class Axis(StrEnum):
    """By name, as users write it."""

    L_MAX = "l_max"
    BODY_ORDER = "body_order"


@dataclass(frozen=True)
class Scan:
    """Values of one setting of one family.

    Parameters
    ----------
    base
        The name of the family in tables.
    settings
        What is the same for all values.
    """

    base: str
    family: str
    key: str
    values: tuple[Any, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


SCANS: Mapping[Axis, tuple[Scan, ...]] = {
    Axis.L_MAX: (
        Scan("flare", "flare", "l_max", (0, 1, 2, 3, 4, 5)),
        Scan("nequip", "nequip", "l_max", (0, 1, 2)),
    ),
    Axis.BODY_ORDER: (
        # the same bond sums for all three: those of the default would be 4080 products in B3
        Scan("flare-n4", "flare", "descriptor", ("B1", "B2", "B3"), {"n_max": 4, "l_max": 2}),
        Scan("mmtp", "mmtp", "level", (8, 10, 12, 14, 16)),
    ),
}
"""Each family by itself: errors of one are compared along its own setting."""

Families = dict[str, str]
Settings = dict[str, dict[str, Any]]
Varied = dict[str, dict[str, Sequence[Any]]]


def scans(axes: Iterable[Axis]) -> list[Scan]:
    """Of all `axes`, each once."""
    return [scan for axis in dict.fromkeys(axes) for scan in SCANS[axis]]


def along(
    axes: Iterable[Axis],
    families: Mapping[str, str],
    settings: Mapping[str, Mapping[str, Any]],
    vary: Mapping[str, Mapping[str, Sequence[Any]]],
) -> tuple[Families, Settings, Varied]:
    """`families`, `settings` and what is varied, with those of `axes`; what is asked for by name goes first.

    Raises
    ------
    InputError
        If a name that an axis needs stands for another family.
    """
    named = dict(families)
    fixed = {name: dict(given) for name, given in settings.items()}
    varied = {name: dict(given) for name, given in vary.items()}
    for scan in scans(axes):
        if named.setdefault(scan.base, scan.family) != scan.family:
            raise InputError(
                "a name stands for two families", seen=f"{scan.base}={named[scan.base]}", expected=scan.family
            )
        fixed[scan.base] = {**scan.settings, **fixed.get(scan.base, {})}
        varied.setdefault(scan.base, {}).setdefault(scan.key, scan.values)
    return named, fixed, varied
