"""``magflow sync``: results that did not reach the database."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from magflow.cli.options import Campaign, Json


def sync(
    directory: Campaign,
    found_in: Annotated[
        list[Path] | None,
        typer.Option("--in", metavar="PATH", help="Look below this folder too (launch directories). Repeat."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the files that were imported.")] = False,
    as_json: Json = False,
) -> None:
    """Import the results that are in run directories but not in the campaign's store.

    A job keeps its result beside it until the database has acknowledged it, so that a database that was away, or a
    worker that died just then, costs no finished label. What the store has is not imported again: run it as often as
    you like. Exit code 1 if a file cannot be read; it is left where it is.

    Examples:

        magflow sync runs/feal_quick

        magflow sync runs/feal_quick --in /scratch/launches --json
    """
    from magflow.campaign.directory import CampaignDirectory
    from magflow.cli.printing import print_json
    from magflow.cli.progress import count, progress_bar
    from magflow.stores.results import find_results, sync_results

    here = CampaignDirectory.existing(directory)
    store = here.store
    paths = find_results([directory, *(found_in or [])])
    with progress_bar() as progress:
        told = partial(count, progress, "results", total=len(paths))
        synced = sync_results(store, paths, keep=keep, progress=told)
    if as_json:
        unreadable = list(synced.unreadable)
        print_json({"imported": synced.imported, "present": synced.present, "unreadable": unreadable})
    else:
        typer.echo(f"imported {synced.imported} results; {synced.present} were in the store already")
        for path in synced.unreadable:
            typer.echo(f"cannot be read, left where it is: {path}", err=True)
    if synced.unreadable:
        raise typer.Exit(1)
