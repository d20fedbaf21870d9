"""``magflow check``: whether a campaign file is right, and what it needs is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from magflow.cli.options import CampaignPlace, Json

if TYPE_CHECKING:
    from collections.abc import Callable

    from magflow.campaign.check import Finding
    from magflow.campaign.doubts import Placed
    from magflow.campaign.source import Key


def check(
    file: Annotated[Path | None, typer.Argument(help="Campaign file.")] = None,
    directory: CampaignPlace = None,
    cluster: Annotated[
        Path | None,
        typer.Option("--cluster", metavar="DIR", help="Look at the cluster described in this folder (as well)."),
    ] = None,
    trial: Annotated[
        bool, typer.Option("--try", help="Label the first prototype here, and price the campaign by it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Validate a campaign file and look at every engine, dataset, structure and store it names.

    Errors in the file come all at once, as FILE:LINE key: seen, expected, hint. What is allowed and looks like a slip,
    a cutoff in eV or a lattice constant in bohr, is a doubt, which refuses nothing. With --cluster: the cluster's
    files, whether Slurm would take its pilot jobs, whether the database answers. Exit code 0: ready; 2: something in a
    file is wrong; 3: a program or dataset is missing; 4: the directory cannot be written, or the database refuses us;
    5: Slurm would refuse the pilot jobs, or the label that was tried failed.

    Examples:

        magflow check feal_quick.yaml

        magflow check feal_quick.yaml --try

        magflow check feal_quick.yaml --cluster ~/cluster

        magflow check feal_quick.yaml --json | jq '.findings[] | select(.ok | not)'
    """
    from magflow.cli.printing import print_json
    from magflow.errors import InputError

    if file is None and (cluster is None or trial):
        raise InputError("there is nothing to check", expected="a campaign file, or --cluster DIR, or both")
    looked = _look(file, directory, cluster, trial)
    if as_json:
        print_json(_document(file or cluster, looked))
    else:
        _table(looked)
        _conclude(file, cluster, all(finding.ok for finding in looked.findings))
    failed = [finding for finding in looked.findings if not finding.ok]
    if failed:
        raise typer.Exit(failed[0].error.exit_code)


class _Looked(NamedTuple):
    findings: list[Finding]
    doubts: list[Placed]
    place: Callable[[Key], str]
    """FILE:LINE key, or nothing where the file does not say."""


def _look(file: Path | None, directory: Path | None, cluster: Path | None, trial: bool) -> _Looked:
    from magflow.campaign.check import findings, try_one
    from magflow.campaign.doubts import doubts
    from magflow.campaign.load import load_campaign
    from magflow.campaign.source import dotted, read_source

    found: list[Finding] = []
    odd: list[Placed] = []
    spec = None if file is None else load_campaign(file)
    if file is not None and spec is not None:
        found += findings(spec, directory or Path("runs") / file.stem)
        odd += doubts(spec)
    if cluster is not None:
        from magflow.execution.cluster.check import cluster_findings, together_findings
        from magflow.execution.cluster.directory import ClusterDirectory

        there = ClusterDirectory.existing(cluster)
        found += cluster_findings(there)
        found += [] if spec is None else together_findings(spec, there)
    if trial and spec is not None and all(finding.ok for finding in found):
        typer.echo(f"labelling one frame with {spec.label.engine} ...", err=True)
        tried, more = try_one(spec)
        found.append(tried)
        odd += more
    lines = {} if file is None else read_source(file).lines

    def place(key: Key) -> str:
        near = next((key[:n] for n in range(len(key), 0, -1) if key[:n] in lines), None)
        return "" if near is None else f"{file}:{lines[near]} {dotted(key)}"

    return _Looked(found, odd, place)


def _document(what: Path | None, looked: _Looked) -> dict[str, Any]:
    rows = [
        {
            "group": finding.title,
            "name": p.name,
            "ok": p.ok,
            "detail": p.detail,
            "hint": p.hint,
            "place": looked.place(finding.key(p)),
        }
        for finding in looked.findings
        for p in finding.probes
    ]
    doubts = [
        {"place": looked.place(k), "setting": d.setting, "detail": d.detail, "hint": d.hint} for k, d in looked.doubts
    ]
    return {"file": str(what), "ok": all(row["ok"] for row in rows), "findings": rows, "doubts": doubts}


def _table(looked: _Looked) -> None:
    for finding in looked.findings:
        typer.echo(finding.title)
        for probe in finding.probes:
            if probe.ok:
                _line("ok", "", f"{probe.name}: {probe.detail}", "")
                continue
            where = looked.place(finding.key(probe))
            told = probe.detail.removeprefix(f"{where.rpartition(' ')[2]}: ")  # the key, which is said before
            known = where.endswith(f".{probe.name}") or where.endswith(f" {probe.name}")
            _line("PROBLEM", where, told if known else f"{probe.name}: {told}", probe.hint)
    if looked.doubts:
        typer.echo("doubts")
    for key, doubt in looked.doubts:
        _line("DOUBT", looked.place(key), doubt.detail, doubt.hint)


def _line(mark: str, where: str, text: str, hint: str) -> None:
    typer.echo(f"  {mark:<7}  {f'{where}: ' if where else ''}{text}")
    if hint:
        typer.echo(f"           hint: {hint}")


def _conclude(file: Path | None, cluster: Path | None, ready: bool) -> None:
    what = " and ".join(str(path) for path in (file, cluster) if path is not None)
    be = "are" if file and cluster else "is"
    following = f"magflow run {file}"
    if cluster is not None:
        following = f"magflow daemon start {cluster}"
        if file is not None:
            following = f"magflow submit {file} --launchpad {cluster / 'my_launchpad.yaml'}; {following}"
    typer.echo(f"{what} {be} ready: {following}" if ready else f"{what} {be} not ready")
