"""``magflow import``: labels that exist, of any program, taken in as one set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from magflow.cli.options import EnDerSign, Json, Keys, TypeElements, VirialSign, out_option

if TYPE_CHECKING:
    from magflow.io.importing.survey import Survey


def import_(
    source: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="Files and folders with labels, of any format that is read."),
    ],
    output: Annotated[
        Path | None, out_option("LABELS|DIR", "What its name says: .extxyz, .cfg, a folder. Without: look only.")
    ] = None,
    elements: TypeElements = None,
    en_der_sign: EnDerSign = None,
    virial_sign: VirialSign = None,
    keys: Keys = None,
    level: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Level of theory of labels whose files name none: pbe-520. One for all."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Take in labels that exist: read files and folders of any program, say what is in them, write them as one set.

    Formats are told by their content. Shown are frames, elements, moments, levels of theory, whatever was read under
    another name, guessed, not used or left out, and what looks suspicious: overlapping atoms, energies far from all
    others or in two bands, several levels of theory, forces or stresses in another unit or of another sign than the
    energies. Nothing is mended. A label that stands there twice is written once; two that disagree are both written.

    Examples:

        magflow import OUTCAR run2/vasprun.xml -o labels.extxyz

        magflow import train.xyz --keys energy=REF_energy,stress=stress_kB@-kB --level pbe-520 -o labels.extxyz
    """
    from magflow.cli.inputs import tell
    from magflow.cli.printing import print_json
    from magflow.cli.progress import progress_bar
    from magflow.io.export import Target, form_of, heeded, losses, write_records
    from magflow.io.importing.survey import survey
    from magflow.io.quantities import parse_keys
    from magflow.io.sources import Wish, check_heeded, source_of

    names = tuple(elements.replace(",", " ").split()) if elements else None
    target = None if output is None else Target(output, form_of(output), names, en_der_sign)
    wish = Wish(parse_keys(keys or []), virial_sign, names, en_der_sign, level=level)
    check_heeded(wish, [source_of(path) for path in source], () if target is None else heeded(target.form))
    with progress_bar() as progress:
        found = survey(source, wish, told=lambda count: progress(0.0, f"{count} frames read"))
    if as_json:
        lost = None if target is None else losses(found.records, target.form).as_dict()["notes"]
        written = None if target is None else write_records(target, found.records)
        print_json({**found.as_dict(), "lost": lost, "written": written})
        return
    _show(found)
    tell(found.findings)
    for suspicion in found.suspicions:
        typer.echo(f"suspicious: {suspicion.what} ({suspicion.count} labels)", err=True)
    if target is not None:
        tell(losses(found.records, target.form))
        typer.echo(write_records(target, found.records))


def _show(found: Survey) -> None:
    from magflow.cli.printing import print_table
    from magflow.presentation.tables import Table

    rows = [(str(p.path), p.title, p.frames, p.labels) for p in found.parts]
    print_table(Table(("source", "format", "frames", "labels"), rows, frozenset({2, 3})), "What was read")
    facts = [
        ("labels", f"{len(found.records)} of {found.formulas} compositions"),
        ("elements", ", ".join(f"{element} in {n}" for element, n in found.elements.items())),
        ("quantities", ", ".join(f"{name} {n}" for name, n in found.findings.quantities.items())),
        ("moments", ", ".join(f"{name}: {n}" for name, n in found.moments.items())),
        *(("level of theory", f"{_named(level)}: {n}") for level, n in found.levels),
    ]
    if found.magnetic_states is not None:
        facts.append(("energies", found.magnetic_states.meaning))
    print_table(Table(("", ""), facts), "What it is")


def _named(level: object) -> str:
    return " ".join(filter(None, (getattr(level, name) for name in ("code", "version", "functional", "kind"))))
