"""``magflow retry``: offer failed labels again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def retry(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the campaign.")],
    reason: Annotated[
        str | None, typer.Option("--reason", help="Only labels that failed for this reason, e.g. time-limit.")
    ] = None,
) -> None:
    """Offer failed labels (and failed jobs) again; `magflow run` then computes them.

    A campaign that goes on takes them up at its next iteration; one that has ended gets one more iteration that learns
    from them.

    Examples:

        magflow retry runs/feal_quick

        magflow retry runs/feal_quick --reason scf-unconverged
    """
    from magflow.campaign.directory import CampaignDirectory
    from magflow.core.label import FailureKind
    from magflow.errors import InputError
    from magflow.execution.campaign import retry_campaign

    known = [str(kind) for kind in FailureKind]
    if reason is not None and reason not in known:
        raise InputError("unknown kind of failure", where="--reason", seen=reason, expected=", ".join(known))
    labels, jobs = retry_campaign(CampaignDirectory.existing(directory), reason)
    typer.echo(f"offered again: {labels} labels, {jobs} jobs")
    if labels or jobs:
        typer.echo(f"next: magflow run {directory / 'campaign.yaml'} --dir {directory}")
