"""The log of VASP with DeltaSpin: moments held by Lagrange multipliers.

Two generations print two things. The patch of VASP 5 prints multipliers lambda = dE/dM, so the magnetic force is
-lambda, and that is what it calls "Magnetic Force" at the end of its log. DeltaSpin in VASP 6 (``LDELTASPIN``) works
with L = E + lambda.(M - M_target), so its lambda is the magnetic force itself; it ends with two tables. Moments are
MW, the integrals over the weighted spheres. Atoms are in VASP's order, energies in eV, moments in muB.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import FailureKind, Label, LevelOfTheory
from magflow.core.types import FloatArray
from magflow.dft.frames import held_atoms
from magflow.dft.runs import TruncatedOutputError

_STEP = re.compile(r"Step \(Outer -- Inner\) =\s*(\d+) --\s*(\d+)\s+RMS =\s*(\S+)")
_ENERGY = re.compile(r"^\s*\d+ F=\s*(\S+)\s+E0=", re.MULTILINE)
_MET = "Meet convergence criterion"
_STATUS, _TABLES = "DeltaSpin final status", "DeltaSpin final constrained observables"
_FORCES = "Magnetic force (eV/uB)"
_CONVENTION = "magnetic force = spin_lambda for L=E+lambda.(M-M_target)"
_MISSED = re.compile(r"Maximum moment error\s*:\s*(\S+) uB")
_REACHED = re.compile(r"Moment constraint\s*:\s*reached")
_REPORT = (
    "Energy:",
    "Cartesian Coordinates:",
    "Magnetization:",
    "Atomic Force:",
    "Magnetic Force:",
)
"""Titles of the summary that ends a log; each stands above one line of numbers."""


@dataclass(frozen=True)
class Report:
    """The summary at the end of a log. Arrays (N, 3): A, muB, eV/A, eV/muB; `energy` is the free energy."""

    energy: float
    positions: FloatArray
    magmoms: FloatArray
    forces: FloatArray
    magnetic_forces: FloatArray


@dataclass(frozen=True)
class DeltaSpinLog:
    """What a log says of the constraint.

    Parameters
    ----------
    multipliers
        (N, 3) lambda, eV/muB; zero on atoms that were free.
    magmoms
        (N, 3) muB: of the summary if there is one, else those the last inner optimisation reached.
    targets
        (N, 3) muB; None if the log does not print them (VASP 6).
    rms
        Deviation of the last inner optimisation, muB; in VASP 6 the largest deviation.
    met
        Whether that ended by its convergence criterion.
    energy
        Free energy of the finished calculation, eV; None if it did not finish.
    report
        The summary; None if the log has none.
    """

    multipliers: FloatArray
    magmoms: FloatArray
    targets: FloatArray | None
    rms: float
    met: bool
    energy: float | None
    report: Report | None

    @property
    def magnetic_forces(self) -> FloatArray:
        """(N, 3) eV/muB, -dE/dM."""
        return -self.multipliers


def read_log(text: str, n_atoms: int) -> DeltaSpinLog:
    """Read the state at the end of a log.

    Raises
    ------
    TruncatedOutputError
        If it holds no finished inner optimisation.
    """
    if _TABLES in text:
        return _read_tables(text, n_atoms)
    steps = _STEP.findall(text)
    if not steps:
        raise TruncatedOutputError("the log holds no step of the spin constraint: is this VASP with DeltaSpin?")
    report = read_report(text, n_atoms)
    energies = _ENERGY.findall(text)
    ending = text[: text.rindex("final optimal lambda:")] if "final optimal lambda:" in text else ""
    return DeltaSpinLog(
        multipliers=_block(text, "final optimal lambda:", n_atoms),
        magmoms=_block(text, "current spin:", n_atoms) if report is None else report.magmoms,
        targets=_block(text, "target spin:", n_atoms),
        rms=float(steps[-1][2]),
        met=_MET in ending[ending.rfind("Step (Outer -- Inner)") :],
        energy=float(energies[-1]) if energies else None,
        report=report,
    )


def _read_tables(text: str, n_atoms: int) -> DeltaSpinLog:
    """The end of a log of VASP 6."""
    if _CONVENTION not in text:
        raise TruncatedOutputError(f"the tables of DeltaSpin (VASP 6) do not end with `{_CONVENTION} ...`")
    status = text[text.rindex(_STATUS) :] if _STATUS in text else ""
    missed = _MISSED.search(status)
    energies = _ENERGY.findall(text)
    return DeltaSpinLog(
        multipliers=-_table(text, _FORCES, n_atoms),
        magmoms=_table(text, _TABLES, n_atoms),
        targets=None,
        rms=float(missed.group(1)) if missed else float("nan"),
        met=bool(_REACHED.search(status)),
        energy=float(energies[-1]) if energies else None,
        report=None,
    )


def _table(text: str, title: str, n_atoms: int) -> FloatArray:
    """(N, 3): the vectors of the last table headed `title`, after the line of dashes."""
    body = text[text.rindex(title) :] if title in text else ""
    rows = [line.split() for line in re.split(r"^-+$", body, maxsplit=1, flags=re.M)[-1].splitlines()[1 : n_atoms + 1]]
    try:
        if len(rows) < n_atoms or any(row[0] != str(i) for i, row in enumerate(rows, start=1)):
            raise ValueError
        values = np.array([[float(x) for x in row[5:8]] for row in rows])
        if values.shape != (n_atoms, 3) or not np.isfinite(values).all():
            raise ValueError
    except (ValueError, IndexError):
        raise TruncatedOutputError(f"`{title}` with {n_atoms} vectors is not in the log (LDELTASPIN, VASP 6)") from None
    return values


def read_report(text: str, n_atoms: int) -> Report | None:
    """The summary at the end of a log; None if there is none."""
    tail = text[text.rindex(" F=") :] if " F=" in text else ""
    if not all(f"\n{title}\n" in tail for title in _REPORT):
        return None
    try:
        energy, *arrays = (
            np.array(tail.split(f"\n{t}\n", 1)[1].split("\n", 1)[0].split(), dtype=float) for t in _REPORT
        )
        positions, magmoms, forces, magnetic_forces = (a.reshape(n_atoms, 3) for a in arrays)
        return Report(float(energy[0]), positions, magmoms, forces, magnetic_forces)
    except (ValueError, IndexError) as error:
        raise TruncatedOutputError(f"the summary of the log is incomplete: {error}") from error


def _block(text: str, title: str, n_atoms: int) -> FloatArray:
    """The (N, 3) numbers below the last `title`."""
    _, found, body = text.rpartition(title)
    rows = body.split("\n", n_atoms + 1)[1 : n_atoms + 1]
    try:
        values = np.array([[float(x) for x in row.split()] for row in rows])
        if not found or values.shape != (n_atoms, 3) or not np.isfinite(values).all():
            raise ValueError
    except ValueError:
        raise TruncatedOutputError(f"`{title}` with {n_atoms} vectors is not in the log") from None
    return values


def label_from_log(text: str, frame: Frame, level_of_theory: LevelOfTheory) -> Label:
    """The label in a log alone: energy, forces, moments and magnetic forces; a log has no stress.

    Parameters
    ----------
    frame
        What was computed, atoms in VASP's order; `constrained` says which were held.

    Returns
    -------
    Label
        A failed one if the log is cut short or belongs to other positions.
    """
    try:
        log = read_log(text, len(frame))
    except TruncatedOutputError as error:
        return Label.failed(frame, level_of_theory, FailureKind.TRUNCATED_OUTPUT, str(error))
    if log.report is None:
        return Label.failed(frame, level_of_theory, FailureKind.TRUNCATED_OUTPUT, "the log ends without its summary")
    report = log.report
    apart = (report.positions - frame.positions) @ np.linalg.inv(frame.cell)  # the log moves atoms by whole cells
    if np.abs((apart - np.rint(apart)) @ frame.cell).max() > 1e-5:
        return Label.failed(frame, level_of_theory, FailureKind.INVALID_INPUT, "the log is of other positions")
    if not log.met:
        return Label.failed(
            frame, level_of_theory, FailureKind.SCF_UNCONVERGED, f"constraint missed by {log.rms:.1e} muB"
        )
    held = held_atoms(frame)
    return Label(
        frame.frame_id,
        level_of_theory,
        frame.orientation,
        energy=report.energy,
        forces=report.forces,
        magmoms=report.magmoms,
        magnetic_forces=np.where(held[:, None], report.magnetic_forces, np.nan),
    )
