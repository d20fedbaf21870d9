"""``magflow query``: the labels, frames, models, iterations, measurements and jobs of a campaign."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from magflow.cli.options import Campaign, Json

if TYPE_CHECKING:
    from magflow.campaign.directory import CampaignDirectory
    from magflow.stores.questions import Question


class What(StrEnum):
    """What can be asked for."""

    LABELS = "labels"
    FRAMES = "frames"
    MODELS = "models"
    ITERATIONS = "iterations"
    MEASUREMENTS = "measurements"
    JOBS = "jobs"


COLUMNS = {
    What.LABELS: (
        "iteration,label_id,state,formula,ordering,source,energy_per_atom,force_max,moment_total,pressure_gpa,"
        "cpu_seconds,failure"
    ),
    What.FRAMES: "iteration,frame_id,formula,ordering,source,reason,score,grade,volume,moment_max",
    What.MODELS: "iteration,member,family,n_labels,seed,converged,rmse,cpu_seconds",
    What.ITERATIONS: (
        "iteration,offered,selected,labels_new,labels_failed,labels_total,rmse,within_target,core_hours_total,stop"
    ),
    What.MEASUREMENTS: "iteration,potential,structure,magnetic_state,property,values,outside,failure,skipped",
    What.JOBS: "name,state,category,tries,wall_seconds,cpu_seconds,error",
}
"""Columns shown unless `--fields` names others."""


UNITS = {
    **dict.fromkeys(("energy_per_atom",), "eV/atom"),
    **dict.fromkeys(("energy",), "eV"),
    **dict.fromkeys(("force_max",), "eV/A"),
    **dict.fromkeys(("moment_total", "moment_max"), "muB"),
    **dict.fromkeys(("magnetic_force_max",), "eV/muB"),
    **dict.fromkeys(("pressure_gpa",), "GPa"),
    **dict.fromkeys(("volume", "volume_per_atom"), "A^3/atom"),
    **dict.fromkeys(("cpu_seconds", "wall_seconds"), "s"),
    **dict.fromkeys(("core_hours", "core_hours_total"), "h"),
    **dict.fromkeys(("rmse", "train_rmse"), "eV, A, muB"),
    **dict.fromkeys(("submitted", "started", "ended"), "s since 1970"),
}
"""Of fields, for the heads of a table."""


class OutputFormat(StrEnum):
    """How rows are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    EXTXYZ = "extxyz"


def _known_fields(context: typer.Context) -> list[str]:
    """The fields of what is listed, of the campaign that stands before on the command line."""
    from pathlib import Path

    from magflow.api.answers import answer
    from magflow.campaign.directory import CampaignDirectory
    from magflow.errors import MagflowError
    from magflow.stores.questions import Question

    directory, what = (*context.args, "", "")[:2]  # an option that waits for its value leaves arguments unassigned
    if what not in set(What):
        return []
    try:
        found = answer(CampaignDirectory.existing(Path(directory)), what, Question(limit=1))
    except MagflowError:
        found = []  # what is wrong with the campaign is said once the command runs
    return list(found[0]) if found else COLUMNS[What(what)].split(",")


def _field_list(context: typer.Context, incomplete: str) -> list[str]:
    """The fields that may come after those that stand there with commas."""
    before = incomplete.rpartition(",")[0]
    taken = before.split(",")
    return [f"{before},{name}" if before else name for name in _known_fields(context) if name not in taken]


def query(
    directory: Campaign,
    what: Annotated[What, typer.Argument(help="What to list.")],
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="'KEY OP VALUE'",
            help="Condition, repeatable; OP: = != < <= > >= in ~.",
            autocompletion=_known_fields,
        ),
    ] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", help="Field; a leading - reverses.", autocompletion=_known_fields)
    ] = None,
    fields: Annotated[
        str | None, typer.Option("--fields", help="Columns, separated by commas.", autocompletion=_field_list)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Rows at most; 0: all.")] = 0,
    form: Annotated[OutputFormat, typer.Option("--format", "-f", help="Form of the output.")] = OutputFormat.TABLE,
    as_json: Json = False,
) -> None:
    """List labels, offered frames, models, iterations, measurements or jobs of a campaign.

    `--where` compares a field: numbers, words, `state = failed`, `formula in FeAl,Fe2`, `source ~ AFM` (contains).
    `--fields ...,directory` adds where a label was computed, as far as its files were kept. `--format extxyz` writes
    the frames of labels with their data.

    Examples:

        magflow query runs/feal_quick labels --where 'state = failed' --fields frame_id,failure,message

        magflow query runs/feal_quick labels --sort -force_max --limit 5

        magflow query runs/feal_quick frames --where 'reason = selected' --format csv
    """
    from magflow.api.answers import answer
    from magflow.campaign.directory import CampaignDirectory
    from magflow.errors import InputError
    from magflow.stores.questions import Question

    if as_json and form not in (OutputFormat.TABLE, OutputFormat.JSON):
        raise InputError("--json and --format exclude each other", where="--format", seen=form)
    if form is OutputFormat.EXTXYZ and what is not What.LABELS:
        raise InputError("only labels can be written as extxyz", where="--format", seen=f"{what} as extxyz")
    question = Question.parse(where or [], sort, fields, limit)
    here = CampaignDirectory.existing(directory)
    found = answer(here, what, question)
    if form is OutputFormat.EXTXYZ:
        _write_frames(here, found)
    else:
        _write_rows(found, what, question, OutputFormat.JSON if as_json else form)


def _write_rows(found: Sequence[Mapping[str, Any]], what: What, question: Question, form: OutputFormat) -> None:
    from magflow.cli.printing import print_json, print_table
    from magflow.presentation.tables import Table, no_formula
    from magflow.stores.projection import pick

    if form is OutputFormat.JSON:
        print_json([{k: pick(r, k) for k in question.fields} for r in found] if question.fields else found)
        return
    columns = question.fields or tuple(COLUMNS[what].split(","))
    cells = [[_cell(pick(row, column)) for column in columns] for row in found]
    if form is OutputFormat.CSV:
        csv.writer(sys.stdout).writerows([no_formula(cell) for cell in row] for row in [columns, *cells])
    else:
        print_table(Table([f"{c} ({UNITS[c]})" if c in UNITS else c for c in columns], cells))
        typer.echo(f"{len(found)} rows")


def _cell(value: Any) -> str | int | float:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return " ".join(f"{k}={_cell(v)}" for k, v in value.items())
    if isinstance(value, list):
        return " ".join(str(_cell(v)) for v in value)
    if isinstance(value, bool | int):
        return value
    return str(value).strip().splitlines()[-1] if str(value).strip() else ""


def _write_frames(directory: CampaignDirectory, found: Sequence[Mapping[str, Any]]) -> None:
    """The frames of usable labels with their data."""
    from magflow.io.extxyz import format_frame
    from magflow.io.records import as_record
    from magflow.stores import contents

    wanted = {r["label_id"] for r in found}
    for item in contents.labelled_frames(directory.documents, campaign=directory.id):
        if item.label_id in wanted:
            sys.stdout.write(format_frame(as_record(item)))
