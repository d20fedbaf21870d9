"""What transfer saves: the labels and the computing time that reach the error of a fit from scratch.

And what it could save at most, by the same reading of the errors to expect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np

from magflow.studies.transfer.ceiling import Given
from magflow.studies.transfer.result import TransferCurve, TransferPoint
from magflow.studies.transfer.ways import Arm


class Price(StrEnum):
    """What counts as the cost of a label."""

    CORE_HOURS = "core_hours"
    """Wall time x cores: what a queue bills."""
    CPU_HOURS = "cpu_hours"
    """CPU time: for labels that were computed on a busy machine, where waiting counts as wall time."""


class Bound(StrEnum):
    """How a factor is to be read."""

    EQUAL = ""
    MORE = ">"
    """Transfer meets the error with the fewest labels tried."""
    LESS = "<"
    """Transfer does not meet the error with the most labels tried."""


@dataclass(frozen=True)
class Factor:
    """A ratio from scratch / transfer at equal error: median over the seeds, and the seeds with most and least.

    `bound` is that of the median.
    """

    value: float
    low: float
    high: float
    bound: Bound

    def __str__(self) -> str:
        return f"{self.bound}{' ' if self.bound else ''}{self.value:.2g}"


@dataclass(frozen=True)
class Saving:
    """What `magnetic_labels` labels from scratch reach, and how much less transfer needs for it.

    Parameters
    ----------
    error
        Median over the seeds, house units.
    cost
        Of all labels.
    cost_given
        Of magnetic labels alone: the non-magnetic ones were there already.
    """

    magnetic_labels: int
    error: float
    labels: Factor
    cost: Factor
    cost_given: Factor


class WithErrors(Protocol):
    """A number of magnetic labels, and the errors that go with it."""

    @property
    def magnetic_labels(self) -> int:
        """The number."""

    @property
    def rmse(self) -> Mapping[str, float]:
        """By quantity."""


def saving(
    curve: TransferCurve, quantity: str, arm: Arm = Arm.REPLAYED, price: Price = Price.CORE_HOURS
) -> list[Saving]:
    """One entry per number of labels from scratch; empty where an arm has no points or the quantity no errors.

    Each seed is compared with itself. Between the points of the transfer curve its best error so far is interpolated
    linearly in the logarithms of error and labels; beyond them nothing is made up: the factor becomes a bound.
    """
    per_size: dict[int, list[tuple[float, float, float, float, Bound]]] = {}
    for seed in curve.seeds:
        scratch = [p for p in curve.of(Arm.SCRATCH, seed) if quantity in p.rmse]
        transfer = [p for p in curve.of(arm, seed) if quantity in p.rmse]
        if not transfer:
            continue
        for point in scratch:
            labels, bound = labels_for(transfer, quantity, point.rmse[quantity])
            paid, given = (getattr(point, price) / _cost_at(of, labels, price) for of in (transfer, scratch))
            row = (point.rmse[quantity], point.magnetic_labels / labels, paid, given, bound)
            per_size.setdefault(point.magnetic_labels, []).append(row)
    out = []
    for size in sorted(per_size):
        errors, labels_factors, *cost_factors, bounds = zip(*per_size[size], strict=True)
        cost, given = (_factor(factors, bounds) for factors in cost_factors)
        out.append(Saving(size, float(np.median(errors)), _factor(labels_factors, bounds), cost, given))
    return out


def most_saved(curve: TransferCurve, quantity: str, given: Given) -> dict[int, Factor]:
    """How many times fewer magnetic labels `given` knowledge saves at most, by number of labels from scratch."""
    found: dict[int, list[tuple[float, Bound]]] = {}
    for seed in sorted({e.seed for e in curve.ceiling}):
        mine = [e for e in curve.ceiling if e.seed == seed and quantity in e.rmse]
        helped = [e for e in mine if e.given is given]
        for e in mine if helped else ():
            if e.given is Given.NOTHING:
                labels, bound = labels_for(helped, quantity, e.rmse[quantity])
                found.setdefault(e.magnetic_labels, []).append((e.magnetic_labels / labels, bound))
    return {n: _factor(*zip(*found[n], strict=True)) for n in sorted(found)}


def labels_for(points: Sequence[WithErrors], quantity: str, error: float) -> tuple[float, Bound]:
    """The number of magnetic labels with which a curve first meets `error`, by number of labels."""
    sizes = np.array([p.magnetic_labels for p in points], dtype=float)
    best = np.minimum.accumulate([p.rmse[quantity] for p in points])
    if error >= best[0]:
        return float(sizes[0]), Bound.EQUAL if error == best[0] else Bound.MORE
    reached = np.flatnonzero(best <= error)
    if not reached.size:
        return float(sizes[-1]), Bound.LESS
    k = int(reached[0])
    span = np.log(best[k] / best[k - 1])
    share = np.log(error / best[k - 1]) / span
    return float(np.exp(np.log(sizes[k - 1]) + share * np.log(sizes[k] / sizes[k - 1]))), Bound.EQUAL


def _cost_at(points: Sequence[TransferPoint], labels: float, price: Price) -> float:
    """NaN where labels cost nothing."""
    sizes = [p.magnetic_labels for p in points]
    return float(np.interp(labels, sizes, [getattr(p, price) for p in points])) or np.nan


def _factor(values: Sequence[float], bounds: Sequence[Bound]) -> Factor:
    """The median is one of the values (the lower middle one), so that it has a bound of its own."""
    order = np.argsort(values, kind="stable")
    middle = int(order[(len(values) - 1) // 2])
    return Factor(float(values[middle]), float(min(values)), float(max(values)), bounds[middle])
