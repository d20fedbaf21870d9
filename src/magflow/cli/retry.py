"""``magflow retry``: offer failed labels again."""

from __future__ import annotations

from typing import Annotated

import typer

from magflow.cli.options import Campaign, Json


def retry(
    directory: Campaign,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Only labels that failed for this reason, e.g. time-limit.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Offer failed labels (and failed jobs) again; `magflow run` then computes them.

    A campaign that goes on takes them up at its next iteration; one that has ended gets one more iteration that learns
    from them. Where labels of displaced atoms failed, force constants are asked for again, and learnt.

    Examples:

        magflow retry runs/feal_quick

        magflow retry runs/feal_quick --reason scf-unconverged
    """
    from magflow.campaign.directory import CampaignDirectory
    from magflow.cli.printing import print_json
    from magflow.core.label import FailureKind
    from magflow.errors import InputError
    from magflow.execution.campaign import retry_campaign

    known = [str(kind) for kind in FailureKind]
    if reason is not None and reason not in known:
        raise InputError("unknown kind of failure", where="--reason", seen=reason, expected=", ".join(known))
    labels, jobs = retry_campaign(CampaignDirectory.existing(directory), reason)
    if as_json:
        print_json({"labels": labels, "jobs": jobs})
        return
    typer.echo(f"offered again: {labels} labels, {jobs} jobs")
    if labels or jobs:
        typer.echo(f"next: magflow run {directory / 'campaign.yaml'} --dir {directory}")
