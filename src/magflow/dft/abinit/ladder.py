"""One label: attempts at a calculation until the SCF cycle converges, and what they cost together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import Cost, Failure, FailureKind, Label, LevelOfTheory
from magflow.core.moments import as_vectors
from magflow.core.types import BoolArray, FloatArray
from magflow.core.units import HARTREE
from magflow.dft.abinit.output import Output
from magflow.dft.abinit.run import STEM, Launcher, heavy_files, outcome, run_abinit
from magflow.dft.runs import RunRecord, run_directory

if TYPE_CHECKING:
    from magflow.dft.abinit.datasets import PawDataset
    from magflow.dft.process import Finished

_FOLDER = "attempt-"

_WORTH_KEEPING = 10.0
"""Potential residual (tolvrs) of a density that is a better start than atoms side by side; those begin at 1e3."""

_BELOW_ATOMS = 1.0
"""Hartree by which bands may lie lower than the levels of the atoms; those of a ghost lay 2.2 below."""


def _damped(rung: Mapping[str, Any]) -> dict[str, Any]:
    """Steps of about half the usual length (0.7 with PAW), and twice as many.

    On 8 constrained cells of B2 Fe-Cr that had fallen into a ghost state of chromium it found the real one each time;
    cells that are well behaved take a third more steps to the same energy.
    """
    return {**rung, "diemix": 0.4, "nstep": 2 * rung["nstep"]}


def expected_bottom(datasets: Iterable[PawDataset]) -> float:
    """Where no state of a solid can be, eV from the Fermi level; minus infinity if a dataset does not state its levels.

    The levels of the atoms, the highest of one against the lowest of another, and a hartree more for the width of
    bands and for charge that moves.
    """
    levels = [d.levels_ha for d in datasets]
    known = [pair for pair in levels if pair is not None]
    if len(known) < len(levels):
        return -np.inf
    return (min(low for low, _ in known) - max(high for _, high in known) - _BELOW_ATOMS) * HARTREE


def rungs(attempts: int, magcon_lambda: float, nstep: int) -> list[dict[str, Any]]:
    """Variables of each attempt: the constraint is followed a quarter as fast, for as many steps more.

    Every attempt but the first starts from the density of the one before it, if that had come close.
    """
    return [{"magcon_lambda": magcon_lambda / 4**i, "nstep": nstep * (i + 1)} for i in range(attempts)]


@dataclass(frozen=True)
class Calculation:
    """One label to be computed.

    Parameters
    ----------
    held
        (N,) which atoms are held at their moment.
    polarised
        Whether moments are read.
    write
        Input text for the ABINIT variables that one attempt changes.
    rungs
        Those variables, attempt by attempt.
    links
        Name in the run directory to dataset file.
    bottom
        A state lower than this (eV from the Fermi level) is the ghost state of a dataset
        (:func:`expected_bottom`).
    scratch
        Folder to run in; None: the label's own directory.
    time_limit_s
        Wall seconds for all attempts together.
    """

    frame: Frame
    level_of_theory: LevelOfTheory
    held: BoolArray
    polarised: bool
    write: Callable[[Mapping[str, Any]], str]
    rungs: Sequence[Mapping[str, Any]]
    links: Mapping[str, Path]
    bottom: float
    launcher: Launcher
    scratch: Path | None
    time_limit_s: float | None
    moment_tolerance_mub: float
    keep_files: bool

    def run(self, workdir: Path) -> Label:
        """Attempt after attempt; whatever goes wrong with the calculation comes back as a failed label."""
        record = RunRecord()
        try:
            return self._run(workdir, record)
        except OSError as error:  # no space left, read-only, directory gone
            failure = Failure(FailureKind.CRASH, f"the run directory cannot be used: {error}")
            return self._label(failure, record, "")

    def _run(self, workdir: Path, record: RunRecord) -> Label:
        with run_directory(workdir, self.scratch, _FOLDER, self._tidy) as root:
            ladder = self.rungs
            for number in range(len(ladder)):
                more = number + 1 < len(ladder)
                finished, result = self._attempt(root, ladder[number], more, record)
                if self._is_ghost(result) and ladder is self.rungs:
                    ladder = [_damped(rung) for rung in ladder]
                    finished, result = self._attempt(root, ladder[number], more, record)
                if not isinstance(result, Output) or result.converged or self._is_ghost(result):
                    break
            tail = finished.log_tail
        return self._label(result, record, tail)

    def _is_ghost(self, result: Output | Failure) -> bool:
        return isinstance(result, Output) and result.lowest_state < self.bottom

    def _attempt(
        self, root: Path, rung: Mapping[str, Any], more: bool, record: RunRecord
    ) -> tuple[Finished, Output | Failure]:
        folder = root / f"{_FOLDER}{len(record.runs) + 1}"
        density = root / f"{_FOLDER}{len(record.runs)}" / f"{STEM}o_DEN"
        last = record.runs[-1] if record.runs else {"residual": np.inf}
        changes = {**rung, "prtden": int(more)}
        if not self.held.any():
            changes.pop("magcon_lambda", None)
        if last["residual"] < _WORTH_KEEPING and not last.get("ghost") and density.is_file():
            changes["getden_filepath"] = f"../{density.parent.name}/{density.name}"
        left = record.left(self.time_limit_s)
        finished = run_abinit(folder, self.write(changes), self.links, self.launcher, left)
        result = outcome(folder, finished, len(self.frame), polarised=self.polarised, constrained=bool(self.held.any()))
        record.add(finished, **rung, **_seen(result), **({"ghost": True} if self._is_ghost(result) else {}))
        return finished, result

    def _tidy(self, folder: Path) -> None:
        for path in () if self.keep_files else heavy_files(folder):
            path.unlink()

    def _label(self, result: Output | Failure, record: RunRecord, tail: str) -> Label:
        details: dict[str, Any] = {"runs": record.runs}
        cost, attempts = record.cost(self.launcher.cores), len(record.runs)
        if isinstance(result, Output):
            failure = self._judge(result, details)
            if failure is None:
                return self._usable(result, cost, attempts, details)
            tail = result.scf_tail  # a run that ended well closes its log with literature: this tells more
        else:
            failure = result
        return Label.failed(
            self.frame,
            self.level_of_theory,
            failure.kind,
            failure.message,
            cost=cost,
            attempts=max(attempts, 1),
            details=details | {"log_tail": tail},
        )

    def _usable(self, output: Output, cost: Cost, attempts: int, details: Mapping[str, Any]) -> Label:
        return Label(
            self.frame.frame_id,
            self.level_of_theory,
            self.frame.orientation,
            energy=output.energy,
            forces=output.forces,
            stress=output.stress,
            magmoms=None if output.magmoms is None else as_vectors(output.magmoms, len(self.frame)),
            magnetic_forces=self._magnetic_forces(output),
            cost=cost,
            attempts=attempts,
            details=details,
        )

    def _judge(self, output: Output, details: dict[str, Any]) -> Failure | None:
        """Whether a run that ended well is a usable label; adds what it looked at to `details`."""
        run = details["runs"][-1]
        error = moment_error(self.frame, self.held, output.magmoms)
        if error is not None:
            details["moment_error_mub"] = error
        known = self.level_of_theory.datasets
        if output.version != self.level_of_theory.version or any(
            known.get(element) != md5 for element, md5 in output.dataset_md5.items()
        ):
            return Failure(
                FailureKind.INVALID_INPUT,
                f"ABINIT {output.version} ran with datasets {output.dataset_md5}, not those of the level of theory",
            )
        if self._is_ghost(output):
            return Failure(
                FailureKind.GHOST_STATE,
                f"a state lies {-output.lowest_state:.0f} eV below the Fermi level, where the atoms have none below "
                f"{-self.bottom:.0f} eV: a ghost of a PAW dataset, in the last of {len(details['runs'])} attempts",
            )
        if not output.converged:
            return Failure(
                FailureKind.SCF_UNCONVERGED,
                f"residual {run['residual']:.1e} after {run['scf_steps']} steps in the last of "
                f"{len(details['runs'])} attempts",
            )
        if error is not None and not error <= self.moment_tolerance_mub:
            return Failure(
                FailureKind.MOMENT_TARGET_MISSED,
                f"a moment misses its target by {error:.2g} muB; {self.moment_tolerance_mub:g} is tolerated",
            )
        return None

    def _magnetic_forces(self, output: Output) -> FloatArray | None:
        """(N, 3) eV/muB; NaN in z on atoms that were free."""
        if output.magnetic_forces is None:
            return None
        forces = np.zeros((len(self.frame), 3))
        forces[:, 2] = output.magnetic_forces
        forces[~self.held] = np.nan
        return forces


def _seen(result: Output | Failure) -> dict[str, Any]:
    """What is remembered of the SCF cycle of one attempt."""
    if isinstance(result, Failure):
        return {}
    return {"scf_steps": result.iterations, "residual": result.residual, "converged": result.converged}


def moment_error(frame: Frame, held: BoolArray, magmoms: FloatArray | None) -> float | None:
    """Largest |achieved - target| over the held atoms, muB; None if no atom was held."""
    if magmoms is None or frame.magmoms is None or not held.any():
        return None
    return float(np.abs(magmoms - frame.magmoms[:, 2])[held].max())
