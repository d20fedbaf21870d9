"""The one progress bar of all commands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from magflow.cli.printing import console

if TYPE_CHECKING:
    from magflow.core.protocols import WorkProgress


_MINUTE = 60.0  # s


@contextmanager
def progress_bar() -> Iterator[WorkProgress]:
    """A bar on standard error; where that is no terminal, a line for each milestone, and one a minute."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    out = console(stderr=True)
    if not out.is_terminal:
        said, when = "", time.monotonic()

        def line(fraction: float, text: str, *, milestone: bool = False) -> None:
            nonlocal said, when
            if text != said and (milestone or time.monotonic() - when >= _MINUTE):
                out.print(text, soft_wrap=True)
                said, when = text, time.monotonic()

        yield line
        return
    text_column = TextColumn("{task.description}", markup=False)
    with Progress(
        BarColumn(), TaskProgressColumn(), text_column, TimeElapsedColumn(), console=out, transient=True
    ) as bar:
        task = bar.add_task("", total=1.0)

        def draw(fraction: float, text: str, *, milestone: bool = False) -> None:
            bar.update(task, completed=fraction, description=text)

        yield draw


def count(progress: WorkProgress, what: str, done: int, total: int, every: int = 0) -> None:
    """Tell `progress` of things that are counted; with `every`, so many of them are a milestone, and so is the last."""
    milestone = every > 0 and done > 0 and (done % every == 0 or done == total)
    progress(done / max(total, 1), f"{what} {done} of {total}", milestone=milestone)
