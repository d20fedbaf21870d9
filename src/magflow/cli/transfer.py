"""``magflow transfer``: what pre-training on non-magnetic labels saves in magnetic ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from magflow.cli.options import Family, FamilySettings, Jobs, Json, Keys, Resume, VirialSign, out_option

if TYPE_CHECKING:
    from magflow.studies.transfer.result import TransferCurve
    from magflow.studies.transfer.saving import Price


def transfer(
    non_magnetic: Annotated[
        Path, typer.Option("--non-magnetic", metavar="NM.extxyz", help="Non-magnetic labels to pre-train on.")
    ],
    magnetic: Annotated[
        Path, typer.Option("--magnetic", metavar="M.extxyz", help="Magnetic labels to draw from and fine-tune on.")
    ],
    test: Annotated[Path, typer.Option("--test", metavar="T.extxyz", help="Magnetic labels to be held against.")],
    output: Annotated[Path, out_option("DIR", "Directory of the results.")],
    sizes: Annotated[str, typer.Option(help="Numbers of magnetic labels, with commas.")] = "10,20,40,80",
    seeds: Annotated[int, typer.Option(min=1, help="Draws of labels and fits, each with a seed of its own.")] = 3,
    family: Family = "mmtp",
    settings: FamilySettings = None,
    tuned: Annotated[
        list[str] | None,
        typer.Option("--tune", metavar="KEY=VALUE", help="A setting of fits to magnetic labels only; may be repeated."),
    ] = None,
    replay: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Share of the non-magnetic labels learnt from again. Default: all for a family that reads moments, "
            "none for others.",
        ),
    ] = None,
    joint: Annotated[
        bool,
        typer.Option("--joint", help="Fit to both kinds of label from scratch, too: replay without the pre-training."),
    ] = False,
    difference: Annotated[
        bool,
        typer.Option(
            "--difference",
            help="Keep the pre-trained potential as it is, too, and fit another to what it leaves of the labels.",
        ),
    ] = False,
    correction: Annotated[
        list[str] | None,
        typer.Option("--correction", metavar="KEY=VALUE", help="A setting of that other one alone; may be repeated."),
    ] = None,
    scratch_to: Annotated[
        int | None,
        typer.Option(min=1, help="Go on with fits from scratch, doubling the largest size, up to so many labels."),
    ] = None,
    members: Annotated[int, typer.Option(min=1, help="Potentials per point; with several each sees 80 %.")] = 1,
    price: Annotated[
        str, typer.Option(help="What a label costs: core_hours (wall time x cores) or cpu_hours.")
    ] = "core_hours",
    resume: Resume = False,
    jobs: Jobs = 0,
    virial_sign: VirialSign = None,
    keys: Keys = None,
    as_json: Json = False,
) -> None:
    """Measure what pre-training on non-magnetic labels saves in magnetic ones.

    Per seed one potential is pre-trained; for each number of magnetic labels it is fine-tuned on them, alone and with
    the non-magnetic labels again (replay), and another is fitted from scratch. A family that reads moments asks one
    question, one that reads none (dp, or mmtp with `--set n_psi=1`) another; the result says which, the most that can
    be saved of the first, and for the second whether the magnetic labels lie on one magnetic branch. DIR gets
    `results.json`, `results.csv`, `transfer.svg` and `transfer.html`. Ctrl-C and `kill -9` lose little: the same
    command with `--resume` goes on, and may ask for more sizes and seeds.

    Examples:

        magflow transfer --non-magnetic nm.extxyz --magnetic m.extxyz --test t.extxyz -o saved --set level=8

        magflow transfer --non-magnetic nm.extxyz --magnetic m.extxyz --test t.extxyz -o saved --seeds 5 --resume

        magflow transfer --non-magnetic nm.extxyz --magnetic free.extxyz --test t.extxyz -o free --set n_psi=1
        --difference --correction level=6 --sizes 2,4,8,16 --scratch-to 160
    """
    from magflow.api import training
    from magflow.api.opening import labels_of_file
    from magflow.cli.inputs import say, settings_of
    from magflow.cli.printing import print_json
    from magflow.cli.progress import progress_bar
    from magflow.core.dataset import Dataset
    from magflow.studies.transfer.factors import savings
    from magflow.studies.transfer.files import FILES
    from magflow.studies.transfer.saving import Price

    def read(path: Path) -> Dataset:
        return labels_of_file(path, virial_sign=virial_sign, keys=keys or (), told=say)

    with progress_bar() as progress:
        curve = training.transfer(
            read(non_magnetic),
            read(magnetic),
            read(test),
            output,
            sizes=_sizes(sizes),
            seeds=seeds,
            family=family,
            settings=settings_of(settings or ()),
            tune=settings_of([*(settings or ()), *(tuned or ())]),
            replay=replay,
            joint=joint,
            difference=difference,
            correction=settings_of(correction or ()),
            scratch_to=scratch_to,
            members=members,
            price=price,
            jobs=jobs,
            resume=resume,
            progress=progress,
        )
    if as_json:
        files = {name: str(output / name) for name in FILES}
        print_json({"files": files, "points": len(curve.points), "saving": savings(curve, Price(price))})
    else:
        _show(curve, Price(price), output)


def _sizes(text: str) -> tuple[int, ...]:
    from magflow.errors import InputError

    try:
        return tuple(int(word) for word in text.replace(",", " ").split())
    except ValueError:
        raise InputError("not a list of numbers", where="--sizes", seen=text, expected="such as 10,20,40") from None


def _show(curve: TransferCurve, price: Price, output: Path) -> None:
    """Errors, factors, and where the files are."""
    from magflow.cli.printing import print_table
    from magflow.studies.transfer.factors import ceiling_table, saved_arms, saving_table
    from magflow.studies.transfer.files import PAGE
    from magflow.studies.transfer.question import remarks
    from magflow.studies.transfer.section import error_table

    for about, text in remarks(curve.about):
        typer.echo(f"{about}: {text}")
    print_table(error_table(curve), "RMSE on held-out magnetic labels, median over the seeds")
    for arm in saved_arms(curve):
        print_table(saving_table(curve, arm, price), f"Times less than from scratch at equal error: {arm}")
    if curve.ceiling:
        print_table(ceiling_table(curve), "Times less than from scratch at most, whatever is done")
    typer.echo(f"wrote {output / PAGE} and the numbers beside it ({len(curve.points)} points)")
