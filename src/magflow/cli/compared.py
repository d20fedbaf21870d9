"""What ``magflow compare`` shows: progress, the table, and what is to be known about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from magflow.cli.transferred import print_table
from magflow.presentation.quantities import quantity
from magflow.studies.compare.fits import Progress
from magflow.studies.compare.result import Comparison
from magflow.studies.compare.section import cost_table, error_table, remarks, stratum_table


@contextmanager
def bar() -> Iterator[Progress]:
    """One bar over all fits; a line per fit where there is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    if not console.is_terminal:

        def line(done: int, total: int, name: str, fraction: float) -> None:
            if fraction in (0.0, 1.0):
                console.print(f"{done + int(fraction)}/{total}: {name}", highlight=False, markup=False)

        yield line
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bars(*columns, console=console) as shown:
        task = shown.add_task("reading", total=None)

        def draw(done: int, total: int, name: str, fraction: float) -> None:
            shown.update(task, completed=done + fraction, total=total, description=f"{name}: {100 * fraction:.0f} %")

        yield draw


def show(comparison: Comparison, by: str, output: Path) -> None:
    """Errors and costs, the errors of `by` per stratum, remarks, and where the files are."""
    test = comparison.about["labels"]["test"]["count"]
    print_table(error_table(comparison, by), f"RMSE on {test} test labels; median (range) over the seeds")
    print_table(cost_table(comparison, by), "Cost on one core; median over the seeds")
    q = quantity(by)
    print_table(stratum_table(comparison, q), f"{q.title} by stratum, RMSE ({q.unit})")
    for entry, text in remarks(comparison, by):
        typer.echo(f"{entry}: {text}")
    typer.echo(f"wrote results.json, results.csv and comparison.svg to {output}")
