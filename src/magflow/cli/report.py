"""``magflow report``: the HTML page of a campaign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the campaign.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.html", help="Default: DIR/report.html.")
    ] = None,
) -> None:
    """Write one self-contained HTML page about a campaign, finished or not: errors, calibration, selection, cost.

    The page needs no network and runs no script: mail it, print it, keep it beside the data.

    Examples
    --------
        magflow report runs/feal_quick

        magflow report runs/feal_quick -o feal.html
    """
    from magflow.campaign.directory import CampaignDirectory
    from magflow.report.page import write
    from magflow.report.record import read_record

    default = CampaignDirectory.existing(directory).report
    typer.echo(write(read_record(directory), output or default))
