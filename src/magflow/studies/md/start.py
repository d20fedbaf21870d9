"""How a run starts: what cannot be is refused, and the limits are set that no sound run meets."""

from __future__ import annotations

import math

import numpy as np

from magflow.core.dynamics import (
    Integration,
    Limits,
    Motion,
    Pistons,
    at_rest,
    in_ase_time,
    piston_mass,
    pressure_from_gpa,
)
from magflow.core.frame import Frame
from magflow.core.units import KB
from magflow.errors import InputError
from magflow.explore.geometry import nearest_distance
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.studies.md.options import CellMotion, MdOptions, Statistics

ENERGY_WINDOW = 3.0
"""eV/atom; no crystal or melt moves further, the potential has a hole."""
HEAT_FACTOR = 15.0
"""Multiple of the temperature that ends a run; counted from 300 K for colder ones."""
DISTANCE_SHARE = 0.6
"""Of the first shortest distance, below which atoms are on top of each other."""


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
    statistics = options.statistics
    pistons = Pistons.NONE
    if statistics is Statistics.NPT:
        pistons = {CellMotion.VOLUME: Pistons.VOLUME, CellMotion.LENGTHS: Pistons.LENGTHS}[options.cell]
    mean = ensemble.predict([frame]).mean
    energy, window = float(mean.energy[0]), ENERGY_WINDOW * len(frame)
    limits = Limits(
        min_distance=DISTANCE_SHARE * nearest_distance(frame),
        min_energy=energy - window,
        max_energy=energy + window,
        max_kinetic=1.5 * len(frame) * KB * HEAT_FACTOR * max(options.temperature, 300.0),
        max_deviation=math.inf if options.deviation_stop is None else options.deviation_stop,
    )
    motion = Motion.start(
        frame,
        Integration(
            timestep=in_ase_time(options.timestep),
            friction=0.0 if statistics is Statistics.NVE else options.friction / in_ase_time(1000.0),
            temperature=options.temperature,
            pressure=pressure_from_gpa(options.pressure),
            pistons=pistons,
            piston_mass=piston_mass(frame, options.temperature, in_ase_time(options.barostat_time), pistons)
            if pistons
            else 0.0,
            key=int(np.random.SeedSequence(options.seed).generate_state(1, np.uint64)[0]),
        ),
        limits,
    )
    return motion.replace_velocities(at_rest(motion.velocities, motion.masses))
