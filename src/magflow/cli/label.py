"""``magflow label``: frames labelled by an engine, without a campaign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from magflow.cli.options import Json, Keys, Magmoms, Resume, engines, out_option

if TYPE_CHECKING:
    from magflow.core.frame import Frame
    from magflow.core.protocols import LabelEngine
    from magflow.execution.labelling import Labelled

WORK = ".label"
"""Directory beside the output in which queue and finished labels are kept."""

SOME_FAILED = 5
"""Exit code when frames are left without a label."""


def label(
    frames: Annotated[
        Path,
        typer.Argument(metavar="FRAMES", help="Frames, in any format that `magflow import` reads; FILE@0: its first."),
    ],
    output: Annotated[Path, out_option("LABELS", "What its name says: .extxyz, .cfg, a folder.")],
    engine: Annotated[
        str | None,
        typer.Option(help="Label engine: abinit, vasp, spin-lattice, or a plug-in's.", autocompletion=engines),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the engine; may be repeated.")
    ] = None,
    campaign: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Engine, settings and elements of this campaign file: its level of theory."),
    ] = None,
    elements: Annotated[
        str | None,
        typer.Option(help="Elements the level of theory speaks of, with commas. Default: those of the frames."),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", "-w", min=1, help="Labels at the same time.")] = 1,
    resume: Resume = False,
    magmoms: Magmoms = None,
    keys: Keys = None,
    as_json: Json = False,
) -> None:
    """Label frames with an engine, without a campaign.

    Moments of the frames are the targets of constrained labels, the start of spin-polarised ones, and left out for
    non-magnetic ones. Each label is kept as soon as it is finished: after Ctrl-C or `kill -9` the same command with
    `--resume` computes the rest, and with other settings of the same level of theory what has failed. Failed frames
    are listed by reason. Exit code 0: every frame has a label; 5: some have none.

    Examples:

        magflow label frames.extxyz --engine spin-lattice -o labels.extxyz

        magflow label frames.extxyz --campaign campaign.yaml --workers 4 -o labels.extxyz
    """
    from magflow.api.opening import check_begun
    from magflow.cli.inputs import magmoms_of
    from magflow.cli.printing import print_json
    from magflow.cli.progress import count, progress_bar
    from magflow.errors import InputError
    from magflow.execution.labelling import LabelTask
    from magflow.io.export import Target, form_of, write_records
    from magflow.io.records import as_record

    form = form_of(output)
    place = output.parent / WORK
    check_begun(place, output.name, "labels", resume=resume)
    if output.exists() and not resume:
        raise InputError("the output is there already", where=str(output), hint="choose another name")
    source, known = _engine(engine, settings or [], campaign)
    wanted = _frames(frames, keys or [], magmoms_of(magmoms))
    spoken = known if elements is None else tuple(elements.replace(",", " ").split())
    spoken = spoken or tuple(s for frame in wanted for s in frame.species)
    task = LabelTask(tuple(wanted), source, tuple(sorted(set(spoken))), place / output.name)
    task.require_ready()
    with progress_bar() as progress:
        found = task.run(workers, lambda done, total: count(progress, "labels", done, total, every=10))
    said = write_records(Target(output, form), [as_record(item) for item in found.items]) if found.items else None
    if not found.failures:
        task.clear()
    if as_json:
        print_json({"output": None if said is None else str(output), **found.as_dict()})
    else:
        _show(found, said)
    if found.failures:
        raise typer.Exit(SOME_FAILED)


def _engine(name: str | None, settings: list[str], campaign: Path | None) -> tuple[LabelEngine, tuple[str, ...]]:
    """What labels, and the elements of the campaign; no elements without one."""
    from magflow.api.opening import engine_of
    from magflow.campaign.load import load_campaign
    from magflow.cli.inputs import settings_of
    from magflow.errors import InputError

    if (name is None) == (campaign is None) or (campaign and settings):
        raise InputError(
            "either --engine, with --set, or --campaign",
            seen="both" if campaign else "neither",
            hint="--campaign FILE takes engine and settings from a campaign file",
        )
    if campaign is None:
        return engine_of(str(name), settings_of(settings), "--set"), ()
    spec = load_campaign(campaign)
    return spec.engine(), spec.system.elements


def _frames(place: Path, keys: list[str], magmoms: dict[str, float] | None) -> list[Frame]:
    """The frames of a file, or one of them; of those that carry a label, the frame it was made for."""
    from magflow.cli.inputs import tell
    from magflow.io.configuration import indexed, numbered, with_moments
    from magflow.io.findings import Findings
    from magflow.io.gather import gather
    from magflow.io.quantities import parse_keys
    from magflow.io.sources import Wish, iter_labels

    findings = Findings()
    path, index = indexed(place)
    wish = Wish(parse_keys(keys))
    if index is None:
        records = gather([path], wish, findings)
    else:
        records = [numbered(list(iter_labels(path, wish, findings)), index, str(path), findings)]
    tell(findings, extras=False)
    frames = [record.frame for record in records]
    return frames if magmoms is None else [with_moments(frame, magmoms, str(place)) for frame in frames]


def _show(found: Labelled, said: str | None) -> None:
    for kind, messages in found.failures.items():
        typer.echo(f"failed: {len(messages)} {kind}; {messages[0]}", err=True)
    typer.echo(
        f"{said or 'no frame has a label'}; {found.computed} computed now, {found.core_hours:.3g} core-hours in all"
    )
