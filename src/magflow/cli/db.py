"""``magflow db``: what concerns the store as a whole."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from magflow.cli.options import Campaign, Json

if TYPE_CHECKING:
    from magflow.presentation.tables import Table

db = typer.Typer(no_args_is_help=True)


@db.callback()
def _group() -> None:
    """Summarise what a store holds; copy a campaign from one store to another.

    Examples:

        magflow db summarise runs/feal_quick

        magflow db move --from runs/feal_quick --to mongodb
    """


@db.command("summarise")
def summarise(
    directory: Campaign,
    as_json: Json = False,
) -> None:
    """Follow labels into datasets, datasets into models, models into iterations: one summary per iteration.

    Summaries are kept beside the documents; only iterations that have changed are read again.

    Examples:

        magflow db summarise runs/feal_quick

        magflow db summarise runs/feal_quick --json | jq '.[-1].models'
    """
    from magflow.campaign.directory import CampaignDirectory
    from magflow.cli.printing import print_json, print_table
    from magflow.cli.progress import count, progress_bar
    from magflow.stores.builders import IterationSummaries, update_summaries

    here = CampaignDirectory.existing(directory)
    builder = IterationSummaries(here.store, campaign=here.id)
    with progress_bar() as progress:
        changed = update_summaries(builder, partial(count, progress, "iterations"))
    found = list(builder.summaries.query({"campaign": here.id}, sort={"iteration": 1}))
    if as_json:
        print_json(found, default=str)
    else:
        print_table(_table(found))
        typer.echo(f"{changed} of {len(found)} iterations were summarised anew")


def _table(found: list[dict[str, Any]]) -> Table:
    """One row per iteration."""
    from magflow.presentation.tables import Table

    heads = (
        "iteration",
        "labels",
        "reused",
        "failed",
        "core-hours",
        "training set",
        "models",
        "rmse energy (meV/atom)",
    )
    rows = []
    for summary in found:
        labels, assessment = summary["labels"], summary["assessment"] or {}
        sets = sorted({d["labels"] for d in summary["datasets"]})
        error = (assessment.get("rmse") or {}).get("energy")
        rows.append(
            [
                summary["iteration"],
                labels["usable"],
                labels["reused"],
                sum(labels["failures"].values()),
                f"{labels['core_hours']:.3g}",
                " ".join(map(str, sets)),
                len(summary["models"]),
                "" if error is None else f"{1e3 * error:.3g}",
            ]
        )
    return Table(heads, rows, frozenset(range(len(heads))))


@db.command("move")
def move(
    source: Annotated[str, typer.Option("--from", metavar="PLACE", help="Store that holds the campaign.")],
    target: Annotated[str, typer.Option("--to", metavar="PLACE", help="Store it is copied to.")],
    campaign: Annotated[
        str | None, typer.Option("--campaign", metavar="ID", help="Which one, where the store holds several.")
    ] = None,
    collection: Annotated[str, typer.Option("--collection", help="Collection of documents in MongoDB.")] = "magflow",
    as_json: Json = False,
) -> None:
    """Copy a campaign between the embedded store and MongoDB, and compare every document and array afterwards.

    A PLACE is a directory (the store in it), `mongodb` (the server of MAGFLOW_MONGO_URI or ~/.magflow.yaml), or
    mongodb://HOST:PORT/DATABASE without password. The source is left as it is. Interrupted, the same command goes on.
    Exit code 4 if something did not arrive as it was sent.

    Examples:

        magflow db move --from runs/feal_quick --to mongodb

        magflow db move --from mongodb --to runs/copy --campaign 0123456789abcdef01234567
    """
    from dataclasses import asdict

    from magflow.cli.printing import print_json
    from magflow.cli.progress import count, progress_bar
    from magflow.stores.move import copy_campaign
    from magflow.stores.places import MONGODB, open_place

    origin = open_place(source, collection, create=False)
    destination = open_place(target, collection, create=True)
    with progress_bar() as progress:
        told = partial(count, progress)
        copied = copy_campaign(origin, destination, campaign or _only_campaign(origin), told)
    if as_json:
        print_json(asdict(copied))
        return
    typer.echo(f"{copied.documents} documents and {copied.blobs} arrays are there, {copied.new} of them new")
    typer.echo(f"every one compared; SHA-256 of all {copied.digest}")
    if target.startswith(MONGODB) and not source.startswith(MONGODB):
        typer.echo("next: `store: {mongodb: {}}` in the campaign file, then magflow run FILE --dir " + source)


def _only_campaign(store: Any) -> str | None:
    """None if the store holds no more than one campaign: then everything in it is copied."""
    from magflow.errors import InputError
    from magflow.stores.move import campaigns_in

    held = campaigns_in(store)
    if len(held) > 1:
        raise InputError("the store holds several campaigns", where="--campaign", expected=" or ".join(held))
    return None
