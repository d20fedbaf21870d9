"""``magflow sync``: results that did not reach the database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sync(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the campaign.")],
    found_in: Annotated[
        list[Path] | None,
        typer.Option("--in", metavar="PATH", help="Look below this folder too (launch directories). Repeat."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the files that were imported.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Import the results that are in run directories but not in the campaign's store.

    A job keeps its result beside it until the database has acknowledged it, so that a database that was away, or a
    worker that died just then, costs no finished label. What the store has is not imported again: run it as often as
    you like. Exit code 1 if a file cannot be read; it is left where it is.

    Examples:

        magflow sync runs/feal_quick

        magflow sync runs/feal_quick --in /scratch/launches --json
    """
    import json

    from magflow.campaign.directory import CampaignDirectory
    from magflow.cli.counting import counting
    from magflow.stores.results import find_results, sync_results

    here = CampaignDirectory.existing(directory)
    store = here.store
    paths = find_results([directory, *(found_in or [])])
    with counting() as count:
        tell = None if count is None else lambda done: count("results", done, len(paths))
        synced = sync_results(store, paths, keep=keep, progress=tell)
    if as_json:
        found = {"imported": synced.imported, "present": synced.present, "unreadable": list(synced.unreadable)}
        typer.echo(json.dumps(found, indent=1))
    else:
        typer.echo(f"imported {synced.imported} results; {synced.present} were in the store already")
        for path in synced.unreadable:
            typer.echo(f"cannot be read, left where it is: {path}", err=True)
    if synced.unreadable:
        raise typer.Exit(1)
