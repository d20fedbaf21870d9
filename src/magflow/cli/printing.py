"""How commands print: one kind of table, one kind of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Grid

    from magflow.presentation.sections import Section
    from magflow.presentation.tables import Table

_WIDTH = 240
"""Characters of a line where the output is no terminal: no table is folded in a file or a pipe."""


def print_section(section: Section) -> None:
    """Print the tables and remarks of a section; its figures are for a page."""
    for titled in (*section.lead, *section.tables):
        print_table(titled.table, titled.title)
    for about, text in section.remarks:
        typer.echo(f"{about}: {text}")


@contextmanager
def interruptible(what_next: str) -> Iterator[None]:
    """Work that Ctrl-C may end, after which `what_next` is said."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"interrupted; {what_next}", err=True)
        raise


def console(**options: Any) -> Console:
    """Where rich prints: no text is ever read as markup or coloured by guess, since it may come from data.

    What is to be coloured is a :class:`rich.text.Text`.
    """
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False, **options)


def print_table(table: Table, title: str | None = None) -> None:
    """Print the table of a page on the terminal; one with a title is followed by an empty line."""
    out = console()
    out = out if out.is_terminal else console(width=_WIDTH)
    out.print(grid(table, title))
    if title is not None:
        out.print()


def grid(table: Table, title: str | None = None) -> Grid:
    """`table` as rich prints it; the unit of a head, or what follows its colon, goes below it."""
    from rich.table import Table as Grid
    from rich.text import Text

    drawn = Grid(title=title and Text(title), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for k, head in enumerate(table.columns):
        lines = head.replace(": ", "\n").replace(" (", "\n(")
        drawn.add_column(Text(lines), justify="right" if k in table.numeric else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(str(cell)) for cell in row))
    return drawn


def print_json(content: Any, default: Callable[[Any], Any] | None = None) -> None:
    """Print a document for programs; `default` turns what JSON does not know into what it knows."""
    typer.echo(json.dumps(content, indent=1, default=default))
