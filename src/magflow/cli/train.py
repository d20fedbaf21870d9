"""``magflow train``: an ensemble from labelled frames, without a campaign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from magflow.cli.options import Mixed, VirialSign

if TYPE_CHECKING:
    from magflow.core.dataset import Dataset

WORK = ".training"
"""Directory below the output in which an unfinished training lives."""


def train(
    labels: Annotated[
        Path, typer.Argument(metavar="LABELS.extxyz", help="Labelled frames, such as `magflow export` writes.")
    ],
    output: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Directory of the ensemble.")],
    elements: Annotated[
        str | None, typer.Option(help="Elements the potential is to know, with commas. Default: those of the labels.")
    ] = None,
    family: Annotated[str, typer.Option(help="Family of potentials: mmtp, or one a plug-in registered.")] = "mmtp",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the family; may be repeated."),
    ] = None,
    members: Annotated[int, typer.Option(min=1, help="Potentials in the ensemble.")] = 5,
    bagging: Annotated[bool, typer.Option(help="Give each member its own 80 % of the labels.")] = True,
    validation: Annotated[
        float, typer.Option(help="Share of the labels each member keeps aside to stop its fit early.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same ensemble.")] = 1,
    start: Annotated[
        Path | None, typer.Option(metavar="MODELS", help="Ensemble or campaign whose members the fits start from.")
    ] = None,
    test: Annotated[
        Path | None, typer.Option("--test", metavar="FILE.extxyz", help="Labelled frames to hold the ensemble against.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a training that was interrupted.")] = False,
    jobs: Annotated[int, typer.Option(min=0, help="Members fitted side by side; 0: as many as there are cores.")] = 0,
    mixed: Mixed = False,
    virial_sign: VirialSign = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a machine-readable summary.")] = False,
) -> None:
    """Train an ensemble on labelled frames and say how well it meets them, per stratum too.

    Ctrl-C, `kill -9` and power cuts lose little: with `--resume` the same command goes on where it was and gives the
    same ensemble. The settings of a family are those of `train.settings` in a campaign file; nested ones are written
    with dots. With `--start` the members go on from an earlier ensemble, which takes a few iterations when frames were
    added. The result is for `magflow predict`; its deviations are not calibrated.

    Examples:

        magflow train labels.extxyz -o potential

        magflow train labels.extxyz -o potential --set level=12 --set weights.energy=100 --validation 0.1

        magflow train more.extxyz -o updated --start potential --test unseen.extxyz
    """
    import json

    from magflow.cli.inputs import family_of, labelled, open_ensemble
    from magflow.cli.trained import bars, outcome, show
    from magflow.potentials.training import EnsembleTask, cores, train_ensemble

    built = family_of(family, settings or [])
    dataset = labelled(labels, mixed=mixed, virial_sign=virial_sign)
    unseen = None if test is None else labelled(test, mixed=mixed, virial_sign=virial_sign)
    _check_output(output, resume)
    task = EnsembleTask(
        family=built,
        dataset=dataset,
        elements=tuple(sorted(elements.replace(",", " ").split())) if elements else dataset.elements,
        members=members,
        seed=seed,
        bagging=bagging,
        validation=validation,
        start=None if start is None else open_ensemble(start),
    )
    _check_elements(task.elements, {str(labels): dataset} | ({} if unseen is None else {str(test): unseen}))
    with bars(members) as progress:
        ensemble, reports = train_ensemble(task, output / WORK, jobs=jobs or cores(), progress=progress)
    told = outcome(ensemble, reports, dataset, unseen)
    _save(output, ensemble, told)
    if as_json:
        typer.echo(json.dumps({"output": str(output), **told}))
    else:
        show(told, output)


def _check_elements(elements: tuple[str, ...], parts: dict[str, Dataset]) -> None:
    from ase.data import atomic_numbers

    from magflow.errors import InputError

    unknown = [e for e in elements if not atomic_numbers.get(e)]
    if unknown:
        raise InputError("unknown element", where="--elements", seen=", ".join(unknown), expected="chemical symbols")
    for path, part in parts.items():
        foreign = sorted(set(part.elements) - set(elements))
        if foreign:
            raise InputError(
                "labels hold an element that is not to be known",
                where=path,
                seen=", ".join(foreign),
                expected="only " + ", ".join(elements),
                hint="name all of them with --elements",
            )


def _check_output(output: Path, resume: bool) -> None:
    from magflow.errors import InputError
    from magflow.potentials.ensemble import MANIFEST
    from magflow.potentials.training import unfinished

    if (output / MANIFEST).exists():
        raise InputError("the directory holds an ensemble already", where=str(output), hint="choose another --out")
    begun = unfinished(output / WORK)
    if begun and not resume:
        raise InputError(
            "the directory holds an unfinished training",
            where=str(output),
            hint=f"--resume goes on with it; remove {output / WORK} to start afresh",
        )
    if resume and not begun:
        raise InputError("there is no unfinished training to go on with", where=str(output), hint="leave --resume out")


def _save(output: Path, ensemble: object, told: dict) -> None:
    """The ensemble, what is known about it, and no trace of the work."""
    import json
    import shutil

    from magflow.core.files import replace_file

    replace_file(output / "training.json", json.dumps(told, indent=1).encode())
    ensemble.save(output)  # type: ignore[attr-defined]
    shutil.rmtree(output / WORK, ignore_errors=True)
