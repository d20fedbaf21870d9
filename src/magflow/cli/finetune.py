"""``magflow finetune``: a trained ensemble goes on with force constants."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magflow.cli.options import (
    FamilySettings,
    Jobs,
    Json,
    Keys,
    Mixed,
    Models,
    Resume,
    TestLabels,
    VirialSign,
    out_option,
)


def finetune(
    models: Models,
    output: Annotated[Path, out_option("DIR", "Directory of the tuned ensemble.")],
    phonons: Annotated[
        list[Path],
        typer.Option(
            "--phonons",
            metavar="FC",
            help="Force constants to learn from; may be repeated. A folder or file of phonopy, labelled frames of a "
            "crystal and of the same with one atom displaced, or what magflow wrote.",
        ),
    ],
    cotrain: Annotated[
        Path,
        typer.Option("--cotrain", metavar="LABELS", help="Labels to learn from again: a file, or a campaign."),
    ],
    settings: FamilySettings = None,
    held: Annotated[
        list[Path] | None,
        typer.Option("--test-phonons", metavar="FC", help="Force constants to test on; may be repeated."),
    ] = None,
    test: TestLabels = None,
    moment: Annotated[
        list[str] | None,
        typer.Option("--moment", metavar="EL=MUB", help="|m| where files of phonopy hold none or a guess, muB."),
    ] = None,
    clamped: Annotated[
        bool, typer.Option("--clamped", help="Moments were held in phonopy's displacements; else they followed.")
    ] = False,
    bagging: Annotated[bool, typer.Option(help="Give each member its own 80 % of the labels.")] = True,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Default: those of the members, for the same samples of labels.")
    ] = None,
    resume: Resume = False,
    jobs: Jobs = 0,
    mixed: Mixed = False,
    virial_sign: VirialSign = None,
    keys: Keys = None,
    as_json: Json = False,
) -> None:
    """Teach a trained ensemble force constants, and say what that did to its phonons and to all else it knew.

    The fits go on from the members of the ensemble with the settings they had. Columns of the Hessian at clamped
    moments are met beside the labels of `--cotrain`, which keep it from forgetting: by mmtp in the same least squares
    (`weights.force_constants`), by networks (nequip, nequip-spin, allegro, chgnet) in steps between (`finetuning`).
    Printed before and after: errors of the force constants, the highest frequency, entropy, free energy and heat
    capacity by phonopy, and the errors on the labels. With `--resume` the same command goes on where a killed one was.

    Examples:

        magflow finetune potential --phonons phonons/Fe --cotrain labels.extxyz -o tuned

        magflow finetune runs/feal --phonons displaced.extxyz --cotrain runs/feal --test unseen.extxyz -o tuned

        magflow finetune potential --phonons Si --cotrain si.extxyz --mixed --set weights.force_constants=10 -o tuned

        magflow finetune network --phonons Fe --cotrain fe.extxyz --set finetuning.turns=600 -o tuned
    """
    from magflow.api import finetuning
    from magflow.api.opening import read_labels
    from magflow.cli.inputs import moments_of, say, settings_of
    from magflow.cli.printing import print_json, print_section
    from magflow.cli.progress import progress_bar
    from magflow.core.dataset import Dataset
    from magflow.studies.finetune.section import section

    def read(path: Path) -> Dataset:
        return read_labels(path, mixed=mixed, virial_sign=virial_sign, keys=keys or (), told=say)

    labels, unseen = read(cotrain), None if test is None else read(test)
    with progress_bar() as progress:
        result = finetuning.finetune(
            models,
            list(phonons),
            labels,
            output,
            settings=settings_of(settings or ()),
            held=list(held or ()),
            test=unseen,
            moments=moments_of(moment or (), "--moment"),
            clamped=clamped,
            bagging=bagging,
            seed=seed,
            mixed=mixed,
            jobs=jobs,
            resume=resume,
            progress=progress,
        )
    if as_json:
        print_json({"output": str(output), **result.as_dict()})
    else:
        print_section(section(result))
        typer.echo(f"wrote {len(result.members)} members to {output} ({result.cpu_seconds:.0f} CPU s)")
