"""``magflow run``: a campaign on this machine, from the start or from where it stopped."""

from __future__ import annotations

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
    from magflow.campaign.check import require_ready
    from magflow.campaign.directory import CampaignDirectory
    from magflow.campaign.load import load_campaign
    from magflow.cli.live import run_shown, show_ending
    from magflow.execution.backend import UNCLAIMED, backend_named, require_backend
    from magflow.execution.campaign import submit_campaign
    from magflow.report.files import write_results

    spec = load_campaign(file)
    directory = directory or Path("runs") / file.stem
    require_ready(spec, directory)
    here = CampaignDirectory.prepare(directory, file, spec)
    require_backend(here, backend_named(UNCLAIMED))
    submit_campaign(here)
    while True:
        summary = run_shown(here, workers or spec.execution.workers, quiet=quiet)
        if not summary.ok or not submit_campaign(here):
            break
    show_ending(here, write_results(here), summary, as_json=as_json)
