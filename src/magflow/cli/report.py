"""``magflow report``: the HTML page of a campaign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magflow.cli.options import Campaign, Json, out_option


def report(
    directory: Campaign,
    output: Annotated[Path | None, out_option("FILE.html", "Default: DIR/report.html.")] = None,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page about a campaign, finished or not: errors, calibration, selection, cost.

    The page needs no network and runs no script: mail it, print it, keep it beside the data.

    Examples:

        magflow report runs/feal_quick

        magflow report runs/feal_quick -o feal.html
    """
    from magflow.campaign.directory import CampaignDirectory
    from magflow.cli.printing import print_json
    from magflow.report.page import write
    from magflow.report.record import read_record

    default = CampaignDirectory.existing(directory).report
    page = write(read_record(directory), output or default)
    if as_json:
        print_json({"report": str(page)})
    else:
        typer.echo(page)
