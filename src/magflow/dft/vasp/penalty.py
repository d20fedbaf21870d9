"""The penalty functional of VASP's constrained moments: its energy, its gradient, and what VASP prints of it.

VASP minimises E = E0 + E_p (:class:`magflow.dft.vasp.settings.Penalty` has the formulas of I_CONSTRAINED_M 1, 2, 4).
At its minimum dE/dM = 0 for the moments M that are reached, so the constrained energy surface E0(M) has

    -dE0/dM = dE_p/dM,

the magnetic force at the *achieved* moments: 2 LAMBDA (M - M0) in mode 2, 2 LAMBDA (M - e (e.M)) in mode 1 (none
along e, where the moment is free and relaxed), LAMBDA (M/|M| - e) in mode 4. M is the moment VASP calls MW_int: the
integral over the sphere with a weight that vanishes at its edge, and not M_int.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from magflow.core.types import BoolArray, FloatArray
from magflow.dft.process import LAST, tail

_NUMBER = r"[-+]?\d*\.\d*(?:[Ee][-+]?\d+)?"
_ENERGY = re.compile(rf"E_p\s*=\s*({_NUMBER})\s+lambda\s*=\s*({_NUMBER})")
_MOMENTS = "MW_int"
_FIELD = "lambda*MW_perp"


@dataclass(frozen=True)
class Target:
    """What is held. `moments` (N, 3) muB; `held` (N,); `mode` is I_CONSTRAINED_M."""

    mode: int
    moments: FloatArray
    held: BoolArray

    @property
    def directions(self) -> FloatArray:
        """(N, 3) unit vectors; zero for an atom that is not held."""
        lengths = np.linalg.norm(self.moments, axis=1, keepdims=True)
        return np.where(self.held[:, None] & (lengths > 0), self.moments / np.where(lengths > 0, lengths, 1.0), 0.0)

    def deviation(self, moments: FloatArray) -> FloatArray:
        """(N, 3) muB, what the penalty acts on: M - M0 in mode 2, else M across the direction; zero if not held."""
        if self.mode == 2:
            return np.where(self.held[:, None], moments - self.moments, 0.0)
        e = self.directions
        return np.where(self.held[:, None], moments - e * np.sum(e * moments, axis=1, keepdims=True), 0.0)

    def reversed(self, moments: FloatArray) -> BoolArray:
        """(N,) held atoms whose moment points against its target: mode 1 cannot tell the two."""
        against: BoolArray = np.sum(self.directions * moments, axis=1) < 0
        return self.held & against


def penalty_energy(target: Target, strength: float, moments: FloatArray) -> float:
    """E_p, eV. `strength` is LAMBDA, `moments` (N, 3) muB."""
    if target.mode == 4:
        along = np.sum(target.directions * moments, axis=1)
        return float(strength * np.sum((np.linalg.norm(moments, axis=1) - along)[target.held]))
    return float(strength * np.sum(target.deviation(moments) ** 2))


def penalty_gradient(target: Target, strength: float, moments: FloatArray) -> FloatArray:
    """(N, 3) dE_p/dM, eV/muB: the magnetic forces at the minimum; zero on atoms that are not held."""
    if target.mode == 4:
        lengths = np.linalg.norm(moments, axis=1, keepdims=True)
        unit = moments / np.where(lengths > 0, lengths, 1.0)
        return np.where(target.held[:, None], strength * (unit - target.directions), 0.0)
    return 2.0 * strength * target.deviation(moments)


def force_resolution(target: Target, strength: float, moments: FloatArray, resolution: float) -> FloatArray:
    """(N,) uncertainty of :func:`penalty_gradient`, eV/muB, where moments are known to `resolution` (muB)."""
    if target.mode != 4:
        return np.full(len(moments), 2.0 * strength * resolution)
    lengths: FloatArray = np.linalg.norm(moments, axis=1)
    return strength * resolution / np.maximum(lengths, resolution)


@dataclass(frozen=True)
class PenaltyOutput:
    """The constraint in an OSZICAR, atoms in VASP's order.

    Parameters
    ----------
    energy
        E_p, eV.
    strength
        LAMBDA.
    moments
        (N, 3) MW_int, muB.
    resolution
        Half of the last digit of `moments`, muB.
    field
        (N, 3) LAMBDA times the deviation, printed with five digits after the last step; None if it was not.
    """

    energy: float
    strength: float
    moments: FloatArray
    resolution: float
    field: FloatArray | None


def read_oszicar(path: Path, n_atoms: int) -> PenaltyOutput | None:
    """The last state of the constraint in `path`; None if it is not there or is cut short."""
    text = tail(path, LAST)
    energies = _ENERGY.findall(text)
    moments = _table(text, _MOMENTS, n_atoms)
    if not energies or moments is None:
        return None
    words, decimals = moments
    field = _table(text, _FIELD, n_atoms)
    energy, strength = (float(x) for x in energies[-1])
    return PenaltyOutput(energy, strength, words, 0.5 * 10.0**-decimals, None if field is None else field[0])


def _table(text: str, title: str, n_atoms: int) -> tuple[FloatArray, int] | None:
    """(N, 3) first three columns of the last table headed `title`, and the decimals they are printed with."""
    _, found, body = text.rpartition(title)
    if not found:
        return None
    rows = [line.split() for line in body.splitlines()[1 : n_atoms + 1]]
    if len(rows) < n_atoms or any(len(r) < 4 or r[0] != str(i) for i, r in enumerate(rows, start=1)):
        return None
    try:
        values = np.array([[float(x) for x in row[1:4]] for row in rows])
    except ValueError:  # columns run together, or stars
        return None
    return values, min(len(x.partition(".")[2]) for row in rows for x in row[1:4])


def refined(output: PenaltyOutput, target: Target) -> PenaltyOutput:
    """The moments with the digits that `field` adds to them.

    MW_int is printed with three decimals, which LAMBDA = 25 would turn into 0.025 eV/muB. The field is used only if
    it agrees with the moments as far as those go and gives E_p = sum field^2 / LAMBDA; in mode 4 it means something
    else.
    """
    if output.field is None or target.mode == 4:
        return output
    field = np.where(target.held[:, None], output.field, 0.0)
    correction = np.where(target.held[:, None], field / output.strength - target.deviation(output.moments), 0.0)
    of_field = float(np.sum(field**2)) / output.strength
    if np.abs(correction).max(initial=0.0) > 4 * output.resolution or not np.isclose(
        of_field, output.energy, rtol=0.02, atol=1e-9
    ):
        return output
    finest = float(np.abs(field).max(initial=0.0)) / output.strength * 1e-5
    return replace(output, moments=output.moments + correction, resolution=max(finest, 1e-9))


def energy_mismatch(output: PenaltyOutput, target: Target) -> str | None:
    """Why E_p cannot be the penalty of these moments and targets; None if it can.

    It is the proof that atoms, targets and definition are those VASP worked with, as far as the printed digits
    allow it.
    """
    expected = penalty_energy(target, output.strength, output.moments)
    slope = float(np.abs(penalty_gradient(target, output.strength, output.moments)).sum())
    curvature = 3 * output.strength * int(target.held.sum()) * output.resolution
    tolerance = 2 * output.resolution * (slope + curvature) + 0.02 * output.energy + 1e-6
    if abs(expected - output.energy) <= tolerance:
        return None
    return (
        f"the penalty energy in OSZICAR is {output.energy:.5g} eV, that of its moments and the targets is "
        f"{expected:.5g} eV: another order of atoms or another definition of the constraint"
    )
