"""A progress bar over things that are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Count = Callable[[str, int, int], None]
"""Told what is being done, how many are done, and how many there are."""


@contextmanager
def counting() -> Iterator[Count | None]:
    """A bar on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
