"""Measured values held against references: a difference below its error bar is called that, never a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from magflow.properties.measurement import Group, Measurement, Value
from magflow.properties.references import Reference, references_of

MANY = 3
"""Values of a group from which on their median error is quoted."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """One value of one potential, and what it should be.

    Parameters
    ----------
    potential
        Its label.
    reference, expected
        The reference that counts, and its number.
    """

    potential: str
    measurement: Measurement
    value: Value
    reference: Reference
    expected: float

    @property
    def difference(self) -> float:
        """Measured minus expected, in the unit of the value."""
        return self.value.value - self.expected

    @property
    def relative(self) -> float | None:
        """The same as a share of what is expected; None where that is zero."""
        return self.difference / abs(self.expected) if self.expected else None

    @property
    def uncertainty(self) -> float | None:
        """Of the difference, one standard deviation; None if neither side knows its own."""
        own, theirs = self.value.uncertainty, self.reference.uncertainty(self.expected)
        known = [x for x in (own, theirs) if x is not None]
        return float(np.hypot.reduce(known)) if known else None

    @property
    def significant(self) -> bool:
        """Whether the difference exceeds its error bar."""
        return self.uncertainty is None or abs(self.difference) > self.uncertainty


@dataclass(frozen=True, eq=False)
class GroupErrors:
    """The errors of one potential over the values of one group."""

    potential: str
    group: Group
    judgements: tuple[Judgement, ...]

    @cached_property
    def relative(self) -> list[float]:
        """Relative errors, without sign, of the values that have one."""
        return [abs(j.relative) for j in self.judgements if j.relative is not None]

    @property
    def median(self) -> float | None:
        """Median relative error; None of fewer than :data:`MANY` values."""
        return float(np.median(self.relative)) if len(self.relative) >= MANY else None

    @property
    def worst(self) -> Judgement | None:
        """The value furthest off, relatively."""
        known = [j for j in self.judgements if j.relative is not None]
        return max(known, key=lambda j: abs(j.relative or 0.0), default=None)


def judged(found: Sequence[tuple[str, Measurement]], references: Sequence[Reference]) -> list[Judgement]:
    """Every value that has a reference, against the first of its references that counts."""
    out = []
    for potential, m in found:
        for value in m.values:
            fitting = references_of(m, value, references)
            if fitting:
                out.append(Judgement(potential, m, value, *fitting[0]))
    return out


def by_group(judgements: Sequence[Judgement]) -> list[GroupErrors]:
    """The errors of each potential in each group that has any."""
    keys = dict.fromkeys((j.potential, j.measurement.group) for j in judgements)
    return [
        GroupErrors(p, g, tuple(j for j in judgements if (j.potential, j.measurement.group) == (p, g))) for p, g in keys
    ]
