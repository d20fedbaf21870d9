"""What a run of molecular dynamics left, in the units of the house."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.units import fs

from magflow.core.dynamics import Motion, Observation
from magflow.core.frame import Frame
from magflow.core.types import FloatArray, RecordArray
from magflow.core.units import EV_PER_A3_IN_GPA, KB
from magflow.explore.health import HealthReason
from magflow.io.predictions import EXTRAPOLATION, UNCERTAIN_FORCE


def look_type(atoms: int, *, positions: bool) -> np.dtype[np.void]:
    """What is kept of a look: step, grade (NaN: none), mean |m| in muB (NaN: no moments), the cell in A.

    With `positions` those of the atoms too, A, never folded back into the cell, and their moments along z, muB.
    """
    columns = [("step", float), ("grade", float), ("moment", float), ("cell", float, (3, 3))]
    more = [("positions", float, (atoms, 3)), ("magmoms", float, (atoms,))] if positions else []
    return np.dtype([*columns, *more])


def look_of(seen: Observation, grade: float | None, *, positions: bool) -> RecordArray:
    """(1,) of :func:`look_type`."""
    frame = seen.motion.frame
    n = len(frame)
    magmoms = np.full((n, 3), np.nan) if frame.magmoms is None else frame.magmoms
    row: tuple[object, ...] = (
        seen.motion.step,
        np.nan if grade is None else grade,
        np.linalg.norm(magmoms, axis=1).mean(),
        frame.cell,
    )
    return np.array([(*row, frame.positions, magmoms[:, 2]) if positions else row], look_type(n, positions=positions))


@dataclass(frozen=True, eq=False)
class Track:
    """One run.

    Parameters
    ----------
    start, end
        Where it began, and the last sound state: another run can go on from there.
    reason
        Why it ended.
    records
        (n,) of :data:`magflow.core.dynamics.RECORD`, from the first step on.
    looks
        (m,) of :func:`look_type`, the start among them.
    """

    start: Motion
    end: Motion
    reason: HealthReason
    records: RecordArray
    looks: RecordArray

    @property
    def atoms(self) -> int:
        """Of the run."""
        return len(self.start.frame)

    @property
    def timestep_ps(self) -> float:
        """Of the integration."""
        return self.start.integration.timestep / fs / 1000.0

    @property
    def time(self) -> FloatArray:
        """(n,) ps, of the records."""
        return self.records["step"] * self.timestep_ps

    @property
    def look_time(self) -> FloatArray:
        """(m,) ps, of the looks."""
        return self.looks["step"] * self.timestep_ps

    @property
    def picoseconds(self) -> float:
        """Length of the run."""
        last = self.records["step"][-1] if len(self.records) else 0.0
        return float(max(last, self.end.step)) * self.timestep_ps

    @property
    def temperature(self) -> FloatArray:
        """(n,) instantaneous, K."""
        found: FloatArray = self.records["kinetic"][:, :3].sum(axis=1) / (self.start.degrees * KB)
        return found

    @property
    def energy(self) -> FloatArray:
        """(n,) potential energy, eV/atom."""
        found: FloatArray = self.records["energy"] / self.atoms
        return found

    @property
    def enthalpy(self) -> FloatArray:
        """(n,) potential and kinetic energy and p V at the pressure of the pistons, eV/atom."""
        kinetic = 0.5 * self.records["kinetic"][:, :3].sum(axis=1)
        total = self.records["energy"] + kinetic + self.start.integration.pressure * self.volume
        found: FloatArray = total / self.atoms
        return found

    @property
    def volume(self) -> FloatArray:
        """(n,) of the cell, A^3."""
        found: FloatArray = self.records["lengths"].prod(axis=1)
        return found

    @property
    def stress(self) -> FloatArray:
        """(n, 6) Voigt, eV/A^3, positive in tension; the kinetic part is in it."""
        found: FloatArray = (self.records["virial"] - self.records["kinetic"]) / self.volume[:, None]
        return found

    @property
    def pressure(self) -> FloatArray:
        """(n,) GPa."""
        found: FloatArray = -self.stress[:, :3].mean(axis=1) * EV_PER_A3_IN_GPA
        return found

    @property
    def unstable(self) -> str:
        """How it came to grief: ``unstable at 600 K after 0.8 ps: energy-blow-up``; empty if it made all its steps."""
        if self.reason is HealthReason.COMPLETED:
            return ""
        kelvin = self.start.integration.temperature
        return f"unstable at {kelvin:g} K after {self.picoseconds:.3g} ps: {self.reason}"


def look_frame(track: Track, row: RecordArray) -> Frame:
    """What a look of a run that has kept positions saw."""
    start = track.start.frame
    moments = None if start.magmoms is None else row["magmoms"]
    return start.replace(cell=row["cell"], positions=row["positions"], magmoms=moments)


def outside(tracks: Sequence[Track]) -> float | None:
    """Share of all `tracks` outside the training domain; None if the ensemble does not tell.

    By the grades of the looks or by the calibrated deviations of the records, whichever sees more.
    """
    seen = (
        (np.concatenate([t.looks["grade"] for t in tracks]), EXTRAPOLATION),
        (np.concatenate([t.records["forces_deviation"] for t in tracks]), UNCERTAIN_FORCE),
    )
    shares = [float((x[np.isfinite(x)] > limit).mean()) for x, limit in seen if np.isfinite(x).any()]
    return max(shares, default=None)


def deviations(tracks: Sequence[Track]) -> tuple[float, float]:
    """Mean and largest calibrated deviation of a force over all `tracks`, eV/A."""
    found = np.concatenate([t.records["forces_deviation"] for t in tracks])
    return (float(found.mean()), float(found.max())) if len(found) else (np.nan, np.nan)
