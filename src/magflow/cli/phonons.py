"""``magflow phonons``: force constants, bands and thermodynamic functions of one crystal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magflow.cli.options import Json, Magmoms, MaxMoment, Models, Structure, out_option
from magflow.properties.modes import Mode

FAILED = 1
"""Exit code when there is no answer."""


def phonons(
    models: Models,
    structure: Structure,
    output: Annotated[Path, out_option("DIR", "Directory of the files.")],
    mode: Annotated[
        Mode | None,
        typer.Option("--mode", help="What moments do meanwhile; default: relaxed, where there are any."),
    ] = None,
    repeat: Annotated[
        tuple[int, int, int] | None,
        typer.Option("--repeat", metavar="A B C", help="Repeats of the cell; default: two cutoffs wide."),
    ] = None,
    distance: Annotated[float, typer.Option("--distance", help="Displacement of the one atom, A.")] = 0.01,
    mesh: Annotated[float, typer.Option("--mesh", help="Density of q-points as phonopy counts it, A.")] = 100.0,
    temperatures: Annotated[
        list[float] | None, typer.Option("--temperature", "-T", metavar="K", help="May be repeated; default: 300.")
    ] = None,
    quasi_harmonic: Annotated[
        bool, typer.Option("--quasi-harmonic", help="Phonons at several volumes: thermal expansion, too.")
    ] = False,
    born: Annotated[
        Path | None,
        typer.Option("--born", metavar="BORN", help="Of an insulator: phonopy's file of its Born charges."),
    ] = None,
    magmoms: Magmoms = None,
    max_moment: MaxMoment = None,
    as_json: Json = False,
) -> None:
    """Write the phonons of a crystal on a potential: for phonopy, as tables and as a picture of the bands.

    The crystal comes to rest on the potential first: moments, atoms and cell. The directory gets
    `phonopy_params.yaml` and `FORCE_CONSTANTS`, which `phonopy-load` and other programs read; `bands.svg`,
    `phonons.html`, tables as CSV, and `results.json`. What the moments do while an atom is displaced is said in each
    of them; `--mode adiabatic` tells their stiffness and their coupling to the atoms. Imaginary modes are told with
    their q. Where one has Born charges and dielectric constant of an insulator (`--born`, phonopy's file BORN), its
    long waves are split by them. Exit code 1: there is no answer.

    Examples:

        magflow phonons potential fe.extxyz -o phonons

        magflow phonons runs/feal b2.extxyz --mode adiabatic --repeat 4 4 4 -T 300 -T 600 --quasi-harmonic -o phonons
    """
    from magflow.api import vibrations as api
    from magflow.cli.inputs import magmoms_of, moments_of
    from magflow.cli.printing import print_json, print_section
    from magflow.cli.progress import progress_bar
    from magflow.studies.vibrations.section import section

    with progress_bar() as progress:
        found = api.phonons(
            models,
            structure,
            output,
            mode=mode,
            repeat=repeat,
            displacement=distance,
            mesh=mesh,
            temperatures=temperatures or (300.0,),
            quasi_harmonic=quasi_harmonic,
            magmoms=magmoms_of(magmoms),
            max_moment=moments_of(max_moment or (), "--max-moment"),
            born=born,
            progress=progress,
        )
    if as_json:
        print_json({"output": str(output), **found.as_dict()})
    else:
        print_section(section(found))
        typer.echo(f"\nwrote {output}")
    if found.failures:
        raise typer.Exit(FAILED)
