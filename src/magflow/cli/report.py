"""``magflow report``: the HTML page of a campaign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magflow.cli.options import Campaign as CampaignPath
from magflow.cli.options import Json, out_option


def report(
    directory: CampaignPath,
    output: Annotated[Path | None, out_option("FILE.html", "Default: DIR/report.html.")] = None,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page about a campaign, finished or not: errors, calibration, selection, cost.

    The page needs no network: mail it, print it, keep it beside the data. Heads of columns sort their table.

    Examples:

        magflow report runs/feal_quick

        magflow report runs/feal_quick -o feal.html
    """
    from magflow.api.campaign import Campaign
    from magflow.cli.inputs import require_html
    from magflow.cli.printing import print_json

    require_html(output)
    page = Campaign(directory).report(output)
    if as_json:
        print_json({"report": str(page)})
    else:
        typer.echo(page)
