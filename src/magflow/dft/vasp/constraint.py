"""How far moments were held in a run, what it cost in energy, and with which force they push back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import Failure, FailureKind
from magflow.core.moments import ZERO_MOMENT
from magflow.core.types import FloatArray
from magflow.dft.frames import held_atoms
from magflow.dft.process import LAST, tail
from magflow.dft.runs import TruncatedOutputError
from magflow.dft.vasp.deltaspin import read_log
from magflow.dft.vasp.penalty import Target, energy_mismatch, force_resolution, penalty_gradient, read_oszicar, refined
from magflow.dft.vasp.settings import DeltaSpin, Penalty


@dataclass(frozen=True)
class Held:
    """The constraint at the end of a run.

    Parameters
    ----------
    magmoms
        (N, 3) achieved, in the weighted spheres, muB.
    magnetic_forces
        (N, 3) -dE/dm at those, eV/muB; zero on atoms that were free.
    resolution
        (N,) uncertainty of each magnetic force that comes from the digits printed, eV/muB.
    missed
        Largest deviation from what was held, muB.
    energy
        Penalty in the energy VASP prints, eV.
    converged
        Whether the constraint itself converged; a penalty needs no convergence.
    details
        Figures for the label.
    """

    magmoms: FloatArray
    magnetic_forces: FloatArray
    resolution: FloatArray
    missed: float
    energy: float
    converged: bool
    details: dict[str, Any]


def target_of(constraint: Penalty | DeltaSpin, frame: Frame) -> Target:
    """What is held in `frame`."""
    if frame.magmoms is None:
        raise ValueError("a frame without moments holds none")
    return Target(constraint.mode if isinstance(constraint, Penalty) else 2, frame.magmoms, held_atoms(frame))


def read_constraint(constraint: Penalty | DeltaSpin, folder: Path, log: Path, target: Target) -> Held | Failure:
    """The constraint in the output of a run; a Failure if it is incomplete or contradicts itself."""
    if isinstance(constraint, DeltaSpin):
        return _deltaspin(log, target)
    return _penalty(folder, target)


def _penalty(folder: Path, target: Target) -> Held | Failure:
    printed = read_oszicar(folder / "OSZICAR", len(target.held))
    if printed is None:
        return Failure(FailureKind.TRUNCATED_OUTPUT, "OSZICAR has no complete table of constrained moments")
    output = refined(printed, target)
    mismatch = energy_mismatch(output, target)
    if mismatch is not None:
        return Failure(FailureKind.INCONSISTENT, mismatch)
    forces = penalty_gradient(target, output.strength, output.moments)
    return Held(
        output.moments,
        forces,
        force_resolution(target, output.strength, output.moments, output.resolution),
        _missed(target, output.moments),
        output.energy,
        True,
        {
            "penalty_ev": output.energy,
            "lambda": output.strength,
            "moment_resolution_mub": output.resolution,
        },
    )


def _deltaspin(log: Path, target: Target) -> Held | Failure:
    try:
        state = read_log(tail(log, LAST), len(target.held))
    except TruncatedOutputError as error:
        return Failure(FailureKind.TRUNCATED_OUTPUT, str(error))
    if state.targets is not None and not np.allclose(
        state.targets[target.held], target.moments[target.held], atol=1e-6
    ):
        return Failure(FailureKind.INCONSISTENT, "the target spins in the log are not those of the frame")
    forces = np.where(target.held[:, None], state.magnetic_forces, 0.0)
    return Held(
        state.magmoms,
        forces,
        np.zeros(len(forces)),
        _missed(target, state.magmoms),
        0.0,
        state.met,
        {"constraint_rms_mub": state.rms},
    )


def _missed(target: Target, moments: FloatArray) -> float:
    """Length of the longest deviation, muB.

    A direction is missed by all of the moment where that points backwards (mode 1 does not feel its sense) or has
    vanished, as it may when lengths are free.
    """
    missed = np.linalg.norm(target.deviation(moments), axis=1)
    if target.mode != 2:
        vanished = target.held & (np.linalg.norm(moments, axis=1) < ZERO_MOMENT)
        whole = np.maximum(np.linalg.norm(moments - target.moments, axis=1), ZERO_MOMENT)
        missed = np.where(vanished | target.reversed(moments), whole, missed)
    return float(missed.max(initial=0.0))


@dataclass(frozen=True)
class Consistency:
    """Energies of two rungs of a ladder against the magnetic forces there.

    Along the constrained surface E0(b) - E0(a) = -integral F dM; by the trapezoidal rule
    -1/2 (F_a + F_b) . (M_b - M_a), in error by the third power of M_b - M_a.
    """

    change: float
    integrated: float

    @property
    def error(self) -> float:
        """Of the trapezoidal rule, eV."""
        return abs(self.change - self.integrated)

    def holds(self, tolerance: float) -> bool:
        """Within `tolerance` (eV) or a quarter of the change: a sign or a factor of two shows, curvature does not."""
        return self.error <= max(tolerance, 0.25 * abs(self.integrated))


def consistency(energy_a: float, a: Held, energy_b: float, b: Held) -> Consistency:
    """Compare two rungs; energies in eV without their penalty."""
    work = 0.5 * np.sum((a.magnetic_forces + b.magnetic_forces) * (b.magmoms - a.magmoms))
    return Consistency(energy_b - energy_a, -float(work))
