"""What a transfer curve says to people: a figure, a table of errors, and its section on a page."""

from __future__ import annotations

from typing import Any

import numpy as np

from magflow.presentation.blocks import Plot, Table, plot
from magflow.presentation.formats import number, plural
from magflow.presentation.sections import Place, Section, TitledTable
from magflow.studies.base import Study, Traces
from magflow.studies.transfer.factors import PRICED, saving_tables, shown
from magflow.studies.transfer.figures import Curve, transfer_figure
from magflow.studies.transfer.question import remarks
from magflow.studies.transfer.result import TransferCurve, TransferPoint
from magflow.studies.transfer.saving import Price
from magflow.studies.transfer.task import TransferTask


def cost_unit(curve: TransferCurve, price: Price) -> tuple[str, float]:
    """The unit in which the costs are readable, and hours to that unit."""
    largest = max((getattr(p, price) for p in curve.points), default=0.0)
    hours, minutes = PRICED[price]
    return (minutes, 60.0) if largest < 0.5 else (hours, 1.0)


def curves(curve: TransferCurve, price: Price) -> dict[str, dict[str, Curve]]:
    """Way to fit, to quantity, to errors over the seeds; errors and costs in the units they are shown in."""
    _, factor = cost_unit(curve, price)
    out: dict[str, dict[str, Curve]] = {}
    for arm in curve.arms:
        sizes = sorted({p.magnetic_labels for p in curve.points if p.arm is arm})
        groups = [[p for p in curve.points if (p.arm, p.magnetic_labels) == (arm, n)] for n in sizes]
        cost = np.array([np.mean([getattr(p, price) for p in group]) for group in groups]) * factor
        for q in shown(curve):
            errors = [np.array([p.rmse[q.name] for p in group if q.name in p.rmse]) * q.factor for group in groups]
            if all(len(e) for e in errors):
                bands = np.array([(np.median(e), e.min(), e.max()) for e in errors]).T
                out.setdefault(str(arm), {})[q.name] = Curve(np.array(sizes, dtype=float), cost, bands)
    return out


def columns(curve: TransferCurve) -> dict[str, list[Any]]:
    """One row per point; heads carry the unit."""
    out: dict[str, list[Any]] = {
        "fit": [str(p.arm) for p in curve.points],
        "seed": [p.seed for p in curve.points],
        "magnetic_labels": [p.magnetic_labels for p in curve.points],
        "non_magnetic_labels": [p.non_magnetic_labels for p in curve.points],
        "core_hours": [p.core_hours for p in curve.points],
        "cpu_hours": [p.cpu_hours for p in curve.points],
        "fit (CPU s)": [p.fit_cpu_seconds for p in curve.points],
    }
    for q in shown(curve):
        out[f"rmse_{q.name} ({q.unit})"] = [p.rmse.get(q.name, np.nan) * q.factor for p in curve.points]
    return out


def transfer_plot(curve: TransferCurve, price: Price) -> Plot:
    """The figure, for a page."""
    unit, _ = cost_unit(curve, price)
    figure = transfer_figure(shown(curve), curves(curve, price), unit)
    seeds = len(curve.seeds)
    spread = "" if seeds == 1 else f" Line: median of {seeds} seeds; band: all of them."
    caption = f"RMSE on held-out magnetic labels against their number and against the cost of all labels.{spread}"
    return plot(figure, "transfer", caption, columns(curve), wide=True)


def error_table(curve: TransferCurve) -> Table:
    """Median error of every way to fit and number of labels."""
    quantities = shown(curve)
    heads = ["Fit", "Magnetic labels", *(f"{q.title} ({q.unit})" for q in quantities), "Fit (CPU s)"]
    rows = []
    for arm in curve.arms:
        for n in sorted({p.magnetic_labels for p in curve.points if p.arm is arm}):
            group = [p for p in curve.points if (p.arm, p.magnetic_labels) == (arm, n)]
            errors = [float(np.median([p.rmse.get(q.name, np.nan) for p in group])) * q.factor for q in quantities]
            rows.append(
                [str(arm), n, *map(number, errors), number(float(np.mean([p.fit_cpu_seconds for p in group])), 2)]
            )
    return Table(heads, rows, frozenset(range(1, len(heads))))


def section(curve: TransferCurve) -> Section:
    """The comparison of a campaign's ensembles with fits from scratch, as a part of its page."""
    price = Price.CORE_HOURS
    return Section(
        name="transfer",
        label="Transfer",
        title="What the non-magnetic start saves",
        explanation="Two ensembles per iteration, on the same magnetic labels: that of the campaign, which starts from "
        "one trained on non-magnetic labels, and a control fitted from scratch. Both are held against "
        f"{plural(curve.about['test_labels'], 'magnetic label')} drawn at random from the domain, which neither has "
        "seen. What the test labels took is not part of the cost; what the non-magnetic ones took is.",
        plots=[transfer_plot(curve, price)],
        tables=[*saving_tables(curve, price), TitledTable("Errors on the held-out labels", error_table(curve))],
        remarks=remarks(curve.about),
        place=Place.ERRORS,
    )


def left_in(traces: Traces) -> TransferCurve | None:
    """A point per iteration and ensemble, of a campaign that starts from non-magnetic labels."""
    documents = traces.documents("transfer")
    if not documents:
        return None
    points = [TransferPoint.from_dict(point) for document in documents for point in document["points"]]
    return TransferCurve(tuple(points), {"test_labels": documents[-1]["test_labels"]})


STUDY = Study("transfer", TransferTask, TransferCurve, left_in, section)
