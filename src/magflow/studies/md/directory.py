"""The directory of one molecular dynamics run: trajectory, log, and the state it can go on from.

Trajectory and log only grow. The state says how long they were when it was written, so that a run that was killed cuts
off what came after and makes the same steps again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.units import fs

from magflow.core.dynamics import Motion, Observation
from magflow.core.files import replace_file
from magflow.core.types import FloatArray
from magflow.core.units import EV_PER_A3_IN_GPA, tensor
from magflow.errors import InputError, StoreError
from magflow.io.extxyz import format_frame
from magflow.io.predictions import GRADE
from magflow.io.records import Record
from magflow.studies.md.state import read_motion, write_motion

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
        self._append(TRAJECTORY, format_frame(record_of(seen, grade)))
        self._append(LOG, ",".join(texts) + "\n")

    def _append(self, name: str, text: str) -> None:
        try:
            with (self.path / name).open("ab") as file:
                file.write(text.encode())
        except OSError as error:
            raise StoreError(f"cannot write: {error.strerror}", where=str(self.path / name)) from error

    def save(self, motion: Motion, facts: Mapping[str, Any]) -> None:
        """Make `motion` what the run goes on from; what was appended reaches the disk before it."""
        lengths = {name: _on_disk(self.path / name) for name in (TRAJECTORY, LOG)}
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
            path = self.path / Path(name).name
            if not path.is_file() or path.stat().st_size < length:
                raise InputError("a file of the run has lost its end", where=str(path))
            os.truncate(path, length)
        return motion, facts

    def course(self) -> dict[str, FloatArray]:
        """The log, by column."""
        table = np.loadtxt(self.path / LOG, delimiter=",", skiprows=1, ndmin=2)
        return dict(zip(COLUMNS, table.T, strict=True))


def _on_disk(path: Path) -> int:
    """Bytes of a file, once they would survive a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size
