"""Molecular dynamics as plain data: how a run moves, where it ends, where it has got to, what is seen there.

Times are in ASE's unit, A sqrt(amu/eV) = 10.18 fs; velocities, momenta and frictions follow from it. Whoever propagates
a run uses the same splitting, so that all of them give the same trajectory to rounding:

    kick/2, resize/2, drift/2, heat, drift/2, resize/2, new forces, kick/2

Without baths and pistons this is velocity Verlet; with Langevin baths it is BAOAB (Leimkuhler, Matthews, Appl. Math.
Res. Express 2013, 34); with pistons it is the same for the extended Hamiltonian of Andersen, J. Chem. Phys. 72, 2384
(1980),

    H = K + E + p V + sum over the pistons of P^2 / (2 W),

whose positions and momenta are scaled by the volume V or, with three pistons, by the lengths of the cell along x, y
and z; each part moves exactly (kick: E and p V, drift: K, resize: the pistons), which makes it symplectic, reversible
and of second order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum

import numpy as np
from ase.data import atomic_masses
from ase.units import fs

from magflow.core.frame import Frame
from magflow.core.random import Purpose, normals
from magflow.core.types import FloatArray, RecordArray
from magflow.core.units import EV_PER_A3_IN_GPA, KB
from magflow.errors import InputError

RECORD = np.dtype(
    [
        ("step", float),
        ("energy", float),
        ("conserved", float),
        ("energy_deviation", float),
        ("forces_deviation", float),
        ("kinetic", float, 6),
        ("virial", float, 6),
        ("lengths", float, 3),
    ]
)
"""What is noted of a run at one step: potential and conserved energy, eV per cell; deviations in eV/atom and eV/A; the
sum of m v v over the atoms and dE/d(strain), Voigt, eV; lengths of the cell along x, y and z whose product is its
volume, A."""


class Stop(StrEnum):
    """Why a run ended by itself; the native loop counts them in this order, from 1."""

    NOT_FINITE = "not-finite"
    MIN_DISTANCE = "min-distance"
    ENERGY = "energy"
    TEMPERATURE = "temperature"
    DEVIATION = "deviation"


class Pistons(IntEnum):
    """What of the cell moves."""

    NONE = 0
    VOLUME = 1
    LENGTHS = 3
    """Along x, y and z; angles follow."""


@dataclass(frozen=True)
class Integration:
    """How one run moves.

    Parameters
    ----------
    timestep
        A sqrt(amu/eV).
    friction
        Of the Langevin baths of atoms and pistons, 1/time; 0: none.
    temperature
        Of the baths, K.
    pressure
        eV/A^3, positive in compression.
    pistons, piston_mass
        What of the cell moves, and its mass (:func:`piston_mass`).
    key
        64 bits that all random numbers of the run follow from.
    """

    timestep: float
    friction: float = 0.0
    temperature: float = 0.0
    pressure: float = 0.0
    pistons: Pistons = Pistons.NONE
    piston_mass: float = 0.0
    key: int = 0

    def __post_init__(self) -> None:
        for name in ("timestep", "friction", "temperature", "piston_mass"):
            value = getattr(self, name)
            positive = name == "timestep" or (name == "piston_mass" and self.pistons)
            if not np.isfinite(value) or value < 0.0 or (positive and value == 0.0):
                raise InputError(f"{name} is out of range", where="molecular dynamics", seen=value)
        if not np.isfinite(self.pressure):
            raise InputError("not a pressure", where="molecular dynamics", seen=self.pressure)


@dataclass(frozen=True)
class Limits:
    """Where a run ends by itself: looked at after every step.

    Parameters
    ----------
    min_distance
        Between two atoms, A.
    min_energy, max_energy
        eV per cell.
    max_kinetic
        Kinetic energy, eV per cell.
    max_deviation
        Of a force, eV/A, as :meth:`~magflow.core.prediction.EnsemblePrediction.frame_deviation` has it.
    """

    min_distance: float = 0.0
    min_energy: float = -np.inf
    max_energy: float = np.inf
    max_kinetic: float = np.inf
    max_deviation: float = np.inf


@dataclass(frozen=True, eq=False)
class Motion:
    """Where a run has got to: all that is needed to go on from there.

    Parameters
    ----------
    frame
        Atoms, cell and moments.
    velocities
        (N, 3).
    integration, limits
        How it moves and where it ends.
    piston
        (0, 1 or 3) momenta of the pistons.
    heat
        Energy received so far from the baths and from changes of the moments, eV.
    step
        Steps made.
    listed
        Positions (N, 3) and cell (3, 3), A, at which the neighbours were last listed; None: not yet. A run that goes on
        from there sums in the same order, to the last bit.
    """

    frame: Frame
    velocities: FloatArray
    integration: Integration
    limits: Limits = field(default_factory=Limits)
    piston: FloatArray = field(default_factory=lambda: np.zeros(0))
    heat: float = 0.0
    step: int = 0
    listed: tuple[FloatArray, FloatArray] | None = None

    @classmethod
    def start(cls, frame: Frame, integration: Integration, limits: Limits | None = None) -> Motion:
        """From rest of the cell, with Maxwell-Boltzmann velocities at the temperature of the integration."""
        return cls(
            frame,
            thermal_velocities(frame, integration.temperature, integration.key),
            integration,
            limits or Limits(),
            np.zeros(int(integration.pistons)),
        )

    @property
    def masses(self) -> FloatArray:
        """(N, 1) amu."""
        return masses(self.frame)

    @property
    def kinetic(self) -> float:
        """Kinetic energy of the atoms, eV."""
        return 0.5 * float((self.masses * self.velocities**2).sum())

    @property
    def degrees(self) -> int:
        """Of freedom; without a bath the total momentum is a constant."""
        n = len(self.frame)
        return 3 * n if self.integration.friction > 0.0 or n == 1 else 3 * n - 3

    @property
    def temperature(self) -> float:
        """Instantaneous, K."""
        return 2.0 * self.kinetic / (self.degrees * KB)

    def replace_velocities(self, velocities: FloatArray) -> Motion:
        """The same with other velocities (N, 3)."""
        return replace(self, velocities=velocities)


@dataclass(frozen=True, eq=False)
class Observation:
    """What a propagator knows of one run.

    Parameters
    ----------
    motion
        Where it is.
    energy
        Potential energy, eV per cell.
    forces
        (N, 3) eV/A.
    stress
        (6,) Voigt, eV/A^3, of the potential energy alone.
    energy_deviation, forces_deviation
        eV/atom and eV/A, as :meth:`~magflow.core.prediction.EnsemblePrediction.frame_deviation` has them.
    """

    motion: Motion
    energy: float
    forces: FloatArray
    stress: FloatArray
    energy_deviation: float
    forces_deviation: float

    @property
    def pressure(self) -> float:
        """Instantaneous, kinetic part included, eV/A^3."""
        return 2.0 * self.motion.kinetic / (3.0 * self.motion.frame.volume) - float(self.stress[:3].mean())

    @property
    def record(self) -> RecordArray:
        """(1,) of :data:`RECORD`."""
        m, v = self.motion, self.motion.velocities
        products = np.stack([v[:, a] * v[:, b] for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))], axis=1)
        volume = m.frame.volume
        head = (m.step, self.energy, self.conserved, self.energy_deviation, self.forces_deviation)
        row = (*head, (m.masses * products).sum(axis=0), volume * self.stress, cell_lengths(m.frame.cell))
        return np.array([row], dtype=RECORD)

    @property
    def conserved(self) -> float:
        """Energy of atoms, cell and baths together, eV: constant but for the error of the time step."""
        m = self.motion
        total = self.energy + m.kinetic - m.heat
        if m.integration.pistons:
            total += m.integration.pressure * m.frame.volume
            total += 0.5 * float((m.piston**2).sum()) / m.integration.piston_mass
        return total


def cell_lengths(cell: FloatArray) -> FloatArray:
    """(3,) A, lengths along x, y and z whose product is the volume of `cell` (3, 3)."""
    lengths = np.linalg.norm(cell, axis=0)
    widths: FloatArray = lengths * np.cbrt(abs(np.linalg.det(cell)) / lengths.prod())
    return widths


def masses(frame: Frame) -> FloatArray:
    """(N, 1) amu."""
    column: FloatArray = atomic_masses[frame.numbers][:, None]
    return column


def thermal_velocities(frame: Frame, temperature: float, key: int) -> FloatArray:
    """(N, 3) drawn from the Maxwell-Boltzmann distribution at `temperature` K."""
    return normals(key, 0, len(frame), Purpose.VELOCITY) * np.sqrt(KB * temperature / masses(frame))


def at_rest(velocities: FloatArray, weights: FloatArray) -> FloatArray:
    """(N, 3) without the motion of the centre of mass, scaled to the temperature the remaining motion should have.

    `weights` are the masses (N, 1).
    """
    n = len(velocities)
    if n == 1:
        return np.zeros_like(velocities)
    relative = velocities - (weights * velocities).sum(axis=0) / weights.sum()
    scaled: FloatArray = relative * np.sqrt(n / (n - 1.0))
    return scaled


def piston_mass(frame: Frame, temperature: float, period: float, pistons: Pistons) -> float:
    """Mass of the pistons that lets the cell follow within about `period` (A sqrt(amu/eV)).

    N k T period^2 for the logarithm of a length (Martyna, Tobias, Klein, J. Chem. Phys. 101, 4177 (1994)), converted to
    the length or the volume itself. It decides how fast the cell moves, not its averages.
    """
    of_logarithm = len(frame) * KB * temperature * period**2
    if pistons is Pistons.VOLUME:
        return of_logarithm / (3.0 * frame.volume**2)
    piston: float = of_logarithm / frame.volume ** (2.0 / 3.0)
    return piston


def in_ase_time(femtoseconds: float) -> float:
    """Femtoseconds in A sqrt(amu/eV)."""
    return femtoseconds * fs


def pressure_from_gpa(gpa: float) -> float:
    """GPa in eV/A^3."""
    return gpa / EV_PER_A3_IN_GPA
