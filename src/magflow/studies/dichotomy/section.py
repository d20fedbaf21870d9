"""What a dichotomy says to people before its validation: label sets and potentials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magflow.core.prediction import QUANTITIES
from magflow.presentation.blocks import Table
from magflow.presentation.formats import NONE, number, plural
from magflow.presentation.quantities import quantity
from magflow.presentation.sections import Section, TitledTable
from magflow.studies.dichotomy.result import Dichotomy


def section(result: Dichotomy) -> Section:
    """Label sets and potentials as a part of a page."""
    return Section(
        name="dichotomy",
        label="Labels and potentials",
        title=f"{result.name}: the same frames on several surfaces",
        explanation=f"{plural(result.frames, 'frame')} to be labelled in every kind. Errors are root mean squares of "
        "the mean of each ensemble; test labels are those of frames that no potential has learnt from.",
        tables=[
            TitledTable("Label sets", set_table(result)),
            TitledTable("Potentials", potential_table(result)),
        ],
        remarks=remarks(result),
    )


def set_table(result: Dichotomy) -> Table:
    """One row per label set."""
    heads = ["Labels", "Number", "Failed", "CPU (h)", "CPU (s) per label, by atoms", "Moment (muB/atom)"]
    rows = []
    for s in result.sets:
        sizes = ", ".join(f"{n}: {mean:.0f}" for n, (_, mean) in sorted(s.by_size.items(), key=lambda x: int(x[0])))
        moment = NONE if s.moment is None else number(s.moment)
        rows.append([s.kind, s.labels, sum(s.failures.values()), number(s.cpu_hours), sizes, moment])
    return Table(heads, rows, frozenset({1, 2, 3, 5}))


def potential_table(result: Dichotomy) -> Table:
    """One row per potential and part of its set."""
    shown = [q for q in QUANTITIES if any(q in p["errors"] for one in result.potentials for p in _parts(one).values())]
    heads = ["Potential", "Family", "Learns from", "Moments", "Part", "Labels"]
    heads += [f"{quantity(q).title} ({quantity(q).unit})" for q in shown]
    rows = []
    for one in result.potentials:
        moments = "read" if one.reads_moments else "not read"
        for name, part in _parts(one).items():
            errors = part["errors"]
            cells = [number(errors[q]["rmse"] * quantity(q).factor) if q in errors else NONE for q in shown]
            rows.append([one.name, one.training.family, one.labels, moments, name, part["labels"], *cells])
    return Table(heads, rows, frozenset(range(5, len(heads))))


def remarks(result: Dichotomy) -> list[tuple[str, str]]:
    """How far the sets differ, and which frames have no label."""
    said = []
    if result.difference is not None:
        first, second = result.sets[:2]
        text = (
            f"{number(1e3 * result.difference)} meV/A between {first.kind} and {second.kind} labels of the same frames"
        )
        said.append(("forces differ", text))
    for s in result.sets:
        said += [(f"{s.kind} labels", f"{n} failed: {kind}") for kind, n in s.failures.items()]
    return said


def _parts(one: Any) -> Mapping[str, Mapping[str, Any]]:
    errors: Mapping[str, Mapping[str, Any]] = one.training.errors
    return errors
