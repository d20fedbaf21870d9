"""What ``magflow transfer`` shows: progress, and what was saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from magflow.studies.transfer.files import PAGE
from magflow.studies.transfer.result import Progress, TransferCurve
from magflow.studies.transfer.saving import Price
from magflow.studies.transfer.section import error_table, saved_arms, saving_table

if TYPE_CHECKING:
    from magflow.presentation.blocks import Table


@contextmanager
def bar() -> Iterator[Progress]:
    """A progress bar over the points; a line per point where there is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    if not console.is_terminal:

        def line(done: int, total: int, text: str) -> None:
            console.print(f"{done}/{total}: {text}", highlight=False, markup=False)

        yield line
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bars(*columns, console=console) as shown:
        task = shown.add_task("reading", total=None)
        yield lambda done, total, text: shown.update(task, completed=done, total=total, description=text)


def show(curve: TransferCurve, price: Price, output: Path) -> None:
    """Errors, factors, and where the files are."""
    print_table(error_table(curve), "RMSE on held-out magnetic labels, median over the seeds")
    for arm in saved_arms(curve):
        print_table(saving_table(curve, arm, price), f"Times less than from scratch at equal error: {arm}")
    typer.echo(f"wrote {output / PAGE} and the numbers beside it ({len(curve.points)} points)")


def print_table(table: Table, title: str) -> None:
    """A table of a page, on the terminal."""
    from rich.console import Console
    from rich.table import Table as Grid

    grid = Grid(title=title, title_justify="left", box=None, pad_edge=False)
    for k, head in enumerate(table.columns):
        grid.add_column(
            head.replace(": ", "\n").replace(" (", "\n("), justify="right" if k in table.numeric else "left"
        )
    for row in table.rows:
        grid.add_row(*map(str, row))
    Console().print(grid)
    typer.echo()
