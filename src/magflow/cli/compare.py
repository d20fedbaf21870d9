"""``magflow compare``: families of potentials side by side on the same labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from magflow.cli.options import Mixed, VirialSign

if TYPE_CHECKING:
    from magflow.core.dataset import Dataset
    from magflow.studies.compare.task import Entry

WORK = ".fits"
"""Directory below the output in which fits are kept."""


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
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Default: comparison/ in the campaign or beside the labels."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the fits that are finished there.")] = False,
    mixed: Mixed = False,
    virial_sign: VirialSign = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a machine-readable summary.")] = False,
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
    import json

    from magflow.cli.compared import bar, show
    from magflow.errors import CampaignError
    from magflow.studies.compare.fits import compare_families
    from magflow.studies.compare.section import main_quantity, write_comparison
    from magflow.studies.compare.task import ComparisonTask

    train, unseen = _parts(labels, test, split, mixed, virial_sign)
    task = ComparisonTask(
        entries=_entries(families, settings or []),
        train=train,
        test=unseen,
        seeds=tuple(range(1, seeds + 1)),
        validation=validation,
    )
    where = output or _default_output(labels)
    _check(where, resume, sort)
    with bar() as progress:
        comparison = compare_families(task, where / WORK, progress=progress)
    by = sort or main_quantity(comparison)
    written = write_comparison(comparison, where, by)
    if as_json:
        typer.echo(json.dumps({"files": {name: str(path) for name, path in written.items()}, **comparison.as_dict()}))
    else:
        show(comparison, by, where)
    if not any(fit.ok for fit in comparison.fits):
        raise CampaignError("every fit failed", seen=comparison.fits[0].failure, hint=f"look at {where}/results.json")


def _parts(
    labels: Path, test: Path | None, split: float, mixed: bool, virial_sign: int | None
) -> tuple[Dataset, Dataset]:
    """Labels to learn from and test labels."""
    from magflow.cli.inputs import labelled
    from magflow.errors import InputError

    dataset = _campaign_labels(labels) if labels.is_dir() else labelled(labels, mixed=mixed, virial_sign=virial_sign)
    if test is not None:
        unseen = labelled(test, mixed=mixed, virial_sign=virial_sign)
        known = {item.label_id for item in unseen}
        return dataset.filter(lambda item: item.label_id not in known), unseen
    if not 0.0 < split < 1.0:
        raise InputError("share of the labels out of range", where="--split", seen=split, expected="above 0, below 1")
    return dataset.split(1.0 - split, seed=0)


def _campaign_labels(directory: Path) -> Dataset:
    from magflow.campaign.directory import CampaignDirectory
    from magflow.errors import InputError
    from magflow.stores.queries import labelled_frames

    campaign = CampaignDirectory.existing(directory)
    dataset = labelled_frames(campaign.store, campaign=campaign.id)
    if not len(dataset):
        raise InputError("the campaign has no usable labels yet", where=str(directory))
    return dataset


def _entries(families: str, settings: list[str]) -> tuple[Entry, ...]:
    from magflow.cli.inputs import family_of
    from magflow.errors import InputError
    from magflow.studies.compare.task import Entry

    named = [word.partition("=") for word in families.replace(",", " ").split()]
    wanted = {name: family or name for name, _, family in named}
    if len(wanted) < len(named):
        raise InputError(
            "a family is named twice", where="--families", seen=families, hint="write NAME=FAMILY to tell them apart"
        )
    given: dict[str, list[str]] = {name: [] for name in wanted}
    for text in settings:
        # a name may hold dots of its own, so the longest one that fits is meant
        name = max((n for n in wanted if text.startswith(f"{n}.")), key=len, default=None)
        if name is None:
            raise InputError(
                "a setting of no entry",
                where="--set",
                seen=text,
                expected="NAME.KEY=VALUE with NAME one of " + ", ".join(wanted),
            )
        given[name].append(text[len(name) + 1 :])
    return tuple(Entry(name, family_of(family, given[name])) for name, family in wanted.items())


def _default_output(labels: Path) -> Path:
    from magflow.studies.compare.result import DIRECTORY

    return labels / DIRECTORY if labels.is_dir() else labels.with_name(f"{labels.stem}_{DIRECTORY}")


def _check(output: Path, resume: bool, sort: str | None) -> None:
    from magflow.core.prediction import QUANTITIES
    from magflow.errors import InputError

    if sort is not None and sort not in QUANTITIES:
        raise InputError("unknown quantity", where="--sort", seen=sort, expected=", ".join(QUANTITIES))
    begun = (output / WORK).is_dir()
    if begun and not resume:
        raise InputError("the directory holds fits already", where=str(output), hint="--resume keeps them")
    if resume and not begun:
        raise InputError("there are no fits to go on with", where=str(output), hint="leave --resume out")
