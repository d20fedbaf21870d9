"""``magflow init``: a commented campaign file to start from."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from magflow.cli.options import Json, out_option

BUDGET = 96
"""Labels of a file that is made for a user who does not say how many there may be."""


TEMPLATES = (
    *("feal", "feal-quick", "bcc-fe", "model-hamiltonian"),
    *("fe-cr-c", "fe-cr-c-small", "transfer-feal", "transfer-model"),
)
"""Campaign files that come with magflow."""


def init(
    template: Annotated[
        str | None,
        typer.Argument(
            metavar="[TEMPLATE]",
            help=f"What to start from: {', '.join(TEMPLATES)}. Left out with --elements and --from.",
            autocompletion=lambda: list(TEMPLATES),
        ),
    ] = None,
    directory: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Where to put the file. Default: here.")
    ] = None,
    elements: Annotated[
        str | None, typer.Option("--elements", metavar="EL,...", help="Make a file for these elements instead.")
    ] = None,
    structure: Annotated[
        list[str] | None,
        typer.Option("--structure", help="fcc, bcc, hcp, b2, ...; default: as ASE lists the element. May be repeated."),
    ] = None,
    lattice_constant: Annotated[
        float | None, typer.Option("--lattice-constant", min=0.5, help="Of that structure, A; default: from ASE.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Make a file for this crystal: POSCAR, CIF, extxyz.")
    ] = None,
    labels: Annotated[int, typer.Option("--labels", min=2, help="Budget of a file that is made.")] = BUDGET,
    engine: Annotated[str, typer.Option("--engine", help="What labels, in a file that is made.")] = "abinit",
    output: Annotated[Path | None, out_option("FILE", "The file that is made. Default: its name, here.")] = None,
    as_json: Json = False,
) -> None:
    """Write a commented campaign file. Nothing is ever overwritten.

    `feal-quick`, which is taken if nothing is said, is B2 Fe-Al and bcc Fe on ABINIT in half an hour; `bcc-fe` is iron
    at a level of theory fit for use; `model-hamiltonian` needs no DFT code and takes a minute. `transfer-feal` and
    `transfer-model` are the same with a start from non-magnetic labels. `fe-cr-c` holds the phases of iron, chromium
    and carbon, `fe-cr-c-small` five small cells of them.

    With --elements or --from the file is made: lattice constants, ranges of the moments and a level of theory to begin
    with, each named in it. --labels sets its budget, and the batches by it.

    Examples:

        magflow init

        magflow init model-hamiltonian tutorial

        magflow init --elements Ni --structure fcc --labels 60

        magflow init --from POSCAR mine
    """
    from magflow.cli.printing import print_json
    from magflow.core.files import create_file

    if elements is None and source is None:
        stray = structure or lattice_constant or output
        target, text = _template(template or "feal-quick", directory or Path(), stray)
    else:
        folder = _folder(template, directory, output)
        target, text = _made(elements, source, structure or [], lattice_constant, engine, labels, folder, output)
    create_file(target, text.encode())
    if as_json:
        print_json({"file": str(target)})
        return
    typer.echo(f"wrote {target}")
    typer.echo(f"next: magflow check {target}")


def _template(template: str, directory: Path, stray: object) -> tuple[Path, str]:
    from magflow.campaign.templates import template_text
    from magflow.errors import InputError

    if stray:
        raise InputError(
            "--structure, --lattice-constant and --out go with --elements or --from",
            where="magflow init",
            seen=template,
        )
    if template not in TEMPLATES:
        near = get_close_matches(template, TEMPLATES, 1)
        raise InputError(
            "no such template",
            where="magflow init",
            seen=template,
            expected=", ".join(TEMPLATES),
            hint=f"did you mean {near[0]}?" if near else "with --elements or --from, it is the folder of the new file",
        )
    name = template.replace("-", "_")
    return directory / f"{name}.yaml", template_text(name)


def _folder(word: str | None, second: Path | None, output: Path | None) -> Path:
    """Where a file that is made goes: beside --elements or --from, the only word there is names it.

    Raises
    ------
    InputError
        If it is a template, there are two words, or --out says the same.
    """
    from magflow.errors import InputError

    if word in TEMPLATES or second is not None or (word is not None and output is not None):
        raise InputError(
            "a file begins with one thing, and goes to one place",
            where="magflow init",
            seen=" ".join(str(x) for x in (word, second) if x is not None),
            expected="a template, or --elements or --from with a folder or --out",
        )
    return Path(word or "")


def _made(
    elements: str | None,
    source: Path | None,
    structures: list[str],
    a: float | None,
    engine: str,
    labels: int,
    folder: Path,
    output: Path | None,
) -> tuple[Path, str]:
    """Path and text of a file for elements or a structure, which is valid; `output` goes before `folder`."""
    from magflow.campaign.beginnings import of_elements, of_file
    from magflow.campaign.load import parse_campaign
    from magflow.campaign.source import parse_source
    from magflow.errors import InputError

    if (elements is None) == (source is None) or (source is not None and (structures or a)):
        raise InputError(
            "a file begins with one thing",
            where="magflow init",
            expected="a template, or --elements with --structure and --lattice-constant, or --from",
        )
    if source is not None:
        beginning = of_file(source, folder if output is None else output.parent)
    else:
        beginning = of_elements([word.strip() for word in (elements or "").split(",")], structures, a)
    text = beginning.text(engine, labels)
    target = output or folder / f"{beginning.name}.yaml"
    parse_campaign(parse_source(text, str(target)), str(target))
    return target, text
