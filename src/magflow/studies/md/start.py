"""How a run starts: what cannot be is refused."""

from __future__ import annotations

import math

from magflow.core.dynamics import Motion
from magflow.core.frame import Frame
from magflow.core.statistics import CellMotion, Statistics
from magflow.errors import InputError
from magflow.explore.starting import Conditions
from magflow.explore.starting import started as started_at
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.studies.md.options import MdOptions


def check(options: MdOptions) -> None:
    """Refuse what cannot be, and what would be left unheeded.

    Raises
    ------
    InputError
        Naming the option.
    """
    if min(options.repeat) < 1:
        raise InputError("--repeat needs three positive numbers", seen=options.repeat)
    if options.max_moment and options.relax_moments_every is None:
        raise InputError("the moments are fixed", where="--max-moment", hint="--relax-moments-every lets them follow")
    if options.statistics is Statistics.NPT:
        if options.temperature <= 0.0:
            raise InputError("npt needs a temperature above 0 K", where="--temperature", seen=options.temperature)
        return
    for name, given in (("--pressure", options.pressure != 0.0), ("--cell", options.cell is not CellMotion.VOLUME)):
        if given:
            hint = "--ensemble npt lets the cell move"
            raise InputError("the cell is fixed", where=name, seen=f"--ensemble {options.statistics}", hint=hint)


def started(ensemble: PotentialEnsemble, frame: Frame, options: MdOptions) -> Motion:
    """A run of `frame` before its first step, with velocities of the temperature asked for."""
    conditions = Conditions(
        options.statistics,
        options.temperature,
        options.pressure,
        options.cell,
        options.timestep,
        options.friction,
        options.barostat_time,
    )
    energy = float(ensemble.predict([frame]).mean.energy[0])
    stop = math.inf if options.deviation_stop is None else options.deviation_stop
    return started_at(frame, energy, conditions, options.seed, stop)
