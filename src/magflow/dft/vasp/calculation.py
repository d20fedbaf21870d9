"""One label: the runs of a ladder one after the other, and what they give together."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import Failure, FailureKind, Label, LabelKind, LevelOfTheory
from magflow.core.moments import is_collinear
from magflow.core.types import FloatArray
from magflow.dft.mpi import mpi_environment
from magflow.dft.process import Finished, run_program
from magflow.dft.runs import RunRecord, run_directory
from magflow.dft.vasp.constraint import Held, consistency, read_constraint, target_of
from magflow.dft.vasp.output import Output, TruncatedOutputError, error_message, read_output, scf_tail
from magflow.dft.vasp.settings import VaspSettings
from magflow.io.structure import site_order, to_structure

LOG = "vasp.out"
_FOLDER = "run-"
_CARRIED = ("WAVECAR", "CHGCAR")
_KEPT = ("INCAR", "KPOINTS", "POSCAR", "OSZICAR", LOG)


@dataclass(frozen=True)
class Tolerances:
    """What still counts as a label; see the settings of the engine."""

    moment_mub: float
    consistency_ev: float
    magnetic_force_ev: float


@dataclass(frozen=True)
class _Rung:
    """A run that ended well, atoms in VASP's order. `energy` is without the penalty, eV."""

    output: Output
    held: Held | None

    @property
    def energy(self) -> float:
        return self.output.energy - (0.0 if self.held is None else self.held.energy)


@dataclass(frozen=True)
class Calculation:
    """One label to be computed.

    Parameters
    ----------
    titles
        Element to the TITEL of its POTCAR.
    command
        The program and its launcher.
    scratch
        Folder to run in; None: the label's own directory.
    time_limit_s
        Wall seconds for all runs together.
    """

    settings: VaspSettings
    frame: Frame
    level_of_theory: LevelOfTheory
    titles: Mapping[str, str]
    command: Sequence[str]
    cores: int
    tolerances: Tolerances
    scratch: Path | None
    time_limit_s: float | None
    keep_files: bool

    def run(self, workdir: Path) -> Label:
        """Run after run; whatever goes wrong with the calculation comes back as a failed label."""
        record = RunRecord()
        try:
            with run_directory(workdir, self.scratch, _FOLDER, self._tidy) as root:
                result = self._climb(root, record)
        except OSError as error:  # no space left, read-only, directory gone
            result = Failure(FailureKind.CRASH, f"the run directory cannot be used: {error}")
        return self._label(result, record)

    def _climb(self, root: Path, record: RunRecord) -> list[_Rung] | Failure:
        rungs: list[_Rung] = []
        strengths = self.settings.strengths
        for number, strength in enumerate(strengths, start=1):
            folder = root / f"{_FOLDER}{number}"
            self._write(folder, strength, keep=number < len(strengths))
            finished = run_program(
                self.command,
                cwd=folder,
                log=folder / LOG,
                env=mpi_environment(self.cores),
                time_limit_s=record.left(self.time_limit_s),
            )
            result = self._outcome(folder, finished)
            record.add(finished, **self._seen(folder, finished, result, strength))
            if isinstance(result, Failure):
                return result
            rungs.append(result)
        return rungs

    def _write(self, folder: Path, strength: float | None, *, keep: bool) -> None:
        """Input files of one run, and the orbitals and the density of the one before."""
        from magflow.dft.vasp.generator import MagneticSetGenerator

        folder.mkdir(parents=True)
        before = sorted(folder.parent.glob(f"{_FOLDER}*"))
        carried = [path for path in (before[-2] / n for n in _CARRIED) if path.is_file()] if len(before) > 1 else []
        for path in carried:
            path.rename(folder / path.name)
        generator = MagneticSetGenerator(
            settings=self.settings.model_dump(mode="json"),
            strength=strength,
            restart=len(carried) == len(_CARRIED),
            keep=keep,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pymatgen's table of known POTCARs is not complete
            generator.get_input_set(to_structure(self.frame)).write_input(folder)

    def _outcome(self, folder: Path, finished: Finished) -> _Rung | Failure:
        if finished.timed_out:
            return Failure(
                FailureKind.TIME_LIMIT,
                f"ended after {finished.wall_seconds:.0f} s; raise time_limit_s or use more cores",
            )
        message = error_message(finished.log_tail)
        if finished.returncode:
            return Failure(FailureKind.CRASH, f"{finished.ending}: {message or _last_line(finished.log_tail)}")
        try:
            polarised = self.settings.kind != LabelKind.NON_MAGNETIC
            output = read_output(folder, len(self.frame), polarised=polarised)
        except TruncatedOutputError as error:
            return Failure(FailureKind.TRUNCATED_OUTPUT, f"{error}; {message}" if message else str(error))
        foreign = self._foreign(output)
        if foreign is not None:
            return Failure(FailureKind.INVALID_INPUT, foreign)
        if not self.settings.constrained:
            return _Rung(output, None)
        target = target_of(self.settings.constraint, in_vasp_order(self.frame))
        held = read_constraint(self.settings.constraint, folder, folder / LOG, target)
        return held if isinstance(held, Failure) else _Rung(output, held)

    def _foreign(self, output: Output) -> str | None:
        """Why this is not the calculation that was asked for; None if it is."""
        species = in_vasp_order(self.frame).species
        if output.elements != species:
            return f"VASP computed {' '.join(output.elements)} instead of {' '.join(species)}"
        titles = tuple(self.titles[e] for e in dict.fromkeys(species))
        if (
            tuple(" ".join(t.split()) for t in output.titles) != titles
            or output.version != self.level_of_theory.version
        ):
            return (
                f"VASP {output.version} ran with {', '.join(output.titles)}, not {self.level_of_theory.version} "
                f"with {', '.join(titles)}"
            )
        return None

    def _seen(
        self, folder: Path, finished: Finished, result: _Rung | Failure, strength: float | None
    ) -> dict[str, Any]:
        """What is remembered of one run."""
        seen: dict[str, Any] = {} if strength is None else {"lambda": strength}
        if isinstance(result, Failure):
            return seen | {"tail": scf_tail(folder) or finished.log_tail}
        output = result.output
        seen |= {"scf_steps": output.iterations, "residual": output.residual, "converged": output.converged}
        if result.held is not None:
            seen |= result.held.details | {"moment_error_mub": result.held.missed}
        return seen

    def _tidy(self, folder: Path) -> None:
        """A POTCAR is never kept: it is licensed."""
        for path in folder.iterdir():
            if path.name == "POTCAR" or not (self.keep_files or path.name in _KEPT):
                path.unlink()

    def _label(self, result: list[_Rung] | Failure, record: RunRecord) -> Label:
        details: dict[str, Any] = {"runs": record.runs}
        cost = record.cost(self.cores)
        failure = result if isinstance(result, Failure) else self._judge(result, details)
        if isinstance(result, Failure) or failure is not None:
            assert failure is not None
            return Label.failed(
                self.frame,
                self.level_of_theory,
                failure.kind,
                failure.message,
                cost=cost,
                attempts=max(len(record.runs), 1),
                details=details,
            )
        last = result[-1]
        magmoms, magnetic_forces = self._magnetism(last)
        return Label(
            self.frame.frame_id,
            self.level_of_theory,
            self.frame.orientation,
            energy=last.energy,
            forces=self._in_frame_order(last.output.forces),
            stress=last.output.stress,
            magmoms=magmoms,
            magnetic_forces=magnetic_forces,
            cost=cost,
            attempts=len(record.runs),
            details=details,
        )

    def _judge(self, rungs: Sequence[_Rung], details: dict[str, Any]) -> Failure | None:
        """Whether runs that ended well are a usable label; adds what it looked at to `details`."""
        last = rungs[-1]
        output, held = last.output, last.held
        if not output.converged:
            message = f"energy changes by {output.residual:.1e} eV after {output.iterations} steps; raise nelm"
            return Failure(FailureKind.SCF_UNCONVERGED, message)
        if held is None:
            return None
        details["moment_error_mub"] = held.missed
        if not held.converged:
            return Failure(FailureKind.SCF_UNCONVERGED, "the inner optimisation of the multipliers did not converge")
        if not held.missed <= self.tolerances.moment_mub:
            return Failure(
                FailureKind.MOMENT_TARGET_MISSED,
                f"a moment misses its target by {held.missed:.2g} muB; {self.tolerances.moment_mub:g} is tolerated; "
                "a further step of the ladder brings it closer, unless the atom cannot carry it",
            )
        across = self._across(held.magmoms)
        if across > self.tolerances.moment_mub:
            return Failure(FailureKind.MOMENT_TARGET_MISSED, f"collinear moments left their axis by {across:.2g} muB")
        return self._inconsistent(rungs, details)

    def _inconsistent(self, rungs: Sequence[_Rung], details: dict[str, Any]) -> Failure | None:
        if len(rungs) < 2 or rungs[-2].held is None or rungs[-1].held is None or not rungs[-2].output.converged:
            return None
        a, b = rungs[-2:]
        found = consistency(a.energy, rungs[-2].held, b.energy, rungs[-1].held)
        details["ladder"] = {"energy_change_ev": found.change, "integrated_force_ev": found.integrated}
        if found.holds(self.tolerances.consistency_ev):
            return None
        return Failure(
            FailureKind.INCONSISTENT,
            f"between the last two steps of the ladder the energy changes by {found.change:.4f} eV and the magnetic "
            f"forces integrate to {found.integrated:.4f} eV",
        )

    def _across(self, magmoms: FloatArray) -> float:
        """Largest x or y component where all targets are along z, muB."""
        if self.frame.magmoms is None or not is_collinear(self.frame.magmoms):
            return 0.0
        return float(np.abs(magmoms[:, :2]).max())

    def _magnetism(self, rung: _Rung) -> tuple[FloatArray | None, FloatArray | None]:
        """Moments and magnetic forces in the order of the frame; of a collinear frame z only, the rest is noise."""
        if rung.held is None:
            magmoms = rung.output.magmoms
            return None if magmoms is None else self._in_frame_order(magmoms), None
        target = target_of(self.settings.constraint, in_vasp_order(self.frame))
        known = target.held & (rung.held.resolution <= self.tolerances.magnetic_force_ev)
        forces = np.where(known[:, None], rung.held.magnetic_forces, np.nan)
        magmoms = rung.held.magmoms.copy()
        if is_collinear(target.moments):
            magmoms[:, :2] = 0.0
            forces[known, :2] = 0.0
        return self._in_frame_order(magmoms), self._in_frame_order(forces)

    def _in_frame_order(self, values: FloatArray) -> FloatArray:
        """(N, 3) from VASP's order."""
        ordered = np.empty_like(values)
        ordered[site_order(self.frame)] = values
        return ordered


def in_vasp_order(frame: Frame) -> Frame:
    """The same atoms in the order of the POSCAR."""
    order = site_order(frame)
    return Frame(
        tuple(frame.species[i] for i in order),
        frame.cell,
        frame.positions[order],
        None if frame.magmoms is None else frame.magmoms[order],
        None if frame.constrained is None else frame.constrained[order],
    )


def _last_line(log: str) -> str:
    return log.strip().rpartition("\n")[2] or "it wrote no log"
