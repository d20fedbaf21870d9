"""``magflow check``: whether a campaign file is right, and what it needs is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from magflow.campaign.check import Finding


def check(
    file: Annotated[Path, typer.Argument(help="Campaign file.")],
    directory: Annotated[
        Path | None,
        typer.Option("--dir", "-d", help="Where the campaign will live. Default: runs/<name of the file>."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Validate a campaign file and look at every engine, dataset, structure and store it names.

    Errors in the file come all at once, as FILE:LINE key: seen, expected, hint. Exit code 0: ready; 2: something in the
    file is wrong; 3: a program or dataset is missing; 4: the directory cannot be written.

    Examples:

        magflow check feal_quick.yaml

        magflow check feal_quick.yaml --json | jq '.findings[] | select(.ok | not)'
    """
    import json

    from magflow.campaign.check import findings
    from magflow.campaign.load import load_campaign

    spec = load_campaign(file)
    found = findings(spec, directory or Path("runs") / file.stem)
    if as_json:
        typer.echo(json.dumps(_document(file, found), indent=1))
    else:
        _table(file, found)
    failed = [finding for finding in found if not finding.ok]
    if failed:
        raise typer.Exit(failed[0].error.exit_code)


def _document(file: Path, found: list[Finding]) -> dict:
    rows = [
        {"group": finding.title, "name": p.name, "ok": p.ok, "detail": p.detail, "hint": p.hint}
        for finding in found
        for p in finding.probes
    ]
    return {"file": str(file), "ok": all(row["ok"] for row in rows), "findings": rows}


def _table(file: Path, found: list[Finding]) -> None:
    for finding in found:
        typer.echo(finding.title)
        for probe in finding.probes:
            typer.echo(f"  {'ok     ' if probe.ok else 'PROBLEM'}  {probe.name}: {probe.detail}")
            if probe.hint and not probe.ok:
                typer.echo(f"           hint: {probe.hint}")
    ready = all(finding.ok for finding in found)
    typer.echo(f"{file} is ready: magflow run {file}" if ready else f"{file} is not ready")
