"""``magflow train``: an ensemble from labelled frames, without a campaign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magflow.cli.options import (
    Family,
    FamilySettings,
    Jobs,
    Json,
    Keys,
    Mixed,
    Resume,
    Seed,
    TestLabels,
    VirialSign,
    out_option,
)


def train(
    labels: Annotated[
        Path, typer.Argument(metavar="LABELS.extxyz", help="Labelled frames, such as `magflow export` writes.")
    ],
    output: Annotated[Path, out_option("DIR", "Directory of the ensemble.")],
    elements: Annotated[
        str | None, typer.Option(help="Elements the potential is to know, with commas. Default: those of the labels.")
    ] = None,
    family: Family = "mmtp",
    settings: FamilySettings = None,
    members: Annotated[int, typer.Option(min=1, help="Potentials in the ensemble.")] = 5,
    uncertainty: Annotated[
        str,
        typer.Option(
            metavar="ensemble|laplace|both",
            help="What deviations are made of: members that disagree, what labels leave undecided, or both.",
        ),
    ] = "ensemble",
    bagging: Annotated[
        bool | None,
        typer.Option(help="Give each member its own 80 % of the labels. Default: with --uncertainty ensemble."),
    ] = None,
    validation: Annotated[
        float, typer.Option(help="Share of the labels each member keeps aside to stop its fit early.")
    ] = 0.0,
    seed: Seed = 1,
    start: Annotated[
        Path | None, typer.Option(metavar="MODELS", help="Ensemble or campaign whose members the fits start from.")
    ] = None,
    test: TestLabels = None,
    resume: Resume = False,
    jobs: Jobs = 0,
    mixed: Mixed = False,
    virial_sign: VirialSign = None,
    keys: Keys = None,
    as_json: Json = False,
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

        magflow train labels.extxyz -o one --members 1 --uncertainty laplace
    """
    from magflow.api import training
    from magflow.api.opening import labels_of_file
    from magflow.cli.inputs import say, settings_of
    from magflow.cli.printing import print_json, print_section
    from magflow.cli.progress import progress_bar
    from magflow.core.dataset import Dataset
    from magflow.studies.train.section import section

    def read(path: Path) -> Dataset:
        return labels_of_file(path, mixed=mixed, virial_sign=virial_sign, keys=keys or (), told=say)

    dataset, unseen = read(labels), None if test is None else read(test)
    with progress_bar() as progress:
        result = training.train(
            dataset,
            output,
            elements=elements.replace(",", " ").split() if elements else None,
            family=family,
            settings=settings_of(settings or ()),
            members=members,
            bagging=bagging,
            uncertainty=uncertainty,
            validation=validation,
            seed=seed,
            start=start,
            test=unseen,
            jobs=jobs,
            resume=resume,
            progress=progress,
        )
    if as_json:
        print_json({"output": str(output), **result.as_dict()})
    else:
        print_section(section(result))
        typer.echo(f"wrote {len(result.members)} members to {output} ({result.cpu_seconds:.0f} CPU s)")
