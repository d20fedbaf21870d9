"""``magflow run``: a campaign on this machine, from the start or from where it stopped."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from magflow.cli.options import CampaignPlace, Json


def run(
    file: Annotated[Path, typer.Argument(help="Campaign file; `magflow init` writes one.")],
    directory: CampaignPlace = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "-w", min=1, help="Jobs at the same time; overrides the file.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No live progress.")] = False,
    as_json: Json = False,
) -> None:
    """Run a campaign, or resume it, on this machine.

    Shows iteration, phase, jobs, labels, errors, cost and time left. Ctrl-C, a crash or a power cut lose nothing
    that was finished: the same command goes on. A campaign that has ended goes on if the file gives it a larger
    budget. At the end the report and the ensemble are written and named.

    Examples:

        magflow run campaign.yaml

        magflow run campaign.yaml --dir runs/try --workers 4
    """
    from magflow.api.campaign import Campaign
    from magflow.campaign.directory import CampaignDirectory
    from magflow.cli.live import display, show_ending
    from magflow.cli.printing import interruptible

    began = time.monotonic()
    campaign = Campaign.from_file(file, directory)
    here = CampaignDirectory(campaign.path)
    kept = interruptible("nothing that was finished is lost: the same command goes on")
    with kept, display(here, quiet=quiet) as progress:
        status = campaign.run(workers, progress)
    models = here.models if here.models.exists() else None
    show_ending(status, here.report, models, time.monotonic() - began, as_json=as_json)
