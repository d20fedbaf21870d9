"""The directory of one molecular dynamics run: trajectory, log, and the state it can go on from.

Trajectory and log only grow. The state says how long they were when it was written, so that a run that was killed cuts
off what came after and makes the same steps again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.units import fs

from magflow.core.dynamics import Motion, Observation
from magflow.core.files import append_to_file, cut_file, replace_file, size_on_disk
from magflow.core.types import FloatArray
from magflow.core.units import EV_PER_A3_IN_GPA, tensor
from magflow.errors import InputError
from magflow.explore.motion_file import read_motion, write_motion
from magflow.io.extxyz import format_frame
from magflow.io.predictions import GRADE
from magflow.io.records import Record

TRAJECTORY, LOG, FIGURE, STATE = "trajectory.extxyz", "thermo.csv", "thermo.svg", "state.npz"

COLUMNS = (
    "step",
    "time_fs",
    "temperature_K",
    "potential_eV",
    "kinetic_eV",
    "conserved_eV",
    "pressure_GPa",
    "volume_A3",
    "mean_abs_moment_muB",
    "grade",
    "forces_deviation_eV_A",
)
"""Of the log; NaN where a quantity does not exist."""


def log_row(seen: Observation, grade: float | None) -> tuple[float, ...]:
    """One line of the log, in the order of :data:`COLUMNS`."""
    motion = seen.motion
    magmoms = motion.frame.magmoms
    return (
        motion.step,
        motion.step * motion.integration.timestep / fs,
        motion.temperature,
        seen.energy,
        motion.kinetic,
        seen.conserved,
        seen.pressure * EV_PER_A3_IN_GPA,
        motion.frame.volume,
        np.nan if magmoms is None else float(np.linalg.norm(magmoms, axis=1).mean()),
        np.nan if grade is None else grade,
        seen.forces_deviation,
    )


def record_of(seen: Observation, grade: float | None) -> Record:
    """One frame of the trajectory; velocities are written as momenta in the units of ASE, which reads them."""
    motion = seen.motion
    info: dict[str, Any] = {"energy": seen.energy, "free_energy": seen.energy, "stress": tensor(seen.stress).ravel()}
    info |= {"step": motion.step, "time_fs": motion.step * motion.integration.timestep / fs}
    info |= {"temperature": motion.temperature, "forces_deviation": seen.forces_deviation}
    if grade is not None:
        info[GRADE] = grade
    return Record(
        motion.frame, info=info, columns={"forces": seen.forces, "momenta": motion.masses * motion.velocities}
    )


@dataclass
class RunDirectory:
    """Files of one run."""

    path: Path

    def begin(self) -> None:
        """Start empty files.

        Raises
        ------
        InputError
            If a run is there already.
        StoreError
            If nothing can be written.
        """
        if (self.path / STATE).exists():
            raise InputError(
                "there is a run in this directory",
                where=str(self.path),
                hint="--resume goes on with it; or name another",
            )
        replace_file(self.path / TRAJECTORY, b"")
        replace_file(self.path / LOG, (",".join(COLUMNS) + "\n").encode())

    def append(self, seen: Observation, grade: float | None) -> None:
        """Add one state to trajectory and log."""
        row = log_row(seen, grade)
        texts = [str(int(row[0])), *(repr(float(x)) for x in row[1:])]
        append_to_file(self.path / TRAJECTORY, format_frame(record_of(seen, grade)).encode())
        append_to_file(self.path / LOG, (",".join(texts) + "\n").encode())

    def save(self, motion: Motion, facts: Mapping[str, Any]) -> None:
        """Make `motion` what the run goes on from; what was appended reaches the disk before it."""
        lengths = {name: size_on_disk(self.path / name) for name in (TRAJECTORY, LOG)}
        write_motion(self.path / STATE, motion, {**facts, "lengths": lengths})

    def resume(self) -> tuple[Motion, dict[str, Any]]:
        """Where the run got to and the facts saved with it; what was written after that is cut off.

        Raises
        ------
        InputError
            If there is no run, or its files are shorter than they were.
        """
        motion, facts = read_motion(self.path / STATE)
        for name, length in facts["lengths"].items():
            cut_file(self.path / Path(name).name, length)
        return motion, facts

    def course(self) -> dict[str, FloatArray]:
        """The log, by column."""
        table = np.loadtxt(self.path / LOG, delimiter=",", skiprows=1, ndmin=2)
        return dict(zip(COLUMNS, table.T, strict=True))
