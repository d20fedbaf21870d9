"""Arguments and options that several commands share; each is spelt once. Defaults are the commands' own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def out_option(metavar: str, text: str) -> Any:
    """``--out/-o``: the one place a command writes to; what goes there is the command's to say."""
    return typer.Option("--out", "-o", metavar=metavar, help=text)


Campaign = Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the campaign.")]

CampaignPlace = Annotated[
    Path | None, typer.Option("--dir", "-d", help="Where the campaign lives. Default: runs/NAME, after the file.")
]

Models = Annotated[
    Path, typer.Argument(metavar="MODELS", help="Ensemble (`magflow export --models`) or directory of a campaign.")
]

Structure = Annotated[
    Path, typer.Argument(metavar="STRUCTURE", help="POSCAR, CIF, extended XYZ, or what ASE reads; FILE@0: its first.")
]

TestLabels = Annotated[
    Path | None, typer.Option("--test", metavar="FILE.extxyz", help="Labelled frames to test on; none is learnt from.")
]


def _families() -> list[str]:
    from magflow.core import plugins

    return plugins.names(plugins.POTENTIAL_FAMILIES)


def engines() -> list[str]:
    """Names of label engines, for a shell to complete."""
    from magflow.core import plugins

    return plugins.names(plugins.LABEL_ENGINES)


def _settings_of_family(context: typer.Context) -> list[str]:
    """``KEY=`` of each setting of the family that stands before on the command line."""
    from magflow.core import plugins

    family = plugins.load(plugins.POTENTIAL_FAMILIES, context.params.get("family") or "mmtp")
    return [f"{name}=" for name in family.model_fields]


Family = Annotated[
    str,
    typer.Option("--family", help="Family of potentials: mmtp, or one a plug-in registered.", autocompletion=_families),
]

FamilySettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting of the family; may be repeated.",
        autocompletion=_settings_of_family,
    ),
]

Magmoms = Annotated[
    list[str] | None,
    typer.Option(
        "--magmoms", metavar="EL=MUB", help="Moments of the atoms, muB, each element; default: those of the file."
    ),
]

MaxMoment = Annotated[
    list[str] | None,
    typer.Option("--max-moment", metavar="EL=MUB", help="Bound of |m|, muB; default: the range of the fit."),
]

VirialSign = Annotated[
    int | None,
    typer.Option(
        "--virial-sign",
        metavar="-1|1",
        help="What virial= of an extended XYZ means: -1: -stress x volume (GAP, DeePMD, MACE); 1: +stress x volume.",
    ),
]

Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--keys",
        metavar="QUANTITY=NAME,...",
        help="Names that stand for quantities: energy=REF_energy,stress=stress_kB@-kB (unit and sign), virial=none.",
    ),
]

TypeElements = Annotated[
    str | None,
    typer.Option("--elements", help="Elements of types 0, 1, .., with commas, where input or output numbers them."),
]

EnDerSign = Annotated[
    int | None,
    typer.Option(
        "--en-der-sign",
        help="What en_der_m* of a .cfg means: 1: dE/dm (MLIP-3); -1: -dE/dm (the published Fe-Al set).",
    ),
]

Mixed = Annotated[bool, typer.Option("--mixed", help="Accept labels of several levels of theory.")]

Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same result.")]

Jobs = Annotated[int, typer.Option("--jobs", min=0, help="Members fitted side by side; 0: as many as there are cores.")]

Resume = Annotated[bool, typer.Option("--resume", help="Go on with what is there; what is finished is kept.")]

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
