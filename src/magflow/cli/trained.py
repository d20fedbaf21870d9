"""What ``magflow train`` reads from its options and shows of its result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from magflow.core.dataset import Dataset
from magflow.core.prediction import QUANTITIES
from magflow.core.protocols import FitReport
from magflow.potentials.ensemble import PotentialEnsemble, as_labelled
from magflow.potentials.strata import UsualVolume, residual_report
from magflow.potentials.training import MemberProgress
from magflow.presentation.quantities import quantity


@contextmanager
def bars(members: int) -> Iterator[MemberProgress]:
    """One progress bar per member; a line per finished member where there is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:

        def line(member: int, fraction: float, text: str) -> None:
            if fraction >= 1.0:
                console.print(f"member {member}: {text}", highlight=False, markup=False)

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as shown:
        ids = [shown.add_task(f"member {k}", total=1.0, start=False, text="waiting") for k in range(members)]

        def draw(member: int, fraction: float, text: str) -> None:
            if not shown.tasks[member].started:
                shown.start_task(ids[member])
            shown.update(ids[member], completed=fraction, text=text)
            if fraction >= 1.0:
                shown.stop_task(ids[member])

        yield draw


def outcome(
    ensemble: PotentialEnsemble, reports: Sequence[FitReport], dataset: Dataset, unseen: Dataset | None
) -> dict[str, Any]:
    """What came of a training, JSON-ready: errors of the mean of the ensemble and the fits of its members."""
    usual_volume = UsualVolume.of([item.frame for item in dataset])
    parts = {"train": dataset} | ({} if unseen is None else {"test": unseen})
    return {
        "family": ensemble.family_name,
        "elements": list(ensemble.species),
        "errors": {n: residual_report(part, as_labelled(ensemble, part), usual_volume) for n, part in parts.items()},
        "members": [
            {
                "converged": r.converged,
                "iterations": r.iterations,
                "cpu_seconds": round(r.cost.cpu_seconds, 2),
                "rmse": r.rmse,
                "details": r.details,
            }
            for r in reports
        ],
        "cpu_seconds": round(sum(r.cost.cpu_seconds for r in reports), 2),
    }


def show(told: Mapping[str, Any], output: Path) -> None:
    """A table of RMSE per part and stratum, and where the ensemble is."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="RMSE of the mean of the ensemble", title_justify="left", box=None, pad_edge=False)
    shown = [q for q in QUANTITIES if any(q in part["errors"] for part in told["errors"].values())]
    table.add_column("labels")
    table.add_column("number", justify="right")
    for q in shown:
        table.add_column(f"{quantity(q).title}\n{quantity(q).unit}", justify="right")
    for name, part in told["errors"].items():
        table.add_row(name, str(part["labels"]), *_cells(part["errors"], shown), style="bold")
        for strata in part["strata"].values():
            for stratum, found in strata.items():
                table.add_row(f"  {stratum}", str(found["labels"]), *_cells(found["errors"], shown))
    Console().print(table)
    last = list(told["errors"].values())[-1]
    for q in shown:
        worst = last["worst"][q][0]
        text = f"{quantity(q).title.lower()} is worst for {worst['formula']} {worst['label_id']}"
        typer.echo(f"{text}: {worst['rmse'] * quantity(q).factor:.3g} {quantity(q).unit}")
    late = [k for k, member in enumerate(told["members"]) if not member["converged"]]
    if late:
        typer.echo(f"stopped at the last iteration, not converged: member {', '.join(map(str, late))}")
    typer.echo(f"wrote {len(told['members'])} members to {output} ({told['cpu_seconds']:.0f} CPU s)")


def _cells(errors: Mapping[str, Mapping[str, float]], shown: Sequence[str]) -> list[str]:
    return [f"{errors[q]['rmse'] * quantity(q).factor:.3g}" if q in errors else "-" for q in shown]
