"""``magflow check``: whether a campaign file is right, and what it needs is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from magflow.cli.options import CampaignPlace, Json

if TYPE_CHECKING:
    from magflow.campaign.check import Finding


def check(
    file: Annotated[Path | None, typer.Argument(help="Campaign file.")] = None,
    directory: CampaignPlace = None,
    cluster: Annotated[
        Path | None,
        typer.Option("--cluster", metavar="DIR", help="Look at the cluster described in this folder (as well)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Validate a campaign file and look at every engine, dataset, structure and store it names.

    Errors in the file come all at once, as FILE:LINE key: seen, expected, hint. With --cluster: the cluster's files,
    whether Slurm would take its pilot jobs, whether the database answers. Exit code 0: ready; 2: something in a
    file is wrong; 3: a program or dataset is missing; 4: the directory cannot be written, or the database refuses us;
    5: Slurm would refuse the pilot jobs.

    Examples:

        magflow check feal_quick.yaml

        magflow check feal_quick.yaml --cluster ~/cluster

        magflow check feal_quick.yaml --json | jq '.findings[] | select(.ok | not)'
    """
    from magflow.campaign.check import findings
    from magflow.campaign.load import load_campaign
    from magflow.cli.printing import print_json
    from magflow.errors import InputError

    if file is None and cluster is None:
        raise InputError("there is nothing to check", expected="a campaign file, or --cluster DIR, or both")
    found = []
    spec = None if file is None else load_campaign(file)
    if file is not None and spec is not None:
        found += findings(spec, directory or Path("runs") / file.stem)
    if cluster is not None:
        from magflow.execution.cluster.check import cluster_findings, together_findings
        from magflow.execution.cluster.directory import ClusterDirectory

        there = ClusterDirectory.existing(cluster)
        found += cluster_findings(there)
        found += [] if spec is None else together_findings(spec, there)
    if as_json:
        print_json(_document(file or cluster, found))
    else:
        _table(found)
        _conclude(file, cluster, all(finding.ok for finding in found))
    failed = [finding for finding in found if not finding.ok]
    if failed:
        raise typer.Exit(failed[0].error.exit_code)


def _document(what: Path | None, found: list[Finding]) -> dict[str, Any]:
    rows = [
        {"group": finding.title, "name": p.name, "ok": p.ok, "detail": p.detail, "hint": p.hint}
        for finding in found
        for p in finding.probes
    ]
    return {"file": str(what), "ok": all(row["ok"] for row in rows), "findings": rows}


def _table(found: list[Finding]) -> None:
    for finding in found:
        typer.echo(finding.title)
        for probe in finding.probes:
            typer.echo(f"  {'ok     ' if probe.ok else 'PROBLEM'}  {probe.name}: {probe.detail}")
            if probe.hint and not probe.ok:
                typer.echo(f"           hint: {probe.hint}")


def _conclude(file: Path | None, cluster: Path | None, ready: bool) -> None:
    what = " and ".join(str(path) for path in (file, cluster) if path is not None)
    be = "are" if file and cluster else "is"
    following = f"magflow run {file}"
    if cluster is not None:
        following = f"magflow daemon start {cluster}"
        if file is not None:
            following = f"magflow submit {file} --launchpad {cluster / 'my_launchpad.yaml'}; {following}"
    typer.echo(f"{what} {be} ready: {following}" if ready else f"{what} {be} not ready")
