"""How commands print: one kind of table, one kind of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Grid

    from magflow.presentation.blocks import Table

_WIDTH = 240
"""Characters of a line where the output is no terminal: no table is folded in a file or a pipe."""


def print_table(
    table: Table, title: str | None = None, *, bold: Collection[int] = (), file: TextIO | None = None
) -> None:
    """Print the table of a page on the terminal; one with a title is followed by an empty line.

    Parameters
    ----------
    bold
        Numbers of the rows that stand out.
    file
        Default: standard output.
    """
    out = _console(file)
    out.print(grid(table, title, bold=bold))
    if title is not None:
        out.print()


def grid(table: Table, title: str | None = None, *, bold: Collection[int] = ()) -> Grid:
    """`table` as rich prints it; the unit of a head, or what follows its colon, goes below it."""
    from rich.table import Table as Grid
    from rich.text import Text

    drawn = Grid(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for k, head in enumerate(table.columns):
        lines = head.replace(": ", "\n").replace(" (", "\n(")
        drawn.add_column(Text(lines), justify="right" if k in table.numeric else "left", overflow="fold")
    for k, row in enumerate(table.rows):
        drawn.add_row(*(Text(str(cell)) for cell in row), style="bold" if k in bold else None)
    return drawn


def print_json(content: Any, default: Callable[[Any], Any] | None = None) -> None:
    """Print a document for programs; `default` turns what JSON does not know into what it knows."""
    typer.echo(json.dumps(content, indent=1, default=default))


def _console(file: TextIO | None) -> Console:
    from rich.console import Console

    out = Console(file=file, highlight=False)
    return out if out.is_terminal else Console(file=file, highlight=False, width=_WIDTH)
