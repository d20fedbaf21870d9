"""What a training says to people: errors per part and stratum, and what deserves a look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from magflow.core.prediction import QUANTITIES
from magflow.presentation.blocks import Table
from magflow.presentation.formats import NONE, number
from magflow.presentation.quantities import quantity
from magflow.presentation.sections import Section, TitledTable
from magflow.studies.train.result import TrainResult


def section(result: TrainResult) -> Section:
    """The training as a part of a page."""
    return Section(
        name="training",
        label="Training",
        title="The ensemble and its labels",
        tables=[TitledTable("RMSE of the mean of the ensemble", error_table(result))],
        remarks=remarks(result),
    )


def error_table(result: TrainResult) -> Table:
    """One row per part and per stratum of it."""
    shown = _shown(result)
    rows = []
    for name, part in result.errors.items():
        rows.append([name, part["labels"], *_cells(part["errors"], shown)])
        for strata in part["strata"].values():
            rows += [[f"  {name}", found["labels"], *_cells(found["errors"], shown)] for name, found in strata.items()]
    heads = ["labels", "number", *(f"{quantity(q).title} ({quantity(q).unit})" for q in shown)]
    return Table(heads, rows, frozenset(range(1, len(heads))))


def remarks(result: TrainResult) -> list[tuple[str, str]]:
    """The worst frame of each quantity, what cannot be learnt, and the members whose fit did not converge."""
    last = list(result.errors.values())[-1]
    said = []
    for q in map(quantity, _shown(result)):
        worst = last["worst"][q.name][0]
        about = f"{q.title.lower()} is worst for {worst['formula']} {worst['label_id']}"
        said.append((about, f"{number(worst['rmse'] * q.factor)} {q.unit}"))
    states = result.magnetic_states
    if states is not None and states.mixed and not result.magnetic:
        said.append(("these potentials read no moments", states.meaning))
    late = [str(k) for k, member in enumerate(result.members) if not member.converged]
    if late:
        said.append(("stopped at the last iteration, not converged", f"member {', '.join(late)}"))
    return said


def _shown(result: TrainResult) -> list[str]:
    return [q for q in QUANTITIES if any(q in part["errors"] for part in result.errors.values())]


def _cells(errors: Mapping[str, Mapping[str, Any]], shown: Sequence[str]) -> list[str]:
    return [number(errors[q]["rmse"] * quantity(q).factor) if q in errors else NONE for q in shown]
