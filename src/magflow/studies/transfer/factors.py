"""What a transfer saved, as tables and as JSON: in labels, in cost, and at most."""

from __future__ import annotations

from typing import Any

import numpy as np

from magflow.presentation.blocks import Table
from magflow.presentation.formats import NONE, number
from magflow.presentation.quantities import SHOWN, Quantity
from magflow.presentation.sections import TitledTable
from magflow.studies.transfer.ceiling import Given
from magflow.studies.transfer.result import TransferCurve
from magflow.studies.transfer.saving import Factor, Price, Saving, most_saved, saving
from magflow.studies.transfer.ways import Arm

PRICED = {Price.CORE_HOURS: ("core-hours", "core-minutes"), Price.CPU_HOURS: ("CPU-hours", "CPU-minutes")}
"""How a price is called, in hours and in minutes."""

READING = (
    "At the error that so many labels give from scratch: labels from scratch over magnetic labels with transfer; the "
    "cost of the former over that of all labels with transfer, its non-magnetic ones included; and the same with "
    "non-magnetic labels that were there already. Median over the seeds, and their range. "
    '">": the fewest labels tried are enough already; "<": the most labels tried are not enough.'
)
"""How a table of savings is to be read."""
CEILING = (
    "The most that these non-magnetic labels, or an energy surface without moments that is known exactly where they "
    "lie, can save of magnetic labels, whatever is done with them: from the variances that labels leave a linear model "
    "with the parameters, the prior and the noise of one fit."
)
"""How a table of ceilings is to be read."""


def shown(curve: TransferCurve) -> list[Quantity]:
    """The quantities there are errors of."""
    return [q for q in SHOWN if any(q.name in p.rmse for p in curve.points)]


def saved_arms(curve: TransferCurve) -> list[Arm]:
    """Arms that took something from non-magnetic labels, if there is a fit from scratch to hold them against."""
    return [arm for arm in curve.arms if arm is not Arm.SCRATCH and Arm.SCRATCH in curve.arms]


def saving_table(curve: TransferCurve, arm: Arm, price: Price) -> Table:
    """How many times fewer magnetic labels, and hours, one arm needs for the errors of fits from scratch.

    Beside the labels stands the most that can be saved, where that is known.
    """
    hours = PRICED[price][0]
    heads = ["Labels from scratch", "Quantity", "Their error", "Labels", hours, f"{hours}: of magnetic labels"]
    if curve.ceiling:
        heads.insert(4, "Labels: at most")
    found = [(q, s) for q in shown(curve) for s in saving(curve, q.name, arm, price)]
    rows = [_row(curve, q, s) for q, s in sorted(found, key=lambda pair: pair[1].magnetic_labels)]
    return Table(heads, rows, frozenset(range(len(heads))) - {1})


def _row(curve: TransferCurve, q: Quantity, s: Saving) -> list[Any]:
    factors = [factor_text(f) for f in (s.labels, s.cost, s.cost_given)]
    if curve.ceiling:
        most = most_saved(curve, q.name, Given.LABELS).get(s.magnetic_labels)
        factors.insert(1, NONE if most is None else factor_text(most))
    return [s.magnetic_labels, q.title, f"{number(s.error * q.factor)} {q.unit}", *factors]


def ceiling_table(curve: TransferCurve) -> Table:
    """How many times fewer magnetic labels can do at most, with what is known without them."""
    known = (Given.LABELS, Given.SURFACE)
    most = {(q.name, given): most_saved(curve, q.name, given) for q in shown(curve) for given in known}
    heads = ["Labels from scratch", "Quantity", *(f"Given {given}" for given in known)]
    rows = [
        [n, q.title, *(factor_text(most[q.name, given][n]) for given in known)]
        for n in sorted({e.magnetic_labels for e in curve.ceiling if e.given is Given.NOTHING})
        for q in shown(curve)
        if all(n in most[q.name, given] for given in known)
    ]
    return Table(heads, rows, frozenset({0, 2, 3}))


def factor_text(factor: Factor) -> str:
    """``3.1 (2.2 to 4)``; the spread over the seeds is left out where there is none."""
    if not np.isfinite(factor.value):
        return NONE
    spread = f" ({number(factor.low, 2)} to {number(factor.high, 2)})" if factor.high > factor.low else ""
    return f"{factor.bound}{' ' if factor.bound else ''}{number(factor.value, 2)}{spread}"


def saving_tables(curve: TransferCurve, price: Price) -> list[TitledTable]:
    """How much less each arm takes than fits from scratch, and the most that can be saved."""
    tables = [
        TitledTable(
            f"How many times less it takes: {arm} instead of from scratch", saving_table(curve, arm, price), READING
        )
        for arm in saved_arms(curve)
    ]
    if curve.ceiling:
        tables.append(TitledTable("How many times fewer magnetic labels can do at most", ceiling_table(curve), CEILING))
    return tables


def savings(curve: TransferCurve, price: Price) -> dict[str, Any]:
    """The factors, JSON-ready: arm to quantity to one entry per number of labels from scratch."""

    def rows(arm: Arm, quantity: str) -> list[dict[str, Any]]:
        most = most_saved(curve, quantity, Given.LABELS)
        return [
            {
                "labels_from_scratch": s.magnetic_labels,
                "rmse": s.error,
                "labels_factor": _plain(s.labels),
                "labels_factor_at_most": _plain(most[s.magnetic_labels]) if s.magnetic_labels in most else None,
                f"{price}_factor": _plain(s.cost),
                f"{price}_factor_of_magnetic_labels": _plain(s.cost_given),
            }
            for s in saving(curve, quantity, arm, price)
        ]

    return {str(arm): {q.name: rows(arm, q.name) for q in shown(curve)} for arm in saved_arms(curve)}


def _plain(factor: Factor) -> dict[str, Any]:
    values = {name: getattr(factor, name) for name in ("value", "low", "high")}
    return {k: v if np.isfinite(v) else None for k, v in values.items()} | {"bound": str(factor.bound)}
