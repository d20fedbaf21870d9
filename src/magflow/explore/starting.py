"""How a run of molecular dynamics starts: units, pistons, velocities, and limits that no sound run meets."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
from magflow.core.statistics import CellMotion, Statistics
from magflow.core.units import KB
from magflow.explore.geometry import nearest_distance

ENERGY_WINDOW = 3.0
"""eV/atom; no crystal or melt moves further, the potential has a hole."""
HEAT_FACTOR = 15.0
"""Multiple of the temperature that ends a run; counted from 300 K for colder ones."""
DISTANCE_SHARE = 0.6
"""Of the first shortest distance, below which atoms are on top of each other."""


@dataclass(frozen=True)
class Conditions:
    """What a run is held at, in the units people use.

    Parameters
    ----------
    statistics
        What is sampled.
    temperature
        K; of the velocities at the start, and of the baths where there are some.
    pressure
        GPa, held where the cell moves.
    cell
        What of the cell moves, where it does.
    timestep
        fs.
    friction
        Of the Langevin baths, 1/ps.
    barostat_time
        Time the cell takes to follow, fs.
    """

    statistics: Statistics
    temperature: float
    pressure: float = 0.0
    cell: CellMotion = CellMotion.VOLUME
    timestep: float = 2.0
    friction: float = 10.0
    barostat_time: float = 500.0

    @property
    def pistons(self) -> Pistons:
        """What of the cell moves."""
        if self.statistics is not Statistics.NPT:
            return Pistons.NONE
        return {CellMotion.VOLUME: Pistons.VOLUME, CellMotion.LENGTHS: Pistons.LENGTHS}[self.cell]

    def integration(self, frame: Frame, seed: int) -> Integration:
        """In the units of the propagators."""
        pistons, period = self.pistons, in_ase_time(self.barostat_time)
        return Integration(
            timestep=in_ase_time(self.timestep),
            friction=0.0 if self.statistics is Statistics.NVE else self.friction / in_ase_time(1000.0),
            temperature=self.temperature,
            pressure=pressure_from_gpa(self.pressure),
            pistons=pistons,
            piston_mass=piston_mass(frame, self.temperature, period, pistons) if pistons else 0.0,
            key=int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]),
        )


def started(frame: Frame, energy: float, conditions: Conditions, seed: int, max_deviation: float = math.inf) -> Motion:
    """A run of `frame` before its first step, with velocities of its temperature, at rest as a whole.

    Parameters
    ----------
    energy
        Of `frame`, eV: the limits lie about it.
    max_deviation
        Of a force that ends the run, eV/A.
    """
    window = ENERGY_WINDOW * len(frame)
    limits = Limits(
        min_distance=DISTANCE_SHARE * nearest_distance(frame),
        min_energy=energy - window,
        max_energy=energy + window,
        max_kinetic=1.5 * len(frame) * KB * HEAT_FACTOR * max(conditions.temperature, 300.0),
        max_deviation=max_deviation,
    )
    motion = Motion.start(frame, conditions.integration(frame, seed), limits)
    return motion.replace_velocities(at_rest(motion.velocities, motion.masses))
