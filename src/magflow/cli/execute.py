"""``magflow execute``: one job of jobflow-remote, on the worker that it was sent to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def execute(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where jobflow-remote has put the job.")],
) -> None:
    """Run one job that jobflow-remote has sent here; its workers call this.

    In place of `jf execution run`, which does not let a replacement refer to earlier jobs.

    Examples:

        execution_cmd: python -m magflow execute {}
    """
    from magflow.execution.remote.run import main

    main(str(directory))
