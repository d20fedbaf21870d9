"""``magflow submit``: a campaign in a queue that other machines work on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from magflow.cli.options import Json

if TYPE_CHECKING:
    from magflow.execution.submit import Submission


def submit(
    file: Annotated[Path, typer.Argument(help="Campaign file; it names the store that all machines reach.")],
    target: Annotated[
        str,
        typer.Option("--to", metavar="NAME", help="The queue: fireworks, jobflow-remote, or one you have installed."),
    ] = "fireworks",
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir", "-d", help="Where the campaign lives, seen by all machines. Default: runs/NAME, after the file."
        ),
    ] = None,
    where: Annotated[
        str,
        typer.Option(
            *("--where", "--launchpad", "-l", "--project", "-p"),
            help="FireWorks: file of the LaunchPad. jobflow-remote: name of the project. Default: as they are set.",
        ),
    ] = "",
    worker: Annotated[
        str, typer.Option("--worker", "-w", help="jobflow-remote: worker of the project. Default: the first.")
    ] = "",
    check: Annotated[
        bool, typer.Option(help="Look for the engines here first; --no-check if only compute nodes have them.")
    ] = True,
    as_json: Json = False,
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
    from magflow.campaign.check import require_ready
    from magflow.campaign.directory import CampaignDirectory
    from magflow.campaign.load import load_campaign
    from magflow.cli.printing import print_json
    from magflow.errors import InputError
    from magflow.execution.backend import backend_named
    from magflow.execution.submit import submit as submit_to

    spec = load_campaign(file)
    directory = directory or Path("runs") / file.stem
    backend = backend_named(target, where, worker).resolved()
    if not backend.shared:
        raise InputError("this queue is not submitted to", where="--to", seen=target, hint=backend.hint)
    if check:
        require_ready(spec, directory)
    done = submit_to(CampaignDirectory.prepare(directory, file, spec), backend)
    if as_json:
        print_json(done.as_dict())
    else:
        _tell(done)


def _tell(done: Submission) -> None:
    if done.new_jobs:
        typer.echo(f"submitted: {done.new_jobs} jobs of {done.campaign} to {done.queue}")
    else:
        typer.echo(f"submitted before: {done.campaign} has {done.jobs} jobs in {done.queue}, nothing was added")
    typer.echo(f"next: magflow status {done.directory} --watch")
