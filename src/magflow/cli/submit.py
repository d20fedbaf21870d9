"""``magflow submit``: a campaign in a queue that other machines work on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from magflow.execution.submit import Submission


class Target(StrEnum):
    """Queues a campaign can be submitted to."""

    FIREWORKS = "fireworks"
    JOBFLOW_REMOTE = "jobflow-remote"


def submit(
    file: Annotated[Path, typer.Argument(help="Campaign file; it names the store that all machines reach.")],
    target: Annotated[Target, typer.Option("--to", help="The queue.")] = Target.FIREWORKS,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir", "-d", help="Where the campaign lives, seen by all machines. Default: runs/<name of the file>."
        ),
    ] = None,
    launchpad: Annotated[
        Path | None,
        typer.Option(
            "--launchpad", "-l", help="FireWorks: file of the LaunchPad. Default: FireWorks' own, ./my_launchpad.yaml."
        ),
    ] = None,
    project: Annotated[
        str, typer.Option("--project", "-p", help="jobflow-remote: name of the project. Default: the one it is set to.")
    ] = "",
    worker: Annotated[
        str | None, typer.Option("--worker", "-w", help="jobflow-remote: worker of the project. Default: the first.")
    ] = None,
    check: Annotated[
        bool, typer.Option(help="Look for the engines here first; --no-check if only compute nodes have them.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Submit a campaign to a cluster, or give one that has ended a larger budget.

    fireworks: each iteration is one workflow on the LaunchPad; its last job submits the next. jobflow-remote: for
    compute nodes that cannot reach the database. Submitting again is harmless: jobs that are there already are left
    as they are. A campaign has one queue in its life: `magflow run` refuses one that was submitted.

    Exit code 0: submitted, or there already; 2: something in a file is wrong; 3: FireWorks, jobflow-remote or an
    engine is missing; 4: the LaunchPad or the store does not answer; 5: the campaign is in another queue.

    Examples:

        magflow submit campaign.yaml --to fireworks --launchpad my_launchpad.yaml

        magflow submit campaign.yaml --dir /shared/runs/feal --json | jq .new_jobs

        magflow submit campaign.yaml --to jobflow-remote --project mycluster
    """
    import json

    from magflow.campaign.check import require_ready
    from magflow.campaign.directory import CampaignDirectory
    from magflow.campaign.load import load_campaign
    from magflow.execution.fireworks.launchpad import launchpad_file
    from magflow.execution.submit import submit_to_fireworks, submit_to_remote

    spec = load_campaign(file)
    directory = directory or Path("runs") / file.stem
    where = launchpad_file(launchpad) if target is Target.FIREWORKS else None
    if check:
        require_ready(spec, directory)
    here = CampaignDirectory.prepare(directory, file, spec)
    done = submit_to_remote(here, project, worker) if where is None else submit_to_fireworks(here, where)
    if as_json:
        typer.echo(json.dumps(done.as_dict(), indent=1))
    else:
        _tell(done)


def _tell(done: Submission) -> None:
    if done.new_jobs:
        typer.echo(f"submitted: {done.new_jobs} jobs of {done.campaign} to {done.queue}")
    else:
        typer.echo(f"submitted before: {done.campaign} has {done.jobs} jobs in {done.queue}, nothing was added")
    typer.echo(f"next: magflow status {done.directory} --watch")
