"""What a comparison of families says to people: a figure, tables of errors and costs, remarks."""

from __future__ import annotations

from typing import Any

import numpy as np

from magflow.presentation.blocks import Plot, Table, plot
from magflow.presentation.formats import NONE, number, plural, without_ones
from magflow.presentation.quantities import SHOWN, Quantity
from magflow.presentation.sections import Section, TitledTable
from magflow.studies.base import Study, Traces
from magflow.studies.compare.figures import Panel, comparison_figure
from magflow.studies.compare.result import DIRECTORY, ComparedFit, Comparison, Standing, read_comparison
from magflow.studies.compare.task import ComparisonTask


def shown(comparison: Comparison) -> list[Quantity]:
    """The quantities the test labels hold."""
    return [q for q in SHOWN if q.name in comparison.quantities]


def main_quantity(comparison: Comparison) -> str:
    """What entries are sorted by unless somebody says otherwise: forces, or energies where there are none."""
    return "forces" if "forces" in comparison.quantities else "energy"


def error_table(comparison: Comparison, by: str, statistic: str = "rmse") -> Table:
    """One row per entry: medians over the seeds, with their range."""
    heads = ["Entry", *(f"{q.title} ({q.unit})" for q in shown(comparison))]
    rows = []
    for s in comparison.standings(by):
        errors = getattr(s, statistic)
        rows.append([_name(s), *(_range(errors.get(q.name), q.factor) for q in shown(comparison))])
    return Table(heads, rows, frozenset(range(1, len(heads))))


def cost_table(comparison: Comparison, by: str) -> Table:
    """One row per entry: what came of its fits, what one cost, what an evaluation costs; medians over the seeds."""
    heads = ["Entry", "Fits", "Training (CPU s)", "Single call (μs/atom)", "Batch (μs/atom)"]
    rows = []
    for s in comparison.standings(by):
        costs = [number(x) for x in (s.train_cpu_seconds, s.single_us_per_atom, s.batch_us_per_atom)]
        rows.append([_name(s), f"{s.fits - s.failed} of {s.fits}", *costs])
    return Table(heads, rows, frozenset(range(1, len(heads))))


def _name(s: Standing) -> str:
    return s.entry if s.entry == s.family else f"{s.entry} ({s.family})"


def _range(values: tuple[float, float, float] | None, factor: float) -> str:
    if values is None:
        return NONE
    median, low, high = (number(v * factor) for v in values)
    return median if low == high else f"{median} ({low} to {high})"


def remarks(comparison: Comparison, by: str) -> list[tuple[str, str]]:
    """Entry and what is to be known about it, in the order of the table."""
    return [(_name(s), text) for s in comparison.standings(by) for text in s.remarks]


def stratum_table(comparison: Comparison, quantity: Quantity) -> Table:
    """RMSE of one quantity by stratum (rows) and entry: median over the seeds."""
    order = [s.entry for s in comparison.standings(quantity.name)]
    good = {name: [fit for fit in comparison.of(name) if fit.ok and fit.strata] for name in order}
    first = next((fits[0] for fits in good.values() if fits), None)
    rows = []
    for kind, strata in (first.strata or {}).items() if first else ():
        for stratum, found in strata.items():
            errors = [_stratum_error(good[name], kind, stratum, quantity.name) for name in order]
            rows.append(
                [kind, without_ones(stratum), found["labels"], *(number(e and e * quantity.factor) for e in errors)]
            )
    heads = ["Stratum", "", "Labels", *order]
    return Table(heads, rows, frozenset(range(2, len(heads))))


def _stratum_error(fits: list[ComparedFit], kind: str, stratum: str, quantity: str) -> float | None:
    found = [fit.strata[kind][stratum]["errors"] for fit in fits if fit.strata]
    values = [errors[quantity]["rmse"] for errors in found if quantity in errors]
    return float(np.median(values)) if values else None


def columns(comparison: Comparison) -> dict[str, list[Any]]:
    """One row per fit; heads carry the unit, what there is not is NaN."""
    fits = comparison.fits
    family = {entry["name"]: entry["family"] for entry in comparison.about["entries"]}
    out: dict[str, list[Any]] = {
        "entry": [f.entry for f in fits],
        "family": [family[f.entry] for f in fits],
        "seed": [f.seed for f in fits],
    }
    for q in shown(comparison):
        for statistic in ("rmse", "mae"):
            found = [(f.errors or {}).get(q.name, {}).get(statistic, np.nan) * q.factor for f in fits]
            out[f"{statistic}_{q.name} ({q.unit})"] = found
    out["training (CPU s)"] = [_or_nan(f.fit_cpu_seconds) for f in fits]
    out["single call (us/atom)"] = [f.inference.single_us_per_atom if f.inference else np.nan for f in fits]
    out["batch (us/atom)"] = [f.inference.batch_us_per_atom if f.inference else np.nan for f in fits]
    out["failure"] = [f.failure or "" for f in fits]
    return out


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def comparison_plot(comparison: Comparison, by: str) -> Plot:
    """The figure, for a page."""
    order = [s.entry for s in comparison.standings(by)]
    numbers = columns(comparison)
    panels = [
        Panel(q.title, f"RMSE ({q.unit})", _values(comparison, f"rmse_{q.name} ({q.unit})")) for q in shown(comparison)
    ]
    panels += [
        Panel("Training", "CPU s", _values(comparison, "training (CPU s)")),
        Panel("Inference, batch", "μs per atom", _values(comparison, "batch (us/atom)")),
    ]
    test = comparison.about["labels"]["test"]
    seeds = len({fit.seed for fit in comparison.fits})
    caption = (
        f"Families on the same {plural(test['count'], 'test label')}: a dot per seed ({seeds}), a bar at the median."
    )
    return plot(comparison_figure(order, panels), "comparison", caption, numbers, wide=True)


def _values(comparison: Comparison, column: str) -> dict[str, list[float]]:
    out: dict[str, list[float]] = {}
    for fit, value in zip(comparison.fits, columns(comparison)[column], strict=True):
        if np.isfinite(value):
            out.setdefault(fit.entry, []).append(float(value))
    return out


def section(comparison: Comparison) -> Section:
    """The comparison as a part of a page."""
    by = main_quantity(comparison)
    labels = comparison.about["labels"]
    tables = [
        TitledTable("RMSE", error_table(comparison, by)),
        TitledTable("Mean absolute error", error_table(comparison, by, "mae")),
        TitledTable("Cost", cost_table(comparison, by)),
    ]
    for q in shown(comparison):
        title = f"{q.title}, RMSE ({q.unit}) by stratum"
        tables.append(TitledTable(title, stratum_table(comparison, q), folded=True))
    return Section(
        name="families",
        label="Families",
        title="Families side by side",
        explanation="Each fit is one potential that learnt from the same "
        f"{plural(labels['train']['count'], 'label')} and is held against the same {labels['test']['count']} others; "
        "median and range over the seeds. Inference: processor time of energy, forces, stress and what magnetic "
        "forces there are, on one core.",
        plots=[comparison_plot(comparison, by)],
        tables=tables,
        remarks=remarks(comparison, by),
    )


def left_in(traces: Traces) -> Comparison | None:
    """The comparison in the directory of a campaign."""
    return read_comparison(traces.directory / DIRECTORY)


STUDY = Study("compare", ComparisonTask, Comparison, left_in, section)
