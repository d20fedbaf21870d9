"""``magflow validate``: what potentials are good for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from magflow.cli.options import Json, Magmoms, MaxMoment, Resume, out_option
from magflow.studies.validate.choices import Against, Treatment

if TYPE_CHECKING:
    from magflow.studies.validate.result import Validation

FAILED = 1
"""Exit code when a property has no answer on a potential, or nothing could be measured."""


def validate(
    models: Annotated[
        list[str],
        typer.Argument(metavar="DIR|MODELS...", help="Campaigns or ensembles; LABEL=PATH gives one a label."),
    ],
    structures: Annotated[
        list[str] | None,
        typer.Option(
            "--structure", "-s", metavar="NAME=FILE", help="A crystal, with moments; default: the campaign's own."
        ),
    ] = None,
    properties: Annotated[
        str, typer.Option("--properties", help="Names with commas; default: all but those on request.")
    ] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Settings that answer within minutes.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PROPERTY.KEY=VALUE", help="A setting of a property; may be repeated."),
    ] = None,
    moments: Annotated[
        Treatment, typer.Option("--moments", help="At rest in every configuration, in the first, or as given.")
    ] = Treatment.RELAXED,
    magmoms: Magmoms = None,
    max_moment: MaxMoment = None,
    references: Annotated[
        list[Path] | None,
        typer.Option(
            "--references",
            metavar="FILE.yaml|NAME",
            help="Values with sources to be held against; names: iron, feal_own_dft.",
        ),
    ] = None,
    against: Annotated[
        Against,
        typer.Option("--against", help="dft: the campaign's engine computes the configurations, too."),
    ] = Against.REFERENCES,
    campaign: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Campaign file whose engine does, for potentials without one.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", "-w", min=1, help="Labels at the same time.")] = 1,
    output: Annotated[
        Path | None, out_option("DIR", "Default: validation/ in the campaign, or MODELS_validation.")
    ] = None,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Measure what a potential says of materials, and hold it against references.

    Equation of state, energy against moment, elastic constants, phonons, defects, thermal properties, liquids, melting,
    stability: each property of each structure is one piece of work, kept when it is finished. Every value comes with
    its unit, its statistical error, the spread over the members of the ensemble, and the share of the configurations
    that lie outside the training domain. Several potentials are set side by side. The output directory gets
    `validation.html`, `values.csv` and `results.json`; `magflow report` shows what lies in a campaign's directory.
    Ctrl-C and `kill -9` lose little: the same command with `--resume` goes on. Exit code 1: a property has no answer,
    or nothing could be measured.

    Examples:

        magflow validate runs/feal --quick

        magflow validate potential -s bcc-Fe=POSCAR --properties equation-of-state,phonons --references fe.yaml

        magflow validate DP-NM=nm DP-M=m -s bcc-Fe=fe.extxyz --properties thermal,viscosity -o dichotomy
    """
    from magflow.api import validation as api
    from magflow.cli.inputs import magmoms_of, moments_of
    from magflow.cli.printing import interruptible, print_json
    from magflow.cli.progress import progress_bar
    from magflow.studies.validate.files import FILES

    named = _named(models, "MODELS")
    where = output or _default_output(next(iter(named.values())))
    kept = interruptible(f"the same command with --resume goes on with {where}")
    with kept, progress_bar() as progress:
        found = api.validate(
            named,
            where,
            structures=None if structures is None else _named(structures, "--structure"),
            properties=properties.replace(",", " ").split(),
            settings=_settings(settings or []),
            quick=quick,
            moments=moments,
            magmoms=magmoms_of(magmoms),
            max_moment=moments_of(max_moment or (), "--max-moment"),
            references=references or (),
            against=against,
            campaign=campaign,
            workers=workers,
            resume=resume,
            progress=progress,
        )
    if as_json:
        print_json({"files": {name: str(where / name) for name in FILES}, **found.as_dict()})
    else:
        _show(found, where)
    if found.failures or not found.found:
        raise typer.Exit(FAILED)


def _named(texts: list[str], where: str) -> dict[str, str]:
    """Label to path; a path without a label is called as its last part."""
    from magflow.errors import InputError

    named: dict[str, str] = {}
    for text in texts:
        label, sign, path = text.partition("=")
        if not sign or "/" in label:
            label, path = Path(text).resolve().name if Path(text).is_dir() else Path(text).stem, text
        if label in named:
            raise InputError("two of one name", where=where, seen=label, hint="write LABEL=PATH to tell them apart")
        named[label] = path
    return named


def _settings(assignments: list[str]) -> dict[str, dict[str, Any]]:
    from magflow.cli.inputs import settings_of
    from magflow.errors import InputError

    given = settings_of(assignments)
    for name, value in given.items():
        if not isinstance(value, dict):
            raise InputError("a setting of no property", where="--set", seen=name, expected="PROPERTY.KEY=VALUE")
    return given


def _default_output(first: str) -> Path:
    from magflow.campaign.directory import IDENTITY
    from magflow.studies.validate.result import DIRECTORY

    path = Path(first)
    return path / DIRECTORY if (path / IDENTITY).is_file() else path.with_name(f"{path.resolve().name}_{DIRECTORY}")


def _show(found: Validation, where: Path) -> None:
    from magflow.cli.printing import print_section
    from magflow.studies.validate.files import PAGE
    from magflow.studies.validate.section import section

    print_section(section(found))
    typer.echo(f"\nwrote {where / PAGE}")
