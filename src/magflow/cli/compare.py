"""``magflow compare``: families of potentials side by side on the same labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from magflow.cli.options import Json, Keys, Mixed, Resume, VirialSign, out_option

if TYPE_CHECKING:
    from magflow.studies.compare.result import Comparison


def compare(
    labels: Annotated[
        Path, typer.Argument(metavar="DIR|LABELS.extxyz", help="Directory of a campaign, or labelled frames.")
    ],
    families: Annotated[
        str, typer.Option(help="Families with commas; NAME=FAMILY gives one a name, to compare it with itself.")
    ] = "mmtp,dp,dp-spin",
    split: Annotated[
        float, typer.Option(help="Share of the labels to learn from; the others are the test, the same for all.")
    ] = 0.8,
    test: Annotated[
        Path | None, typer.Option("--test", metavar="FILE.extxyz", help="Test labels; all others are learnt from.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Fits per family, each with a seed of its own.")] = 3,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME.KEY=VALUE", help="A setting of one entry; may be repeated."),
    ] = None,
    validation: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Share of the labels learnt from that stops a fit early.")
    ] = 0.0,
    sort: Annotated[
        str | None, typer.Option(help="Quantity to sort by: energy, forces, stress, magnetic_forces. Default: forces.")
    ] = None,
    output: Annotated[
        Path | None, out_option("DIR", "Default: comparison/ in the campaign or beside the labels.")
    ] = None,
    resume: Resume = False,
    mixed: Mixed = False,
    virial_sign: VirialSign = None,
    keys: Keys = None,
    as_json: Json = False,
) -> None:
    """Fit several families to the same labels and compare errors, training cost and inference cost.

    Every fit is one potential; errors are those on test labels none of them saw. A family that fails is told and does
    not stop the others. The output directory gets `results.json`, `results.csv` and `comparison.svg`; `magflow report`
    shows a comparison in a campaign's directory. Ctrl-C and `kill -9` lose little: the same command with `--resume`
    goes on, and may ask for more families and seeds.

    Examples:

        magflow compare runs/feal_quick --families mmtp,dp,dp-spin --set mmtp.level=12

        magflow compare labels.extxyz --families small=mmtp,large=mmtp --set small.level=8 --set large.level=14
    """
    from magflow.api import training
    from magflow.api.opening import read_labels
    from magflow.cli.inputs import say
    from magflow.cli.printing import print_json
    from magflow.cli.progress import progress_bar
    from magflow.core.dataset import Dataset
    from magflow.studies.compare.files import FILES
    from magflow.studies.compare.section import main_quantity

    def read(place: Path) -> Dataset:
        return read_labels(place, mixed=mixed, virial_sign=virial_sign, keys=keys or (), told=say)

    known, unseen = read(labels), None if test is None else read(test)
    where = output or _default_output(labels)
    named = named_families(families)
    with progress_bar() as progress:
        comparison = training.compare(
            known,
            where,
            families=named,
            settings=named_settings(named, settings or []),
            split=split,
            test=unseen,
            seeds=seeds,
            validation=validation,
            sort=sort,
            resume=resume,
            progress=progress,
        )
    if as_json:
        print_json({"files": {name: str(where / name) for name in FILES}, **comparison.as_dict()})
    else:
        _show(comparison, sort or main_quantity(comparison), where)


def named_families(text: str) -> dict[str, str]:
    """Name of each entry to its family."""
    from magflow.errors import InputError

    named = [word.partition("=") for word in text.replace(",", " ").split()]
    wanted = {name: family or name for name, _, family in named}
    if len(wanted) < len(named):
        hint = "write NAME=FAMILY to tell them apart"
        raise InputError("a family is named twice", where="--families", seen=text, hint=hint)
    return wanted


def named_settings(wanted: dict[str, str], assignments: list[str]) -> dict[str, dict[str, Any]]:
    """Name of each entry to its settings."""
    from magflow.cli.inputs import settings_of

    given: dict[str, list[str]] = {name: [] for name in wanted}
    for text in assignments:
        name, rest = of_entry(wanted, text, "--set")
        given[name].append(rest)
    return {name: settings_of(texts) for name, texts in given.items()}


def of_entry(wanted: dict[str, str], text: str, option: str) -> tuple[str, str]:
    """The entry that ``NAME.KEY=VALUE`` is for, and what follows its dot."""
    from magflow.errors import InputError

    # a name may hold dots of its own, so the longest one that fits is meant
    name = max((n for n in wanted if text.startswith(f"{n}.")), key=len, default=None)
    if name is None:
        expected = "NAME.KEY=VALUE with NAME one of " + ", ".join(wanted)
        raise InputError("a setting of no entry", where=option, seen=text, expected=expected)
    return name, text[len(name) + 1 :]


def _default_output(labels: Path) -> Path:
    from magflow.studies.compare.result import DIRECTORY

    return labels / DIRECTORY if labels.is_dir() else labels.with_name(f"{labels.stem}_{DIRECTORY}")


def _show(comparison: Comparison, by: str, output: Path) -> None:
    """Errors and costs, the errors of `by` per stratum, remarks, and where the files are."""
    from magflow.cli.printing import print_table
    from magflow.presentation.quantities import quantity
    from magflow.studies.compare.section import cost_table, error_table, remarks, stratum_table

    test, q = comparison.about["labels"]["test"]["count"], quantity(by)
    print_table(error_table(comparison, by), f"RMSE on {test} test labels; median (range) over the seeds")
    print_table(cost_table(comparison, by), "Cost on one core; median over the seeds")
    print_table(stratum_table(comparison, q), f"{q.title} by stratum, RMSE ({q.unit})")
    for entry, text in remarks(comparison, by):
        typer.echo(f"{entry}: {text}")
    typer.echo(f"wrote results.json, results.csv and comparison.svg to {output}")
