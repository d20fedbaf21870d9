"""``magflow query``: the labels, frames, models, iterations and jobs of a campaign."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class What(StrEnum):
    """What can be asked for."""

    LABELS = "labels"
    FRAMES = "frames"
    MODELS = "models"
    ITERATIONS = "iterations"
    JOBS = "jobs"


class OutputFormat(StrEnum):
    """How rows are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    EXTXYZ = "extxyz"


def query(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the campaign.")],
    what: Annotated[What, typer.Argument(help="What to list.")],
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="'KEY OP VALUE'", help="Condition, repeatable; OP: = != < <= > >= in ~."),
    ] = None,
    sort: Annotated[str | None, typer.Option("--sort", help="Field; a leading - reverses.")] = None,
    fields: Annotated[str | None, typer.Option("--fields", help="Columns, separated by commas.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Rows at most; 0: all.")] = 0,
    output: Annotated[OutputFormat, typer.Option("--format", "-f", help="Form of the output.")] = OutputFormat.TABLE,
) -> None:
    """List labels, offered frames, models, iterations or jobs of a campaign.

    `--where` compares a field: numbers, words, `state = failed`, `formula in Al1Fe1,Fe2`, `source ~ AFM` (contains).
    `--format extxyz` writes the frames of labels with their data.

    Examples:

        magflow query runs/feal_quick labels --where 'state = failed' --fields frame_id,failure,message

        magflow query runs/feal_quick labels --sort -force_max --limit 5

        magflow query runs/feal_quick frames --where 'reason = selected' --format csv
    """
    from magflow.campaign.directory import CampaignDirectory
    from magflow.cli.tables import Question, rows, write, write_extxyz
    from magflow.errors import InputError

    question = Question.parse(where or [], sort, fields, limit)
    here = CampaignDirectory.existing(directory)
    found = rows(here, what, question)
    if output is not OutputFormat.EXTXYZ:
        write(found, what, question, output, sys.stdout)
    elif what is What.LABELS:
        write_extxyz(here, found, sys.stdout)
    else:
        raise InputError("only labels can be written as extxyz", where="--format", seen=f"{what} as extxyz")
