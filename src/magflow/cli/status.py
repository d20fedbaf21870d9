"""``magflow status``: where a campaign stands."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from magflow.cli.options import Campaign, Json


def status(
    directory: Campaign,
    watch: Annotated[bool, typer.Option("--watch", help="Redraw every two seconds until it ends.")] = False,
    as_json: Json = False,
) -> None:
    """Show where a campaign stands; from any process, during and after a run.

    Exit code 0 while it runs or has ended well, 5 if jobs failed or a whole batch of labels did.

    Examples:

        magflow status runs/feal_quick --watch

        magflow status runs/feal_quick --json | jq .errors
    """
    from magflow.campaign.directory import CampaignDirectory
    from magflow.cli.live import panel
    from magflow.cli.printing import console, print_json
    from magflow.execution.status import campaign_status

    here = CampaignDirectory.existing(directory)
    now = campaign_status(here)
    if as_json:
        print_json(now.as_dict())
    elif watch:
        from rich.live import Live  # a fifteenth of what the command costs without it

        with Live(panel(now), console=console(), refresh_per_second=2) as live:
            while now.state in ("running", "queued"):
                time.sleep(2.0)
                now = campaign_status(here)
                live.update(panel(now))
    else:
        console().print(panel(now))
    if not now.ok:
        raise typer.Exit(5)
