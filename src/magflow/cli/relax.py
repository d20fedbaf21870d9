"""``magflow relax``: moments, atoms and cell relaxed together on an ensemble."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from magflow.explore.relaxation.held import Held

if TYPE_CHECKING:
    from magflow.core.protocols import Progress

UNCONVERGED = 1
"""Exit code when something is still above its tolerance."""


class Moments(StrEnum):
    """What becomes of the moments."""

    KEEP = "keep"
    RELAX = "relax"
    MULTI_START = "multi-start"


def relax(
    models: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Ensemble (`magflow export --models`) or directory of a campaign.")
    ],
    structure: Annotated[Path, typer.Argument(metavar="STRUCTURE", help="Extended XYZ, or what ASE reads.")],
    fix: Annotated[list[Held] | None, typer.Option("--fix", help="What stays as it is; may be repeated.")] = None,
    pressure: Annotated[float, typer.Option("--pressure", metavar="GPA", help="Target pressure, GPa.")] = 0.0,
    moments: Annotated[
        Moments, typer.Option("--moments", help="keep, relax from those given, or the lowest of several starts.")
    ] = Moments.RELAX,
    max_moment: Annotated[
        list[str] | None,
        typer.Option("--max-moment", metavar="EL=MUB", help="Bound of |m|, muB; default: the range of the fit."),
    ] = None,
    max_force: Annotated[float, typer.Option(help="Largest force left, eV/A.")] = 1e-3,
    max_stress: Annotated[float, typer.Option(help="Largest stress left beyond the target, GPa.")] = 0.01,
    max_magnetic_force: Annotated[float, typer.Option(help="Largest magnetic force left, eV/muB.")] = 1e-3,
    max_evaluations: Annotated[int, typer.Option(min=1, help="Predictions after which it gives up.")] = 1000,
    output: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.extxyz", help="Where the relaxed structure goes.")
    ] = None,
    trajectory: Annotated[
        Path | None, typer.Option("--trajectory", metavar="FILE.extxyz", help="Where all states on the way go.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a machine-readable summary.")] = False,
) -> None:
    """Relax moments, atoms and cell of a structure together, and say how far the result is to be trusted.

    It counts as converged only when forces, stress (minus the target pressure) and magnetic forces are all below
    their tolerances; otherwise the exit code is 1 and what is left is named. The end state is printed with the
    calibrated deviation of the ensemble and its extrapolation grade: above 2 it lies outside the training set.
    Magnetic energies have several minima: `--moments multi-start` tries the moments given, each element reversed,
    all parallel, high and low spin, and keeps the lowest.

    Examples:

        magflow relax potential POSCAR --moments multi-start -o relaxed.extxyz

        magflow relax runs/feal_quick start.extxyz --fix shape --pressure 10 --trajectory path.extxyz
    """
    import json

    from magflow.cli.inputs import open_ensemble
    from magflow.cli.relaxed import RelaxTask, show, write
    from magflow.explore.relaxation.settings import RelaxSettings
    from magflow.io.configuration import read_configuration

    held = frozenset(fix or ()) | ({Held.MOMENTS} if moments is Moments.KEEP else frozenset())
    settings = RelaxSettings(
        held=held,
        pressure_gpa=pressure,
        forces_tolerance=max_force,
        magnetic_forces_tolerance=max_magnetic_force,
        stress_tolerance_gpa=max_stress,
        max_evaluations=max_evaluations,
    )
    task = RelaxTask.prepared(
        open_ensemble(models),
        read_configuration(structure),
        settings,
        bounds=max_moment or (),
        multi_start=moments is Moments.MULTI_START,
        where=str(structure),
    )
    with _bar() as progress:
        outcome = task.run(progress)
    write(outcome, output, trajectory)
    if as_json:
        typer.echo(json.dumps(outcome.as_dict() | {"output": output and str(output)}))
    else:
        show(outcome, output)
    if not outcome.relaxation.converged:
        raise typer.Exit(UNCONVERGED)


@contextmanager
def _bar() -> Iterator[Progress | None]:
    """A progress bar on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("relaxing", total=1.0)
        yield lambda fraction, text: bar.update(task, completed=fraction, description=text)
