"""``magflow md``: molecular dynamics on the mean of an ensemble, until it no longer knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magflow.cli.options import Json, MaxMoment, Models, Resume, Seed, Structure, out_option
from magflow.core.statistics import CellMotion, Statistics
from magflow.studies.md.options import DEVIATION_STOP

BLOWN_UP = 1
"""Exit code when a health check ended the run."""


def md(
    models: Models,
    structure: Structure,
    out: Annotated[Path, out_option("DIR", "Where trajectory and log go.")],
    statistics: Annotated[
        Statistics, typer.Option("--ensemble", help="nve; nvt and npt: with Langevin baths.")
    ] = Statistics.NVT,
    temperature: Annotated[float, typer.Option(metavar="K", min=0.0, help="Of the start and of the baths, K.")] = 300.0,
    pressure: Annotated[float, typer.Option(metavar="GPA", help="Held by npt, GPa.")] = 0.0,
    cell: Annotated[CellMotion, typer.Option(help="What of the cell npt moves.")] = CellMotion.VOLUME,
    steps: Annotated[int, typer.Option(min=1, help="Steps from the start.")] = 10_000,
    timestep: Annotated[float, typer.Option(metavar="FS", min=1e-3, max=20.0, help="fs.")] = 2.0,
    friction: Annotated[float, typer.Option(metavar="1/PS", min=1e-6, help="Of the baths, 1/ps.")] = 10.0,
    barostat_time: Annotated[float, typer.Option(metavar="FS", min=1.0, help="Time the cell takes, fs.")] = 500.0,
    repeat: Annotated[tuple[int, int, int], typer.Option(metavar="A B C", help="Repeats of the cell.")] = (1, 1, 1),
    relax_moments_every: Annotated[
        int | None,
        typer.Option(metavar="STEPS", min=1, help="Steps between relaxations of the moments; default: fixed."),
    ] = None,
    magmoms: Annotated[
        list[str] | None,
        typer.Option(
            "--magmoms",
            "--moments",
            metavar="EL=MUB",
            help="Moments the atoms begin with, muB, each element; default: those of the file.",
        ),
    ] = None,
    max_moment: MaxMoment = None,
    interval: Annotated[int, typer.Option(metavar="STEPS", min=1, help="Steps between what is written.")] = 100,
    grade_stop: Annotated[float, typer.Option(min=0.0, help="Extrapolation grade that ends the run.")] = 10.0,
    deviation_stop: Annotated[
        float, typer.Option(metavar="EV/A", min=0.0, help="Calibrated deviation of a force that ends it; inf: none.")
    ] = DEVIATION_STOP,
    seed: Seed = 0,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Move the atoms of a structure on the mean of an ensemble, and stop when the ensemble no longer knows.

    The run ends after its steps, when the extrapolation grade exceeds `--grade-stop`, when the calibrated deviation of
    a force exceeds `--deviation-stop` (both exit code 0: the last frame is one to label), or when a health check fails
    (atoms on top of each other, energy or temperature out of all bounds: exit code 1). DIR gets `trajectory.extxyz`
    (positions, momenta, moments, forces, energies), `thermo.csv`, `thermo.svg` and the state `--resume` goes on from; a
    run that was killed makes the very steps it would have made. `--resume --steps` beyond the end makes a run longer.

    Examples:

        magflow md potential start.extxyz --temperature 600 --repeat 4 4 4 -o run600

        magflow md potential POSCAR --magmoms Fe=2.2,Al=0 -o first

        magflow md potential start.extxyz@-1 --ensemble npt --pressure 10 --relax-moments-every 50 -o squeezed
    """
    from magflow.api import simulation
    from magflow.cli.inputs import magmoms_of, moments_of
    from magflow.cli.printing import interruptible, print_json, print_section
    from magflow.cli.progress import progress_bar
    from magflow.presentation.files import write_texts
    from magflow.presentation.style import standalone
    from magflow.studies.md.directory import FIGURE, LOG, TRAJECTORY
    from magflow.studies.md.section import section

    kept = interruptible(f"the same command with --resume goes on with {out}")
    with kept, progress_bar() as progress:
        result = simulation.md(
            models, structure, out, ensemble=statistics, temperature=temperature, pressure=pressure, cell=cell,
            steps=steps, timestep=timestep, friction=friction, barostat_time=barostat_time, repeat=repeat,
            relax_moments_every=relax_moments_every, max_moment=moments_of(max_moment or (), "--max-moment"),
            moments=magmoms_of(magmoms),
            interval=interval, grade_stop=grade_stop, deviation_stop=deviation_stop, seed=seed, resume=resume,
            progress=progress,
        )  # fmt: skip
    shown = section(result)
    (course,) = shown.plots
    write_texts(out, {FIGURE: standalone(str(course.svg))})
    if as_json:
        print_json(result.as_dict())
    else:
        print_section(shown)
        for name in (TRAJECTORY, LOG, FIGURE):
            typer.echo(out / name)
    if result.broken:
        raise typer.Exit(BLOWN_UP)
