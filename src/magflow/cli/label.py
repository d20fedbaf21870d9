"""``magflow label``: labels of frames one has, without a campaign."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from magflow.cli.options import Json, Resume, out_option

WORK = ".labels"
"""What the name of the directory beside the output ends with, in which finished labels and runs live."""


def label(
    frames: Annotated[
        Path, typer.Argument(metavar="FRAMES.extxyz", help="Frames; a column magmoms gives the moments to be imposed.")
    ],
    output: Annotated[Path, out_option("LABELS.extxyz", "File of the labels.")],
    engine: Annotated[str, typer.Option(help="Label engine: abinit, vasp, spin-lattice, or one a plug-in registered.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the engine, as in a campaign; may be repeated."),
    ] = None,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Label frames: energy, forces, stress, moments and magnetic forces of each, by a DFT code.

    Settings are those of `label.settings` in a campaign file; nested ones are written with dots. Labels are kept in
    OUTPUT.labels until all frames have been tried: with `--resume` the same command keeps them and tries the others,
    those that failed included. The output can be trained on, or taken up elsewhere with `magflow import`.

    Examples:

        magflow label frames.extxyz --engine abinit --set ecut_ha=12 -o labels.extxyz

        magflow label frames.extxyz --engine spin-lattice -o labels.extxyz --resume
    """
    from magflow.cli.inputs import check_begun, engine_of, tell
    from magflow.cli.printing import print_json
    from magflow.cli.progress import progress_bar
    from magflow.dft.batch import LabelTask
    from magflow.errors import CampaignError, InputError
    from magflow.io.extxyz import read_extxyz, write_extxyz
    from magflow.io.findings import Findings

    if output.suffix not in (".extxyz", ".xyz"):
        raise InputError("labels are written as extended XYZ", where=str(output), expected=".extxyz")
    if output.exists() and not resume:
        raise InputError("the output is there already", where=str(output), hint="choose another --out")
    work = output.with_name(output.name + WORK)
    built = engine_of(engine, settings or [])
    check_begun(work.parent, work.name, "labels", resume=resume)
    findings = Findings()
    records = read_extxyz(frames, labels=False, findings=findings)
    tell(findings, extras=False)
    with progress_bar() as progress:
        result = LabelTask(built, records, work).run(progress)
    for message in result.messages:
        typer.echo(f"failed: {message}", err=True)
    if not result.records:
        raise CampaignError(
            "every label failed", where=str(frames), seen=result.messages[0], hint=f"runs are in {work}"
        )
    write_extxyz(output, result.records)
    if not result.failed:
        shutil.rmtree(work, ignore_errors=True)
    if as_json:
        print_json({"output": str(output), "labels": len(result.records), "failed": result.failed})
    else:
        failed = sum(result.failed.values())
        typer.echo(f"wrote {len(result.records)} labels to {output}" + (f"; {failed} failed" if failed else ""))
