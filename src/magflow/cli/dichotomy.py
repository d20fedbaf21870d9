"""``magflow dichotomy``: potentials on several surfaces of one material, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magflow.cli.options import Json


def dichotomy(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="Such as workflows/fe_dichotomy.yaml.")],
    directory: Annotated[Path, typer.Option("--dir", "-d", metavar="DIR", help="Where everything is kept.")],
    workers: Annotated[int, typer.Option("--workers", "-w", min=1, help="Labels at the same time.")] = 1,
    until: Annotated[str, typer.Option(help="Last step: labels, potentials, validation.")] = "validation",
    quick: Annotated[bool, typer.Option("--quick", help="Properties that answer within minutes.")] = False,
    as_json: Json = False,
) -> None:
    """Label the same frames in several kinds, train potentials on each set, and measure what they say.

    Frames of solids and liquids are drawn once and labelled, say, without magnetism and spin-polarised. Potentials
    learn from one set each and are asked the same properties, so that what differs is what the labels hold. Everything
    that is finished is kept: after Ctrl-C or `kill -9` the same command goes on, and with more `label.core_hours` in
    the file it labels more frames. DIR gets `dichotomy.html`, `frames.extxyz`, `labels/`, `potentials/` and
    `validation/`.

    Examples:

        magflow dichotomy workflows/fe_dichotomy.yaml --dir runs/fe_dichotomy

        magflow dichotomy workflows/fe_dichotomy.yaml --dir runs/fe_dichotomy --until labels --workers 2
    """
    from magflow.api.dichotomy import PAGE, Step
    from magflow.api.dichotomy import dichotomy as run
    from magflow.cli.printing import print_json, print_section
    from magflow.cli.progress import progress_bar
    from magflow.errors import InputError
    from magflow.studies.dichotomy.section import section
    from magflow.studies.validate.section import section as validation_section

    if until not in list(Step):
        raise InputError("unknown step", where="--until", seen=until, expected=", ".join(Step))
    with progress_bar() as progress:
        made, validation = run(file, directory, workers=workers, until=Step(until), quick=quick, progress=progress)
    if as_json:
        print_json({**made.as_dict(), "validation": None if validation is None else validation.as_dict()})
        return
    print_section(section(made))
    if validation is not None:
        print_section(validation_section(validation))
    if until != Step.LABELS:
        typer.echo(f"\nwrote {directory / PAGE}")
