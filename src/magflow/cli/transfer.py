"""``magflow transfer``: what pre-training on non-magnetic labels saves in magnetic ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from magflow.core.dataset import Dataset
    from magflow.studies.transfer.saving import Price
    from magflow.studies.transfer.task import TransferTask

WORK = ".points"
"""Directory below the output in which finished points are kept."""


def transfer(
    non_magnetic: Annotated[
        Path, typer.Option("--non-magnetic", metavar="NM.extxyz", help="Non-magnetic labels to pre-train on.")
    ],
    magnetic: Annotated[
        Path, typer.Option("--magnetic", metavar="M.extxyz", help="Magnetic labels to draw from and fine-tune on.")
    ],
    test: Annotated[Path, typer.Option("--test", metavar="T.extxyz", help="Magnetic labels to be held against.")],
    output: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Directory of the results.")],
    sizes: Annotated[str, typer.Option(help="Numbers of magnetic labels, with commas.")] = "10,20,40,80",
    seeds: Annotated[int, typer.Option(min=1, help="Draws of labels and fits, each with a seed of its own.")] = 3,
    family: Annotated[str, typer.Option(help="Family of potentials: mmtp, or one a plug-in registered.")] = "mmtp",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the family, both stages; may be repeated."),
    ] = None,
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
    members: Annotated[int, typer.Option(min=1, help="Potentials per point; with several each sees 80 %.")] = 1,
    price: Annotated[
        str, typer.Option(help="What a label costs: core_hours (wall time x cores) or cpu_hours.")
    ] = "core_hours",
    resume: Annotated[bool, typer.Option("--resume", help="Go on in DIR; finished points are kept.")] = False,
    jobs: Annotated[int, typer.Option(min=0, help="Members fitted side by side; 0: as many as there are cores.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print a machine-readable summary.")] = False,
) -> None:
    """Measure what pre-training on non-magnetic labels saves in magnetic ones.

    Per seed one potential is pre-trained; for each number of magnetic labels it is fine-tuned on them, alone and with
    the non-magnetic labels again (replay), and another is fitted from scratch. DIR gets `results.json`, `results.csv`,
    `transfer.svg` and `transfer.html`. Ctrl-C and `kill -9` lose little: the same command with `--resume` goes on, and
    may ask for more sizes and seeds.

    Examples:

        magflow transfer --non-magnetic nm.extxyz --magnetic m.extxyz --test t.extxyz -o saved --set level=8

        magflow transfer --non-magnetic nm.extxyz --magnetic m.extxyz --test t.extxyz -o saved --seeds 5 --resume
    """
    import json

    from magflow.cli.transferred import bar, show
    from magflow.potentials.training import cores
    from magflow.studies.transfer.files import write_transfer
    from magflow.studies.transfer.result import transfer_curve
    from magflow.studies.transfer.section import savings

    chosen = _price(price)
    task = _task(
        {"non_magnetic": non_magnetic, "pool": magnetic, "test": test},
        *_families(family, settings or [], tuned or []),
        _sizes(sizes),
        seeds,
        replay,
        members,
        joint,
    )
    _check_output(output, resume)
    with bar() as progress:
        curve = transfer_curve(task, output / WORK, jobs=jobs or cores(), progress=progress)
    written = write_transfer(curve, output, chosen)
    if as_json:
        paths = {name: str(path) for name, path in written.items()}
        typer.echo(json.dumps({"files": paths, "points": len(curve.points), "saving": savings(curve, chosen)}))
    else:
        show(curve, chosen, output)


def _price(name: str) -> Price:
    from magflow.errors import InputError
    from magflow.studies.transfer.saving import Price

    try:
        return Price(name)
    except ValueError:
        raise InputError("unknown price", where="--price", seen=name, expected=" or ".join(Price)) from None


def _families(name: str, settings: list[str], tuned: list[str]) -> tuple[Any, Any]:
    from magflow.cli.inputs import family_of

    return family_of(name, settings), family_of(name, [*settings, *tuned])


def _sizes(text: str) -> tuple[int, ...]:
    from magflow.errors import InputError

    try:
        return tuple(int(word) for word in text.replace(",", " ").split())
    except ValueError:
        raise InputError("not a list of numbers", where="--sizes", seen=text, expected="such as 10,20,40") from None


def _task(
    paths: dict[str, Path],
    pretraining: Any,
    family: Any,
    sizes: tuple[int, ...],
    seeds: int,
    replay: float | None,
    members: int,
    joint: bool,
) -> TransferTask:
    from magflow.errors import InputError
    from magflow.studies.transfer.task import Arm, TransferSchedule, TransferTask

    parts = {name: _labels(path, name) for name, path in paths.items()}
    share = (1.0 if family.magnetic else 0.0) if replay is None else replay
    if joint and not share:
        raise InputError("--joint learns from both kinds of label, which is replay", where="--replay", seen=share)
    arms = [Arm.SCRATCH, Arm.TUNED, *([Arm.REPLAYED] if share else []), *([Arm.JOINT] if joint else [])]
    return TransferTask(
        pretraining,
        family,
        **parts,
        sizes=sizes,
        seeds=tuple(range(1, seeds + 1)),
        schedule=TransferSchedule(replay=share, members=members, bagging=members > 1),
        arms=tuple(arms),
    )


def _labels(path: Path, name: str) -> Dataset:
    """The labels of a file: non-magnetic ones for the first part, magnetic ones for the others."""
    from magflow.cli.inputs import labelled
    from magflow.core.label import LabelKind
    from magflow.errors import InputError

    dataset = labelled(path, mixed=False)
    plain = dataset.kinds == (LabelKind.NON_MAGNETIC,)
    if plain != (name == "non_magnetic"):
        raise InputError(
            "labels of the wrong kind",
            where=str(path),
            seen=", ".join(dataset.kinds),
            expected="non-magnetic" if name == "non_magnetic" else "constrained or spin-polarised",
        )
    return dataset


def _check_output(output: Path, resume: bool) -> None:
    from magflow.errors import InputError

    begun = (output / WORK).is_dir()
    if begun and not resume:
        raise InputError(
            "the directory holds points already",
            where=str(output),
            hint="--resume goes on with them",
        )
    if resume and not begun:
        raise InputError("there are no points to go on with", where=str(output), hint="leave --resume out")
