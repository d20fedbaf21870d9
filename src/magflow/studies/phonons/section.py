"""What the benchmark of phonons says to people: mean errors, every record, a figure."""

from __future__ import annotations

from typing import Any

import numpy as np

from magflow.presentation.blocks import Plot, Table, plot
from magflow.presentation.formats import NONE, number, plural
from magflow.presentation.sections import Section, TitledTable
from magflow.presentation.style import SERIES, draw
from magflow.properties.recorded import Geometry
from magflow.properties.vibrations import COMPARED, HEADS, TEMPERATURE
from magflow.studies.base import Study, Traces, read_result
from magflow.studies.phonons.result import DIRECTORY, RESULTS, PhononBenchmark, failures
from magflow.studies.phonons.task import PhononTask

_GEOMETRY = {
    Geometry.RELAXED: "Each potential is asked in the crystal that is at rest on it.",
    Geometry.KEPT: "Each potential is asked in the recorded crystal.",
}


def section(benchmark: PhononBenchmark) -> Section:
    """The benchmark as a part of a page."""
    return Section(
        name="phonon-records",
        label="Phonons of records",
        title="Phonons against records",
        explanation=f"Harmonic phonons of {plural(len(benchmark.records), 'crystal')} in the supercells of their "
        f"records, one atom displaced by {benchmark.displacement:g} Å. {_GEOMETRY[benchmark.geometry]} Thermodynamic "
        f"functions at {TEMPERATURE:g} K, per mole of atoms.",
        lead=[mean_table(benchmark)],
        plots=[parity_plot(benchmark)] if benchmark.shared else [],
        tables=[record_table(benchmark)],
        remarks=remarks(benchmark),
    )


def mean_table(benchmark: PhononBenchmark) -> TitledTable:
    """One row per potential: mean absolute errors, and what they are of those of the first."""
    rows = []
    for potential in benchmark.potentials:
        errors, change = benchmark.mean_errors(potential), benchmark.change(potential)
        spent = [a.cpu_seconds for a in benchmark.of(potential).values() if a.cpu_seconds is not None]
        told = NONE if change is None or potential == benchmark.potentials[0] else f"{100.0 * change:+.1f} %"
        cells = [number(errors.get(q)) for q in COMPARED]
        rows.append([potential, *cells, told, len(benchmark.unstable(potential)), number(sum(spent))])
    heads = ["Potential", *(HEADS[q] for q in COMPARED), "Mean change", "Unstable", "CPU s"]
    note = (
        f"Over the {plural(len(benchmark.shared), 'record')} that all answer. Mean change: of the four, against "
        f"{benchmark.potentials[0]}. Unstable: imaginary modes where the record has none."
    )
    return TitledTable("Mean absolute error", Table(heads, rows, frozenset(range(1, len(heads)))), note)


def record_table(benchmark: PhononBenchmark) -> TitledTable:
    """A row of each record, then one of each potential."""
    rows = []
    for record in benchmark.records:
        v = record.vibrations
        rows.append([record.name, "record", record.atoms, *(number(getattr(v, q), 4) for q in COMPARED), NONE])
        for potential in benchmark.potentials:
            answer = benchmark.of(potential).get(record.name)
            if answer is None or answer.vibrations is None:
                continue
            cells = [number(getattr(answer.vibrations, q), 4) for q in COMPARED]
            rows.append(["", potential, "", *cells, number(answer.volume, 4)])
    heads = ["Record", "Of", "Atoms", *(HEADS[q] for q in COMPARED), "Volume / recorded"]
    return TitledTable("Records", Table(heads, rows, frozenset(range(2, len(heads)))), folded=True)


def remarks(benchmark: PhononBenchmark) -> list[tuple[str, str]]:
    """What has no answer, what is unstable, what was left out."""
    out = []
    for potential in benchmark.potentials:
        for why, records in failures(list(benchmark.of(potential).values())).items():
            told = plural(len(records), "record")
            out.append(
                (potential, f"no answer on {told} ({', '.join(records[:4])}{', ...' * (len(records) > 4)}): {why}")
            )
        if unstable := benchmark.unstable(potential):
            out.append((potential, f"imaginary modes where the record has none: {', '.join(unstable)}"))
    if benchmark.left_out:
        out.append(("records", f"{benchmark.left_out} left out: their supercells are larger than was asked for"))
    return out


def parity_plot(benchmark: PhononBenchmark) -> Plot:
    """What potentials say over what the records say."""
    numbers = columns(benchmark)

    def paint(panels: Any) -> None:
        for axes, quantity in zip(panels.ravel(), COMPARED, strict=True):
            true = np.array([getattr(r.vibrations, quantity) for r in benchmark.shared])
            for k, potential in enumerate(benchmark.potentials):
                error = benchmark.errors(potential, quantity)
                if len(error):
                    axes.plot(true, error, "o", color=SERIES[k % len(SERIES)], ms=3, alpha=0.8, label=potential)
            axes.axhline(0.0, lw=0.8, color="0.5")
            axes.set_xlabel(HEADS[quantity])
            axes.set_ylabel("Error")
        panels.ravel()[0].legend()

    caption = "Error of each record against what the record says."
    return plot(draw(7.2, 5.0, paint, nrows=2, ncols=2), "phonon-records", caption, numbers, wide=True)


def columns(benchmark: PhononBenchmark) -> dict[str, list[Any]]:
    """One row per answer; heads carry the unit, what there is not is NaN."""
    known = {record.name: record for record in benchmark.records}
    out: dict[str, list[Any]] = {
        "record": [a.record for a in benchmark.answers],
        "potential": [a.potential for a in benchmark.answers],
        "atoms": [known[a.record].atoms for a in benchmark.answers],
    }
    for quantity in (*COMPARED, "lowest"):
        out[f"{quantity} ({_UNITS[quantity]})"] = [
            _or_nan(getattr(a.vibrations, quantity, None)) for a in benchmark.answers
        ]
        truth = [getattr(known[a.record].vibrations, quantity) for a in benchmark.answers]
        out[f"{quantity} of the record ({_UNITS[quantity]})"] = truth
    out["volume over recorded"] = [_or_nan(a.volume) for a in benchmark.answers]
    out["CPU s"] = [_or_nan(a.cpu_seconds) for a in benchmark.answers]
    out["failure"] = [a.failure or "" for a in benchmark.answers]
    return out


_UNITS = {
    "highest": "THz",
    "lowest": "THz",
    "entropy": "J/(K mol)",
    "free_energy": "kJ/mol",
    "heat_capacity": "J/(K mol)",
}


def _or_nan(value: float | None) -> float:
    return float(np.nan) if value is None else value


def left_in(traces: Traces) -> PhononBenchmark | None:
    """The benchmark in the directory of a campaign."""
    return read_result(traces.directory / DIRECTORY / RESULTS, PhononBenchmark)


STUDY = Study("phonons", PhononTask, PhononBenchmark, left_in, section)
