"""What the benchmark says to people: sentences, figures, tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from magflow.dft.electrons import BROADENING, WINDOW
from magflow.presentation.blocks import Plot, Table, plot
from magflow.presentation.formats import NONE, number, plural
from magflow.presentation.quantities import SHOWN, Quantity
from magflow.presentation.sections import Section, TitledTable
from magflow.studies.base import Study, Traces, read_result
from magflow.studies.tm.figures import Panel, curves_figure, metals_figure, points_figure
from magflow.studies.tm.findings import findings, variations
from magflow.studies.tm.result import DIRECTORY, QUANTITIES, RESULTS, Spread, Subject, TmBenchmark, TmFit, failures
from magflow.studies.tm.task import TmTask

FEWEST = 3
"""Rows of which a correlation is told."""

Cell = Callable[[Subject, str], Spread | None]
"""What a table shows of a subject and a contender."""


def section(benchmark: TmBenchmark) -> Section:
    """The benchmark as a part of a page."""
    about = benchmark.about
    size = benchmark.main_size
    plots, lead, tables = [], [], []
    if size is not None:
        lead = [main_table(benchmark, size)]
        plots = [metals_plot(benchmark, size), *curve_plots(benchmark, size), *electron_plots(benchmark, size)]
        tables = [
            *error_tables(benchmark, size),
            *setting_tables(benchmark, size),
            *smearing_tables(benchmark, size),
            *electron_tables(benchmark, size),
            *stratum_tables(benchmark, size),
        ]
    return Section(
        name="tm",
        label="Metals",
        title="How hard metals are to learn",
        explanation=f"Each fit is one potential. A seed ({len(about['seeds'])} here) draws the test labels, those to "
        "learn from, and the start of the fit; families and numbers of labels share them. Median over the seeds, and "
        "their range in brackets. The relative error of forces is their RMSE over the root mean square of the forces "
        "themselves, so that 100 % is what zero forces would give.",
        plots=plots,
        lead=lead,
        tables=[*tables, labels_table(benchmark), curve_table(benchmark), cost_table(benchmark)],
        remarks=[*findings(benchmark), *complaints(benchmark)],
    )


def complaints(benchmark: TmBenchmark) -> list[tuple[str, str]]:
    """What there is no potential of, and why; and numbers of labels that a row could not give."""
    out = []
    for contender in benchmark.contenders:
        fits = benchmark.of(contender=contender)
        for why, failed in failures(fits).items():
            rows = ", ".join(dict.fromkeys(fit.case.row for fit in failed))
            where = "" if len(failed) == len(fits) else f" ({rows})"
            out.append((contender, f"{len(failed)} of {plural(len(fits), 'fit')} failed{where}: {why}"))
        slow = [fit for fit in fits if fit.converged is False]
        if slow:
            out.append((contender, f"{len(slow)} of {plural(len(fits), 'fit')} ended before they had converged"))
    for row in benchmark.rows:
        most = benchmark.about["rows"][row]["to_learn_from"]
        if over := [str(n) for n in benchmark.about["sizes"] if n > most]:
            out.append((row, f"has {plural(most, 'label')} to learn from: no fits to {', '.join(over)}"))
    return out


def _table(benchmark: TmBenchmark, cell: Cell, factor: float = 1.0, head: str = "Metal") -> Table:
    """One row per subject, one column per contender: median and range over the seeds."""
    rows = []
    for subject in benchmark.subjects:
        rows.append([str(subject), *(_spread(cell(subject, c), factor) for c in benchmark.contenders)])
    return Table([head, *benchmark.contenders], rows, frozenset(range(1, len(benchmark.contenders) + 1)))


def _spread(spread: Spread | None, factor: float = 1.0) -> str:
    if spread is None:
        return NONE
    median, low, high = (number(v * factor) for v in (spread.median, spread.low, spread.high))
    return median if low == high else f"{median} ({low} to {high})"


def main_table(benchmark: TmBenchmark, size: int) -> TitledTable:
    """The answer in short."""
    return TitledTable(
        f"Relative error of forces (%), from {plural(size, 'label')}",
        _table(benchmark, lambda subject, contender: benchmark.relative(subject, contender, size), 100.0),
    )


def error_tables(benchmark: TmBenchmark, size: int) -> list[TitledTable]:
    """The other norm of forces, and the errors themselves, quantity by quantity."""

    def absolute(subject: Subject, contender: str) -> Spread | None:
        scores = [fit.score("forces") for fit in benchmark.of(subject, contender, size)]
        return Spread.of(score.relative_mae for score in scores if score is not None)

    def rmse(q: Quantity) -> TitledTable:
        table = _table(benchmark, lambda s, c: benchmark.error(s, c, size, q.name), q.factor)
        return TitledTable(f"{q.title}, RMSE ({q.unit})", table)

    note = "Mean absolute error over the mean absolute component of the forces: smaller errors and forces weigh more."
    title = "Mean absolute error of forces (% of their mean absolute value)"
    norm = TitledTable(title, _table(benchmark, absolute, 100.0), note)
    known = [q for q in SHOWN if any(fit.score(q.name) is not None for fit in benchmark.fits)]
    return [norm, *(rmse(q) for q in known)]


def stratum_tables(benchmark: TmBenchmark, size: int) -> list[TitledTable]:
    """Relative errors of forces by temperature, group, file and size of the forces."""
    kinds = {kind for fit in benchmark.fits if fit.judged for kind in fit.judged.strata}
    out = []
    for kind in sorted(kinds):
        rows = []
        for subject in benchmark.subjects:
            good = [fit for fit in benchmark.of(subject, labels=size) if fit.judged]
            names = list(dict.fromkeys(name for fit in good if fit.judged for name in fit.judged.strata.get(kind, ())))
            for name in names:
                cells = [
                    _spread(_in_stratum(benchmark.of(subject, c, size), kind, name), 100.0)
                    for c in benchmark.contenders
                ]
                rows.append([str(subject), name, *cells])
        heads = ["Metal", kind.capitalize(), *benchmark.contenders]
        note = "Thirds of the test labels by the root mean square of their forces." if kind == "forces" else ""
        title = f"Relative error of forces (%) by {kind if kind != 'forces' else 'how large the forces are'}"
        out.append(TitledTable(title, Table(heads, rows, frozenset(range(2, len(heads)))), note, folded=True))
    return out


def setting_tables(benchmark: TmBenchmark, size: int) -> list[TitledTable]:
    """Relative errors of forces along each setting that is varied, a row per subject."""
    out = []
    for variation in variations(benchmark):
        rows = [
            [str(subject), *(_spread(benchmark.relative(subject, name, size), 100.0) for name in variation.names)]
            for subject in benchmark.subjects
        ]
        title = f"Relative error of forces (%) of {variation.base} by {variation.key}"
        out.append(TitledTable(title, _right(["Metal", *variation.words], rows)))
    return out


def smearing_tables(benchmark: TmBenchmark, size: int) -> list[TitledTable]:
    """Relative errors of forces of the same elements at several smearings."""
    rows = [
        [str(subject), benchmark.smearing(subject.row), *_errors(benchmark, subject, size)]
        for subjects in benchmark.smeared
        for subject in subjects
    ]
    heads = ["Metal", "Smearing", *benchmark.contenders]
    table = Table(heads, rows, frozenset(range(2, len(heads))))
    return [TitledTable("Relative error of forces (%) by smearing", table)] if rows else []


def _errors(benchmark: TmBenchmark, subject: Subject, size: int) -> list[str]:
    """Relative errors of forces of one subject, contender by contender, %."""
    return [_spread(benchmark.relative(subject, c, size), 100.0) for c in benchmark.contenders]


def electron_tables(benchmark: TmBenchmark, size: int) -> list[TitledTable]:
    """Electronic structure of the labels beside the errors, and how the two go together."""
    names = benchmark.electrons
    if not names:
        return []
    heads = ["Metal", *(QUANTITIES[name] for name in names), *benchmark.contenders]
    rows = []
    for subject in benchmark.subjects:
        told = benchmark.about["rows"][subject.row].get("electrons", {})
        numbers = [number(told.get(name)) for name in names]
        rows.append([str(subject), *numbers, *_errors(benchmark, subject, size)])
    note = (
        f"Means over the labels. States of both spins at the Fermi level, each a Gaussian of {BROADENING:g} eV "
        "(standard deviation); mean energy and root of the second moment of the share of l = 2 in the PAW spheres, "
        f"empty states included, within {WINDOW:g} eV of the Fermi level."
    )
    tables = [TitledTable("Electronic structure and relative error of forces (%)", _right(heads, rows), note)]
    heads = ["Of the error with", *benchmark.contenders]
    rows = [
        [QUANTITIES[name], *(_correlation(benchmark.against(name, c, size)) for c in benchmark.contenders)]
        for name in names
    ]
    note = f"Spearman's coefficient over the rows, of medians over the seeds; from {FEWEST} rows on."
    return [*tables, TitledTable("Rank correlation with the electronic structure", _right(heads, rows), note)]


def _right(heads: list[str], rows: list[list[Any]]) -> Table:
    return Table(heads, rows, frozenset(range(1, len(heads))))


def _correlation(points: Mapping[str, tuple[float, Spread]]) -> str:
    """Of the medians with what they are held against, and of how many rows."""
    from scipy.stats import spearmanr

    x, y = [value for value, _ in points.values()], [spread.median for _, spread in points.values()]
    if len(points) < FEWEST or len(set(x)) < 2 or len(set(y)) < 2:
        return NONE
    return f"{spearmanr(x, y).statistic:+.2f} ({len(points)} rows)".replace("-", "\N{MINUS SIGN}")


def _in_stratum(fits: list[TmFit], kind: str, name: str) -> Spread | None:
    scores = [fit.judged.strata.get(kind, {}).get(name, {}).get("forces") for fit in fits if fit.judged]
    return Spread.of(score.relative for score in scores if score is not None)


def labels_table(benchmark: TmBenchmark) -> TitledTable:
    """What was learnt from and tested on."""
    heads = ["Metal", "Column", "Kind", "Smearing", "Labels", "Atoms per label", "To learn from", "To test on"]
    heads += ["Split", "RMS force (eV/Å)"]
    rows = []
    for name in benchmark.rows:
        row = benchmark.about["rows"][name]
        split = "of the data" if row["own_split"] else "by " + (", ".join(row["strata"]) or "chance")
        atoms = number(row["atoms"] / row["labels"])
        parts = [row["to_learn_from"], row["to_test_on"]]
        level = [row.get("kind", NONE), benchmark.smearing(name) or NONE]
        rms = number(row["rms_force"])
        rows.append([name, row["column"] or NONE, *level, row["labels"], atoms, *parts, split, rms])
    return TitledTable("Labels", Table(heads, rows, frozenset({1, 4, 5, 6, 7, 9})))


def curve_table(benchmark: TmBenchmark) -> TitledTable:
    """Relative errors of forces for every number of labels."""
    rows = []
    for subject in benchmark.subjects:
        for n in benchmark.sizes:
            cells = [_spread(benchmark.relative(subject, c, n), 100.0) for c in benchmark.contenders]
            if any(cell != NONE for cell in cells):
                rows.append([str(subject), n, *cells])
    heads = ["Metal", "Labels", *benchmark.contenders]
    table = Table(heads, rows, frozenset(range(1, len(heads))))
    return TitledTable("Relative error of forces (%) by number of labels", table, folded=True)


def cost_table(benchmark: TmBenchmark) -> TitledTable:
    """What a fit to the most labels and an evaluation cost, over all rows and seeds."""
    heads = [
        "Family",
        "Labels",
        "Training (CPU s)",
        "Training (CPU ms per atom)",
        "Single call (μs/atom)",
        "Batch (μs/atom)",
    ]
    rows = []
    for contender in benchmark.contenders:
        good = [fit for fit in benchmark.of(contender=contender) if fit.failure is None]
        most = max((fit.case.labels for fit in good), default=0)
        last = [fit for fit in good if fit.case.labels == most]
        timed = [fit.inference for fit in last if fit.inference]
        cpu = Spread.of(fit.fit_cpu_seconds for fit in last)
        each = Spread.of(1e3 * fit.fit_cpu_seconds / fit.atoms for fit in last if fit.fit_cpu_seconds and fit.atoms)
        single, batch = (Spread.of(getattr(t, f"{how}_us_per_atom") for t in timed) for how in ("single", "batch"))
        rows.append([contender, most or NONE, *map(_spread, (cpu, each, single, batch))])
    note = "Of the largest number of labels; median and range over metals and seeds, on one core."
    return TitledTable("Cost", Table(heads, rows, frozenset(range(1, len(heads)))), note)


def metals_plot(benchmark: TmBenchmark, size: int) -> Plot:
    """By metal, from the left of the periodic table to its right."""
    errors: dict[str, dict[str, list[float]]] = {}
    for contender in benchmark.contenders:
        for subject in benchmark.subjects:
            found = [fit.relative_force_error for fit in benchmark.of(subject, contender, size)]
            errors.setdefault(contender, {})[str(subject)] = [100.0 * e for e in found if e is not None]
    shown = {contender: found for contender, found in errors.items() if any(found.values())}
    figure = metals_figure([str(s) for s in benchmark.subjects], shown)
    caption = (
        f"RMSE of forces over their root mean square, from {plural(size, 'label')}; metals in the order of their "
        "column. A dot per seed, a bar at the median."
    )
    return plot(figure, "metals", caption, columns(benchmark), wide=True)


def curve_plots(benchmark: TmBenchmark, size: int) -> list[Plot]:
    """Learning curves, and errors against settings that are varied, where there are several of either."""
    out = []
    caption = "Relative error of forces on test labels: median over the seeds, and their range."
    if len(benchmark.sizes) > 1:
        panels = [
            Panel(str(s), "Labels learnt from", {c: _curve(benchmark, s, c) for c in benchmark.contenders})
            for s in benchmark.subjects
        ]
        figure = curves_figure(_filled(panels), logarithmic=True)
        out.append(plot(figure, "learning", caption, columns(benchmark), wide=True))
    varied = []
    for variation in variations(benchmark):
        curves: dict[str, dict[float, Spread]] = {}
        for subject in benchmark.subjects:
            for place, name in zip(variation.places, variation.names, strict=True):
                spread = benchmark.relative(subject, name, size)
                if spread is not None:
                    curves.setdefault(str(subject), {})[place] = _percent(spread)
        ticks = dict(zip(variation.places, variation.words, strict=True))
        varied.append(Panel(variation.base, variation.key, curves, ticks))
    if varied:
        figure = curves_figure(varied, logarithmic=False)
        text = f"{caption} From {plural(size, 'label')}."
        out.append(plot(figure, "settings", text, columns(benchmark), wide=len(varied) > 1))
    return out


def electron_plots(benchmark: TmBenchmark, size: int) -> list[Plot]:
    """Errors against the electronic structure, where labels tell it."""
    panels, metals = [], []
    for name in benchmark.electrons:
        found = {c: benchmark.against(name, c, size) for c in benchmark.contenders}
        curves = {c: _points(points) for c, points in found.items() if points}
        if curves:
            panels.append(Panel("", QUANTITIES[name], curves))
            metals.append({value: row for points in found.values() for row, (value, _) in points.items()})
    if not panels:
        return []
    text = (
        f"Relative error of forces from {plural(size, 'label')} against what eigenvalues say of the labels: median "
        "over the seeds, and their range; a point per row."
    )
    figure = points_figure(panels, metals)
    return [plot(figure, "electrons", text, columns(benchmark), wide=len(panels) > 1)]


def _points(points: Mapping[str, tuple[float, Spread]]) -> dict[float, Spread]:
    return {value: _percent(spread) for value, spread in points.values()}


def _filled(panels: list[Panel]) -> list[Panel]:
    """Without curves that have no point."""
    return [Panel(p.title, p.x, {name: points for name, points in p.curves.items() if points}) for p in panels]


def _curve(benchmark: TmBenchmark, subject: Subject, contender: str) -> dict[float, Spread]:
    spreads = {float(n): benchmark.relative(subject, contender, n) for n in benchmark.sizes}
    return {n: _percent(spread) for n, spread in spreads.items() if spread is not None}


def _percent(spread: Spread) -> Spread:
    return Spread(100.0 * spread.median, 100.0 * spread.low, 100.0 * spread.high, spread.seeds)


def columns(benchmark: TmBenchmark) -> dict[str, list[Any]]:
    """One row per fit; heads carry the unit, what there is not is NaN."""
    fits = benchmark.fits
    out: dict[str, list[Any]] = {
        "metal": [fit.case.row for fit in fits],
        "moments": [str(fit.case.reading) for fit in fits],
        "family": [fit.case.contender for fit in fits],
        "labels": [fit.case.labels for fit in fits],
        "seed": [fit.case.seed for fit in fits],
        "relative force error (%)": [100.0 * _or_nan(fit.relative_force_error) for fit in fits],
    }
    for q in SHOWN:
        if any(fit.score(q.name) is not None for fit in fits):
            for statistic in ("rmse", "mae"):
                found = [q.factor * _or_nan(getattr(fit.score(q.name), statistic, None)) for fit in fits]
                out[f"{statistic}_{q.name} ({q.unit})"] = found
    out["training (CPU s)"] = [_or_nan(fit.fit_cpu_seconds) for fit in fits]
    out["single call (us/atom)"] = [_or_nan(getattr(fit.inference, "single_us_per_atom", None)) for fit in fits]
    out["batch (us/atom)"] = [_or_nan(getattr(fit.inference, "batch_us_per_atom", None)) for fit in fits]
    out["failure"] = [fit.failure or "" for fit in fits]
    return out


def _or_nan(value: float | None) -> float:
    return float(np.nan) if value is None else value


def left_in(traces: Traces) -> TmBenchmark | None:
    """The benchmark in the directory of a campaign."""
    return read_result(traces.directory / DIRECTORY / RESULTS, TmBenchmark)


STUDY = Study("tm", TmTask, TmBenchmark, left_in, section)
