"""Molecular dynamics, level 12: the native loop against ASE's on the same potential, 100 steps of 1 fs from 300 K.

The potential is a default (even) one, fitted for a few seconds to the spin-lattice model Hamiltonian, so that the atoms
move as in a crystal. Every sample starts from the same state and includes what a start costs; without a bath both loops
end at the same positions, to 1e-8 A.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet

from magflow.core.dynamics import Integration, Motion, at_rest, in_ase_time
from magflow.core.frame import Frame
from magflow.dft.spin_lattice import FE_AL, SpinLatticeModel
from magflow.potentials.mmtp import MmtpFamily
from magflow.potentials.mmtp.dynamics import MmtpPropagator
from magflow.potentials.mmtp.potential import MmtpPotential
from mmtp_peers.systems import CUTOFF, REPEATS, SPECIES, atoms_of, bcc, labels_of
from mmtp_peers.timing import Row, race

LEVEL, STEPS, TEMPERATURE = 12, 100, 300.0
TIMESTEP = in_ase_time(1.0)
FRICTION = 10.0 / in_ase_time(1000.0)
REPLICAS = 64
LABELS = 60


def rows(peers: Mapping[str, ModuleType], *, quick: bool) -> list[Row]:
    """16 atoms (one cell, and many side by side) and 1024 atoms, without and with Langevin baths."""
    del peers
    one = fitted()
    out: list[Row] = []
    for n in (16, 1024):
        frame = bcc(REPEATS[n], seed=n)
        for bath, friction in (("NVE", 0.0), ("Langevin", FRICTION)):
            start = started(frame, friction)
            calls: dict[str, Callable[[], object]] = {
                "magflow": lambda start=start: native(one, [start]),
                "ASE, magflow's calculator": lambda start=start: with_ase(one.calculator(), start),
            }
            if not friction:
                check(native(one, [start])[0], with_ase(one.calculator(), start))
            seconds = race(calls, rounds=3)
            case = f"{n} atoms, {bath}"
            us = {who: 1e6 * s / STEPS for who, s in seconds.items()}
            out += [Row("md", case, who, value, "us/step", value / us["magflow"]) for who, value in us.items()]
        if n == 16:
            many = [started(frame, FRICTION, key) for key in range(REPLICAS)]
            seconds = race({"magflow": lambda many=many: native(one, many)}, rounds=3)
            value = 1e6 * seconds["magflow"] / STEPS / REPLICAS
            out.append(Row("md", f"{REPLICAS} x 16 atoms, Langevin", "magflow", value, "us/step of one cell"))
    return out


def fitted(level: int = LEVEL) -> MmtpPotential:
    """Cutoff between the third and the fourth shell."""
    rng = np.random.default_rng(3)
    frames = [bcc(REPEATS[16], seed) for seed in range(LABELS)]
    frames = [
        f.replace(cell=f.cell * s, positions=f.positions * s)
        for f, s in zip(frames, rng.uniform(0.97, 1.03, LABELS), strict=True)
    ]
    frames = [f.replace(positions=f.positions + rng.normal(0, 0.1, f.positions.shape)) for f in frames]
    labels = labels_of(frames, SpinLatticeModel(FE_AL))
    return MmtpFamily(level=level, cutoff=CUTOFF, max_iterations=8).fit(labels, elements=SPECIES, seed=1)[0]


def started(frame: Frame, friction: float, key: int = 1) -> Motion:
    """Maxwell-Boltzmann velocities, the centre of mass at rest."""
    motion = Motion.start(frame, Integration(TIMESTEP, friction, TEMPERATURE, key=key))
    return replace(motion, velocities=at_rest(motion.velocities, motion.masses))


def native(one: MmtpPotential, starts: list[Motion]) -> list[np.ndarray]:
    """Positions at the end, A."""
    propagator = MmtpPropagator([one.model], starts)
    propagator.advance(STEPS)
    return [propagator.observe(k).motion.frame.positions for k in range(len(starts))]


def with_ase(calculator: Calculator, start: Motion) -> np.ndarray:
    """Positions at the end, A."""
    atoms: Atoms = atoms_of(start.frame)
    atoms.calc = calculator
    atoms.set_velocities(start.velocities)
    if start.integration.friction:
        bath = {"temperature_K": TEMPERATURE, "friction": FRICTION, "fixcm": False}
        Langevin(atoms, units.fs, **bath, rng=np.random.default_rng(1)).run(STEPS)
    else:
        VelocityVerlet(atoms, units.fs).run(STEPS)
    return atoms.positions


def check(mine: np.ndarray, theirs: np.ndarray) -> None:
    """Stop unless the loops agree."""
    error = float(np.abs(mine - theirs).max())
    if not error < 1e-8:
        raise SystemExit(f"the loops disagree by {error:.1e} A")
