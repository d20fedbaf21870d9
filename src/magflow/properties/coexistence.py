"""Crystal and liquid in one cell: how they are put together, which of them grows, and where neither does.

Above the melting point the liquid grows into the crystal, below it the crystal into the liquid, without the barrier of
a first nucleus: Morris et al., Phys. Rev. B 49, 3109 (1994). Which temperature to try next is decided by a bracket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from magflow.core.frame import Frame
from magflow.core.types import FloatArray
from magflow.explore.geometry import nearest_distance
from magflow.properties.statistics import Average

WIDENING = 0.1
"""A, by which the gaps between the phases are widened until no atoms are on top of each other."""
ALL_FROZEN, ALL_MOLTEN = 0.85, 0.15
"""Shares of crystal at which one phase has won: what is left of the other is two interfaces."""


def put_together(crystal: Frame, liquid: Frame) -> Frame:
    """Crystal and liquid behind each other along the longest way through the crystal.

    The liquid is strained to the cross-section of the crystal at its own volume. Two equal gaps are left between the
    phases, so wide that no two atoms are closer than the closest of either phase.

    Parameters
    ----------
    liquid
        Of a crystal with the same lattice vectors, each atom anywhere.
    """
    axis = int(np.argmin(np.linalg.norm(np.linalg.inv(crystal.cell), axis=0)))
    lower, upper = cut(crystal, axis), cut(fitted(liquid, crystal, axis), axis)
    shortest, gap = (1.0 - 1e-9) * min(nearest_distance(lower), nearest_distance(upper)), 0.0
    while nearest_distance(both := _stacked(lower, upper, axis, gap)) < shortest:
        gap += WIDENING
    return both


def fitted(liquid: Frame, crystal: Frame, axis: int) -> Frame:
    """`liquid` in the cell of `crystal`, stretched along lattice vector `axis` so that its volume stays."""
    cell = crystal.cell.copy()
    cell[axis] *= liquid.volume / crystal.volume
    return liquid.replace(cell=cell, positions=liquid.positions @ np.linalg.inv(liquid.cell) @ cell)


def cut(frame: Frame, axis: int) -> Frame:
    """`frame` moved and folded along lattice vector `axis`: its widest empty layer comes to the edge of the cell."""
    fractions = frame.positions @ np.linalg.inv(frame.cell)
    along = np.sort(fractions[:, axis] % 1.0)
    empty = np.diff(along, append=along[0] + 1.0)
    widest = int(np.argmax(empty))
    fractions[:, axis] = (fractions[:, axis] - along[widest] - 0.5 * empty[widest]) % 1.0
    return frame.replace(positions=fractions @ frame.cell)


def _stacked(lower: Frame, upper: Frame, axis: int, gap: float) -> Frame:
    direction = lower.cell[axis] / np.linalg.norm(lower.cell[axis])
    cell = lower.cell.copy()
    cell[axis] += upper.cell[axis] + 2.0 * gap * direction
    shift = lower.cell[axis] + gap * direction
    return Frame(
        lower.species + upper.species,
        cell,
        np.concatenate([lower.positions, upper.positions + shift]),
        None if lower.magmoms is None or upper.magmoms is None else np.concatenate([lower.magmoms, upper.magmoms]),
    )


def decided(share: float) -> bool:
    """Whether one phase has won."""
    return not ALL_MOLTEN < share < ALL_FROZEN


def grew(time: FloatArray, share: FloatArray) -> bool:
    """Whether the crystal is the one that grows.

    Where neither phase has won, the trend over the second half decides: the first has the interfaces form and the
    cell adapt.

    Parameters
    ----------
    time, share
        (n,) ps and share of crystal; at least four.
    """
    if decided(share[-1]):
        return bool(share[-1] >= ALL_FROZEN)
    late = slice(len(time) // 2, None)
    return bool(np.polyfit(time[late], share[late], 1)[0] > 0.0)


@dataclass(frozen=True)
class Bracket:
    """Temperatures between which neither phase grows.

    Parameters
    ----------
    guess
        Where to begin, K.
    step
        As a share of the temperature, how far to go from there; it doubles while one end is missing.
    low, high
        Highest temperature at which the crystal grew, and lowest at which it melted; None: not known yet.
    """

    guess: float
    step: float
    low: float | None = None
    high: float | None = None

    @property
    def next(self) -> float:
        """Temperature to try, K."""
        if self.low is None:
            return self.guess if self.high is None else self.high / (1.0 + self.step)
        return self.low * (1.0 + self.step) if self.high is None else 0.5 * (self.low + self.high)

    def told(self, temperature: float, *, crystal_grew: bool) -> Bracket:
        """With what was seen at a temperature."""
        known, missing = (self.low, self.high) if crystal_grew else (self.high, self.low)
        step = self.step if known is None or missing is not None else 2.0 * self.step
        if crystal_grew:
            return replace(self, step=step, low=temperature)
        return replace(self, step=step, high=temperature)

    def narrow(self, share: float) -> bool:
        """Whether both ends are known and no further apart than `share` of their mean."""
        if self.low is None or self.high is None:
            return False
        return self.high - self.low <= share * self.middle * (1.0 + 1e-9)

    @property
    def middle(self) -> float:
        """K; that of one end while the other is missing."""
        known = [t for t in (self.low, self.high) if t is not None] or [self.guess]
        return sum(known) / len(known)

    @property
    def width(self) -> float:
        """K; 0 while one end is missing."""
        return 0.0 if self.low is None or self.high is None else self.high - self.low


def melting_point(brackets: Sequence[Bracket]) -> Average:
    """Mean of the middles; its error from the width of the brackets and the scatter of the seeds together.

    Anything within a bracket is as likely, which makes for a standard deviation of width / sqrt(12). That of their
    mean is taken no smaller: the brackets of all seeds may lie on one side.
    """
    middles = np.array([b.middle for b in brackets])
    within = float(np.mean([b.width for b in brackets])) / np.sqrt(12.0)
    scatter = float(middles.std(ddof=1) / np.sqrt(len(middles))) if len(middles) > 1 else 0.0
    return Average(float(middles.mean()), float(np.hypot(within, scatter)), float(len(middles)))
