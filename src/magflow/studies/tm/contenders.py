"""Who learns: a family with its settings, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from magflow.core.protocols import PotentialFamily


class Reading(StrEnum):
    """What a fit does with the moments that labels carry."""

    READ = "read"
    IGNORED = "ignored"
    """They are taken from the labels: a family that reads moments fits a potential without them, as others do."""
    NONE = "none"
    """Labels carry none."""


@dataclass(frozen=True)
class Contender:
    """A family under a name.

    Parameters
    ----------
    base
        The name without what is varied.
    varied
        Setting to the value that tells this contender from the others of its `base`.
    family
        None if it is missing here.
    missing
        Why.
    """

    base: str
    family: PotentialFamily | None
    varied: Mapping[str, Any] = field(default_factory=dict)
    missing: str = ""

    @property
    def name(self) -> str:
        """``mmtp level 12``."""
        return " ".join([self.base, *(f"{key} {value}" for key, value in self.varied.items())])

    def readings(self, *, has_moments: bool, wanted: tuple[Reading, ...]) -> tuple[Reading, ...]:
        """What it does with the moments of a row, each of which is a fit of its own."""
        if not has_moments:
            return (Reading.NONE,)
        if self.family is None:
            return wanted
        if not self.family.magnetic:
            return (Reading.IGNORED,)
        return tuple(r for r in wanted if r is Reading.READ or not self.family.needs_moments)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "name": self.name,
            "base": self.base,
            "varied": dict(self.varied),
            "family": None if self.family is None else self.family.name,
            "settings": None if self.family is None else self.family.model_dump(mode="json"),
            "missing": self.missing,
        }
