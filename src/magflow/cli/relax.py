"""``magflow relax``: moments, atoms and cell relaxed together on an ensemble."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magflow.cli.options import Json, Magmoms, MaxMoment, Models, Structure, out_option
from magflow.explore.relaxation.held import Held
from magflow.studies.relax.treatment import Moments

UNCONVERGED = 1
"""Exit code when something is still above its tolerance."""


def relax(
    models: Models,
    structure: Structure,
    fix: Annotated[list[Held] | None, typer.Option("--fix", help="What stays as it is; may be repeated.")] = None,
    pressure: Annotated[float, typer.Option("--pressure", metavar="GPA", help="Target pressure, GPa.")] = 0.0,
    moments: Annotated[
        Moments, typer.Option("--moments", help="keep, relax from those given, or the lowest of several starts.")
    ] = Moments.RELAX,
    magmoms: Magmoms = None,
    max_moment: MaxMoment = None,
    max_force: Annotated[float, typer.Option(help="Largest force left, eV/A.")] = 1e-3,
    max_stress: Annotated[float, typer.Option(help="Largest stress left beyond the target, GPa.")] = 0.01,
    max_magnetic_force: Annotated[float, typer.Option(help="Largest magnetic force left, eV/muB.")] = 1e-3,
    max_evaluations: Annotated[int, typer.Option(min=1, help="Predictions after which it gives up.")] = 1000,
    output: Annotated[Path | None, out_option("FILE.extxyz", "Where the relaxed structure goes.")] = None,
    trajectory: Annotated[
        Path | None, typer.Option("--trajectory", metavar="FILE.extxyz", help="Where all states on the way go.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Relax moments, atoms and cell of a structure together, and say how far the result is to be trusted.

    It counts as converged only when forces, stress (minus the target pressure) and magnetic forces are all below
    their tolerances; otherwise the exit code is 1 and what is left is named. The end state is printed with the
    calibrated deviation of the ensemble and its extrapolation grade: above 2, or with a deviation of a force above
    0.3 eV/A, it lies outside the training set.
    Magnetic energies have several minima: `--moments multi-start` tries the moments given, each element reversed,
    all parallel, high and low spin, and keeps the lowest.

    Examples:

        magflow relax potential POSCAR --magmoms Fe=2.2,Al=0 -o relaxed.extxyz

        magflow relax potential POSCAR --moments multi-start -o lowest.extxyz

        magflow relax runs/feal_quick start.extxyz --fix shape --pressure 10 --trajectory path.extxyz
    """
    from magflow.api import simulation
    from magflow.cli.inputs import magmoms_of, moments_of, require_extxyz
    from magflow.cli.printing import print_json, print_section
    from magflow.cli.progress import progress_bar
    from magflow.studies.relax.section import section

    require_extxyz(output)
    require_extxyz(trajectory)
    with progress_bar() as progress:
        result = simulation.relax(
            models,
            structure,
            fix=fix or (),
            pressure=pressure,
            moments=moments,
            magmoms=magmoms_of(magmoms),
            max_moment=moments_of(max_moment or (), "--max-moment"),
            max_force=max_force,
            max_stress=max_stress,
            max_magnetic_force=max_magnetic_force,
            max_evaluations=max_evaluations,
            progress=progress,
        )
    if output is not None:
        result.write_structure(output)
    if trajectory is not None:
        result.write_trajectory(trajectory)
    if as_json:
        print_json(result.as_dict() | {"output": output and str(output)})
    else:
        print_section(section(result))
        if output is not None:
            typer.echo(f"wrote {output}")
    if not result.converged:
        raise typer.Exit(UNCONVERGED)
