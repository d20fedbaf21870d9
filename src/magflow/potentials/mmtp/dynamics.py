"""Molecular dynamics in the kernel: the propagator of ensembles of mMTPs that share species and cutoff."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from magflow.core.calibration import Calibration, ErrorModel
from magflow.core.dynamics import RECORD, Motion, Observation, Stop
from magflow.core.types import FloatArray, RecordArray
from magflow.core.units import KB
from magflow.potentials.mmtp.geometry import collinear_moments, type_indices
from magflow.potentials.mmtp.model import MmtpModel
from magflow.potentials.mmtp.native import kernel
from magflow.settings import load_settings

SKIN = 1.0
"""A beyond the cutoff that neighbours are listed; they are listed anew before an atom may have crossed it.

A pair in the skin costs a distance at every step, a new list as much as three steps."""

UNCALIBRATED = Calibration()

_STOPS: tuple[Stop | None, ...] = (None, *Stop)


class MmtpPropagator:
    """Steps, and the lists of neighbours they need, made in the kernel.

    Parameters
    ----------
    members
        Models that share species and cutoff; their mean moves the atoms.
    motions
        Where the runs start.
    calibration
        Of the deviations.
    unit
        What deviations of the members are in; of members that differ by far less than they stand for.
    skin
        See :data:`SKIN`.
    threads
        That share the atoms where 256 or more move together; None: as the settings say. They change no bit of a result.

    Raises
    ------
    InputError
        Unknown species, missing or non-collinear moments.
    """

    def __init__(
        self,
        members: Sequence[MmtpModel],
        motions: Sequence[Motion],
        *,
        calibration: Calibration = UNCALIBRATED,
        unit: float = 1.0,
        skin: float = SKIN,
        instruction_set: str = "",
        threads: int | None = None,
    ) -> None:
        first = members[0]
        of_energy, forces = calibration.of("energy"), calibration.of("forces")
        self._of_energy = ErrorModel(unit * of_energy.scale, of_energy.floor)
        self._floor = np.sqrt(3.0) * forces.floor
        self._magnetic = first.magnetic
        self._motions = list(motions)
        parts = [(m.spec, m.parameters, m.symmetrise and m.magnetic) for m in members]
        threads = load_settings().mmtp_threads if threads is None else threads
        self._native = kernel().Dynamics(parts, first.cutoff + skin, unit * forces.scale, instruction_set, threads)
        index = {symbol: k for k, symbol in enumerate(first.species)}
        for k, motion in enumerate(motions):
            self._add(k, motion, index)
        self._native.evaluate()

    def _add(self, k: int, motion: Motion, index: dict[str, int]) -> None:
        frame = motion.frame
        self._native.add(
            _settings(motion, self._floor),
            type=type_indices(frame, index, k),
            mass=np.ascontiguousarray(motion.masses[:, 0]),
            moment=collinear_moments(frame, k) if self._magnetic else np.zeros(len(frame)),
            position=frame.positions,
            velocity=np.ascontiguousarray(motion.velocities),
            cell=frame.cell,
            piston=np.ascontiguousarray(motion.piston),
            heat=motion.heat,
            step=motion.step,
        )
        self._native.list_neighbours(k, *(motion.listed or (frame.positions, frame.cell)))

    def advance(self, step: int) -> None:
        """See :class:`~magflow.core.protocols.Propagator`."""
        self._native.advance(step)

    def stop(self, run: int) -> Stop | None:
        """See :class:`~magflow.core.protocols.Propagator`."""
        return _STOPS[int(self._native.scalars(run)["stop"])]

    def observe(self, run: int) -> Observation:
        """See :class:`~magflow.core.protocols.Propagator`."""
        native, before = self._native, self._motions[run]
        seen = native.scalars(run)
        frame = before.frame.replace(cell=native.cell(run), positions=native.position(run))
        motion = replace(
            before,
            frame=frame,
            velocities=native.velocity(run),
            piston=native.piston(run),
            heat=seen["heat"],
            step=seen["step"],
            listed=(native.listed_position(run), native.listed_cell(run)),
        )
        return Observation(
            motion,
            seen["energy"],
            native.force(run),
            native.virial(run) / frame.volume,
            float(self._of_energy.of(seen["energy_deviation"] / len(frame))),
            float(np.hypot(seen["forces_deviation"], self._floor)),
        )

    def record(self, every: int) -> None:
        """See :class:`~magflow.core.protocols.Propagator`."""
        self._native.record(every, self._of_energy.scale)

    def recorded(self, run: int) -> RecordArray:
        """See :class:`~magflow.core.protocols.Propagator`."""
        rows: RecordArray = self._native.recorded(run).view(RECORD)[:, 0]
        for name, floor in (("energy_deviation", self._of_energy.floor), ("forces_deviation", self._floor)):
            if floor:
                rows[name] = np.hypot(rows[name], floor)
        return rows

    def set_magmoms(self, magmoms: Mapping[int, FloatArray]) -> None:
        """See :class:`~magflow.core.protocols.Propagator`."""
        before = {run: self._native.scalars(run)["energy"] for run in magmoms}
        for run, moments in magmoms.items():
            frame = self._motions[run].frame.replace(magmoms=moments)
            self._motions[run] = replace(self._motions[run], frame=frame)
            self._native.set_moments(run, collinear_moments(frame, run))
        self._native.evaluate()
        for run, energy in before.items():
            self._native.add_heat(run, self._native.scalars(run)["energy"] - energy)

    def retire(self, run: int) -> None:
        """See :class:`~magflow.core.protocols.Propagator`."""
        self._native.retire(run)


def _settings(motion: Motion, floor: float) -> dict[str, Any]:
    """As the kernel reads them; it compares deviations without their floor, eV/A."""
    how, limits = motion.integration, motion.limits
    return {
        "timestep": how.timestep,
        "friction": how.friction,
        "kt": KB * how.temperature,
        "pressure": how.pressure,
        "piston_mass": how.piston_mass,
        "pistons": int(how.pistons),
        "key": how.key,
        "min_distance": limits.min_distance,
        "min_energy": limits.min_energy,
        "max_energy": limits.max_energy,
        "max_kinetic": limits.max_kinetic,
        "max_deviation": np.sqrt(max(limits.max_deviation**2 - floor**2, 0.0)),
    }
