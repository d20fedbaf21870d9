"""What structures are asked for on a potential: one function each, named as the commands are."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path

from magflow.api.opening import Models, Structural, ensemble_of, named, one_of, to_frame
from magflow.core.protocols import WorkProgress, silent
from magflow.core.statistics import CellMotion, Statistics
from magflow.explore.relaxation.held import Held
from magflow.explore.relaxation.settings import RelaxSettings
from magflow.studies.md.options import DEVIATION_STOP, MdOptions
from magflow.studies.md.result import MdResult
from magflow.studies.md.task import MdTask
from magflow.studies.relax.result import RelaxResult
from magflow.studies.relax.task import RelaxTask
from magflow.studies.relax.treatment import Moments


def relax(
    models: Models,
    structure: Structural,
    *,
    fix: Collection[str] = (),
    pressure: float = 0.0,
    moments: str = "relax",
    magmoms: Mapping[str, float] | None = None,
    max_moment: Mapping[str, float] | None = None,
    max_force: float = 1e-3,
    max_stress: float = 0.01,
    max_magnetic_force: float = 1e-3,
    max_evaluations: int = 1000,
    progress: WorkProgress = silent,
) -> RelaxResult:
    """Relax moments, atoms and cell of a structure together.

    Parameters
    ----------
    models
        An ensemble, or where :func:`magflow.load` finds one.
    structure
        What :func:`magflow.to_frame` takes.
    fix
        What stays as it is: ``atoms``, ``cell``, ``shape``, ``volume``, ``moments``.
    pressure
        Target pressure, GPa.
    moments
        ``keep``, ``relax`` from those given, or ``multi-start``: the lowest of several starts.
    magmoms
        Element to the moment, muB, that its atoms begin with; None: as the structure has them.
    max_moment
        Element to the bound of |m|, muB; None: the range of the fit.
    max_force, max_stress, max_magnetic_force
        What may be left: eV/A, GPa, eV/muB.
    max_evaluations
        Predictions after which it gives up.

    Returns
    -------
    RelaxResult
        Whether it ``converged``; the relaxed ``frame``; the states ``before`` and ``after``, and how far they are to
        be trusted.

    Raises
    ------
    InputError
        Unknown element, moments missing, options that exclude each other.

    Examples
    --------
    >>> import magflow
    >>> relaxed = magflow.relax("potential", "start.extxyz", pressure=10, moments="multi-start")  # doctest: +SKIP
    >>> relaxed.converged, relaxed.frame  # doctest: +SKIP
    (True, <Frame Fe2 FM, 22.11 A^3, |m| up to 2.2 muB>)
    """
    treatment = one_of(Moments, moments, "moments")
    held = {one_of(Held, name, "fix") for name in fix} | ({Held.MOMENTS} if treatment is Moments.KEEP else set())
    settings = RelaxSettings(
        held=frozenset(held),
        pressure_gpa=pressure,
        forces_tolerance=max_force,
        magnetic_forces_tolerance=max_magnetic_force,
        stress_tolerance_gpa=max_stress,
        max_evaluations=max_evaluations,
    )
    task = RelaxTask.prepared(
        ensemble_of(models),
        to_frame(structure, magmoms),
        settings,
        max_moment=max_moment or {},
        multi_start=treatment is Moments.MULTI_START,
        where=named(structure),
    )
    return task.run(progress)


def md(
    models: Models,
    structure: Structural,
    out: str | Path,
    *,
    ensemble: str = "nvt",
    temperature: float = 300.0,
    pressure: float = 0.0,
    cell: str = "volume",
    steps: int = 10_000,
    timestep: float = 2.0,
    friction: float = 10.0,
    barostat_time: float = 500.0,
    repeat: tuple[int, int, int] = (1, 1, 1),
    moments: Mapping[str, float] | None = None,
    relax_moments_every: int | None = None,
    max_moment: Mapping[str, float] | None = None,
    interval: int = 100,
    grade_stop: float = 10.0,
    deviation_stop: float | None = DEVIATION_STOP,
    seed: int = 0,
    resume: bool = False,
    progress: WorkProgress = silent,
) -> MdResult:
    """Move the atoms of a structure, and stop when the ensemble no longer knows.

    Parameters
    ----------
    models
        An ensemble, or where :func:`magflow.load` finds one.
    structure
        What :func:`magflow.to_frame` takes.
    out
        Directory that trajectory, log and state go to.
    ensemble, temperature, pressure, cell
        ``nve``, ``nvt`` or ``npt``; K; GPa; what of the cell ``npt`` moves, ``volume`` or ``lengths``.
    steps, timestep
        Steps from the start of the run; fs.
    friction, barostat_time
        Of the baths, 1/ps; time the cell takes, fs.
    repeat
        Repeats of the cell.
    moments
        Element to the moment, muB, that its atoms begin with; None: as the structure has them.
    relax_moments_every, max_moment
        Steps between relaxations of the moments, None: they are fixed; their bounds, muB by element.
    interval
        Steps between what is written.
    grade_stop, deviation_stop
        Extrapolation grade, and calibrated deviation of a force (eV/A), that end the run; None: none does.
    resume
        Go on with the run in `out`.

    Returns
    -------
    MdResult
        The ``reason`` it ended, and the ``course``: the log by column.

    Raises
    ------
    InputError
        Unknown element, moments missing, options that exclude each other, another run in `out`.

    Examples
    --------
    >>> import magflow
    >>> run = magflow.md("potential", "start.extxyz", "run600", temperature=600, repeat=(4, 4, 4))  # doctest: +SKIP
    >>> run.reason, run.course["temperature_K"][-1]  # doctest: +SKIP
    (<HealthReason.COMPLETED: 'completed'>, 614.485)
    """
    options = MdOptions(
        one_of(Statistics, ensemble, "ensemble"), temperature, pressure, one_of(CellMotion, cell, "cell"), timestep,
        friction, barostat_time, repeat, relax_moments_every, max_moment or {}, interval, grade_stop,
        None if deviation_stop is None or math.isinf(deviation_stop) else deviation_stop, seed,
    )  # fmt: skip
    frame = to_frame(structure, moments)
    task = MdTask.prepared(ensemble_of(models), frame, steps, options, Path(out), where=named(structure), resume=resume)
    return task.run(progress)
