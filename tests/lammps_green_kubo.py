"""Liquid iron in LAMMPS, whose own `fix ave/correlate` correlates the stresses that are handed out of the same run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lammps_potential import BAR, EPSILON, SIGMA, lennard_jones_argon, mendelev_iron, open_lammps

COMPONENTS = {"a": "pxy", "b": "pxz", "c": "pyz", "d": "(pxx-pyy)/2", "e": "(pxx+pyy-2*pzz)/sqrt(12)"}
"""The five of the traceless stress, as variables of LAMMPS."""
BOLTZMANN, PASCAL, ANGSTROM, PICOSECOND = 1.380649e-23, 1e5, 1e-10, 1e-12
"""SI; the pressure of metal units is in bar."""


@dataclass(frozen=True, eq=False)
class LammpsRun:
    """A run at constant energy and what LAMMPS says of it.

    Parameters
    ----------
    stress
        (n, 6) Voigt xx yy zz yz xz xy, eV/A^3.
    interval
        From one stress to the next, ps.
    volume, temperature
        A^3, and the mean in K.
    origins
        (m,) products behind each lag.
    correlations
        (m, 5) of the components, bar^2.
    """

    stress: np.ndarray
    interval: float
    volume: float
    temperature: float
    origins: np.ndarray
    correlations: np.ndarray

    @property
    def running_integral(self) -> np.ndarray:
        """(m,) mPa s: V/(k T) times the integral of the mean correlation, as the manual of LAMMPS has it, in SI."""
        mean = self.correlations.mean(axis=1) * PASCAL**2
        area = np.concatenate([[0.0], np.cumsum(0.5 * (mean[1:] + mean[:-1]))]) * self.interval * PICOSECOND
        return 1e3 * self.volume * ANGSTROM**3 / (BOLTZMANN * self.temperature) * area


def hot_iron(cells: int, edge: float, kelvin: float, *, heated: int, cooled: int) -> Any:
    """A LAMMPS with bcc cells of Mendelev's iron of `edge` A: some steps of 2 fs at 4000 K, then some at `kelvin`."""
    lmp = open_lammps()
    lmp.commands_list(
        ["units metal", f"lattice bcc {edge}", f"region r block 0 {cells} 0 {cells} 0 {cells}", "create_box 1 r",
         "create_atoms 1 box", "mass 1 55.845", *mendelev_iron().pair, "velocity all create 8000 4711",
         "timestep 0.002", "neighbor 1.0 bin", "fix move all nve",
         "fix bath all langevin 4000 4000 0.1 4711 zero yes", f"run {heated}", "unfix bath",
         f"fix bath all langevin {kelvin} {kelvin} 0.1 4711 zero yes", f"run {cooled}", "unfix bath"]
    )  # fmt: skip
    return lmp


def liquid_argon(cells: int, density: float, kelvin: float) -> Any:
    """A LAMMPS with fcc cells of Lennard-Jones argon of a reduced density, molten and brought to `kelvin`."""
    edge = SIGMA * float(np.cbrt(4.0 / density))
    hot = 4.0 * EPSILON / 8.617333e-5
    lmp = open_lammps()
    lmp.commands_list(
        ["units metal", f"lattice fcc {edge}", f"region r block 0 {cells} 0 {cells} 0 {cells}", "create_box 1 r",
         "create_atoms 1 box", "mass 1 39.948", *lennard_jones_argon().pair, f"velocity all create {hot} 4711",
         "timestep 0.008", "neighbor 1.0 bin", "fix move all nve",
         f"fix bath all langevin {hot} {hot} 1.0 4711 zero yes", "run 2000", "unfix bath",
         f"fix bath all langevin {kelvin} {kelvin} 1.0 4711 zero yes", "run 5000", "unfix bath"]
    )  # fmt: skip
    return lmp


def correlated(lmp: Any, samples: int, every: int, lags: int) -> LammpsRun:
    """Run on at constant energy and correlate a stress at every `every` steps."""
    names = " ".join(f"v_{name}" for name in COMPONENTS)
    steps = (samples - 1) * every
    lmp.commands_list(
        [*(f"variable {name} equal {what}" for name, what in COMPONENTS.items()), "reset_timestep 0",
         f"fix kept all vector {every} c_thermo_press[1] c_thermo_press[2] c_thermo_press[3] c_thermo_press[6] "
         "c_thermo_press[5] c_thermo_press[4] c_thermo_temp",
         f"fix correlated all ave/correlate {every} {lags} {steps} {names} type auto ave running", f"run {steps}"]
    )  # fmt: skip
    kept = np.array([[lmp.extract_fix("kept", 0, 2, i, j) for j in range(7)] for i in range(samples)])
    table = np.array([[lmp.extract_fix("correlated", 0, 2, i, j) for j in range(7)] for i in range(lags)])
    interval = every * lmp.extract_global("dt")
    return LammpsRun(
        -BAR * kept[:, :6], interval, lmp.get_thermo("vol"), float(kept[:, 6].mean()), table[:, 1], table[:, 2:]
    )
