"""One label from VASP: the runs of a ladder one after the other, and what they give together."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import Failure, FailureKind
from magflow.core.moments import is_collinear
from magflow.core.types import FloatArray
from magflow.dft.calculation import Calculation, Numbers
from magflow.dft.frames import foreign_structure
from magflow.dft.process import Finished
from magflow.dft.vasp.constraint import Held, consistency, read_constraint, target_of
from magflow.dft.vasp.incar import noncollinear
from magflow.dft.vasp.output import Output, error_message, read_output, scf_tail
from magflow.dft.vasp.potcars import PotcarInfo
from magflow.dft.vasp.program import executable
from magflow.dft.vasp.settings import VaspSettings
from magflow.io.structure import site_order, to_structure

_CARRIED = ("WAVECAR", "CHGCAR")


@dataclass(frozen=True)
class Step:
    """One run: LAMBDA of its penalty (None without one), and whether another follows."""

    strength: float | None
    more: bool


@dataclass(frozen=True)
class Rung:
    """A run that ended well, atoms in VASP's order."""

    output: Output
    held: Held | None

    @property
    def energy(self) -> float:
        """Without the penalty, eV."""
        return self.output.energy - (0.0 if self.held is None else self.held.energy)


@dataclass(frozen=True)
class VaspCalculation(Calculation[Step, Rung]):
    """One label to be computed.

    Parameters
    ----------
    potcars
        Element to its POTCAR.
    """

    folder_prefix: ClassVar[str] = "run-"
    log: ClassVar[str] = "vasp.out"
    kept_files: ClassVar[frozenset[str]] = frozenset({"INCAR", "KPOINTS", "POSCAR", "OSZICAR", log})
    removed_files: ClassVar[frozenset[str]] = frozenset({"POTCAR"})  # it is licensed

    settings: VaspSettings
    potcars: Mapping[str, PotcarInfo]

    @property
    def command(self) -> list[str]:
        """See :class:`magflow.dft.calculation.Calculation`."""
        vectors = noncollinear(self.settings, self.frame)
        return self.launched(executable(self.settings, self.installation, vectors=vectors))

    def steps(self, results: Sequence[Rung]) -> Iterator[Step]:
        """The ladder of the penalty, to its end; without a penalty one run."""
        *lower, last = self.settings.strengths
        for strength in lower:
            yield Step(strength, more=True)
        yield Step(last, more=False)

    def write(self, folder: Path, step: Step, before: tuple[Path, Rung] | None) -> None:
        """See :class:`magflow.dft.calculation.Calculation`; orbitals and density come from the run before."""
        from magflow.dft.vasp.generator import MagneticSetGenerator

        carried = [] if before is None else [path for n in _CARRIED if (path := before[0] / n).is_file()]
        for path in carried:
            path.rename(folder / path.name)
        generator = MagneticSetGenerator(
            settings=self.settings.model_dump(mode="json"),
            strength=step.strength,
            restart=len(carried) == len(_CARRIED),
            keep=step.more,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pymatgen's table of known POTCARs is not complete
            generator.get_input_set(to_structure(self.frame)).write_input(folder)

    def read(self, folder: Path) -> Rung | Failure:
        """See :class:`magflow.dft.calculation.Calculation`."""
        output = read_output(folder, len(self.frame), polarised=self.settings.polarised)
        foreign = self.foreign(output)
        if foreign is not None:
            return Failure(FailureKind.INVALID_INPUT, foreign)
        if not self.settings.constrained:
            return Rung(output, None)
        target = target_of(self.settings.constraint, in_vasp_order(self.frame))
        held = read_constraint(self.settings.constraint, folder, folder / self.log, target)
        return held if isinstance(held, Failure) else Rung(output, held)

    def foreign(self, output: Output) -> str | None:
        """Why this is not the calculation that was asked for; None if it is."""
        asked = _right_handed(in_vasp_order(self.frame))  # as it was written
        different = foreign_structure(asked, output.elements, output.cell, output.fractions)
        if different is not None:
            return f"this is the output of something else: {different}"
        species = asked.species
        titles = tuple(self.potcars[e].title for e in dict.fromkeys(species))
        if (
            tuple(" ".join(t.split()) for t in output.titles) != titles
            or output.version != self.level_of_theory.version
        ):
            return (
                f"VASP {output.version} ran with {', '.join(output.titles)}, not {self.level_of_theory.version} "
                f"with {', '.join(titles)}"
            )
        return None

    def complaint(self, folder: Path, finished: Finished) -> str:
        """See :class:`magflow.dft.calculation.Calculation`."""
        return error_message(finished.log_tail)

    def remember(self, folder: Path, finished: Finished, step: Step, result: Rung | Failure) -> Mapping[str, Any]:
        """See :class:`magflow.dft.calculation.Calculation`."""
        seen: dict[str, Any] = {} if step.strength is None else {"lambda": step.strength}
        if isinstance(result, Failure):
            return seen | {"tail": scf_tail(folder) or finished.log_tail}
        output = result.output
        seen |= {"scf_steps": output.iterations, "residual": output.residual, "converged": output.converged}
        if result.held is not None:
            seen |= result.held.details | {"moment_error_mub": result.held.missed}
        return seen

    def numbers(self, results: Sequence[Rung]) -> Numbers:
        """See :class:`magflow.dft.calculation.Calculation`."""
        last = results[-1]
        magmoms, magnetic_forces = self._magnetism(last)
        return Numbers(
            energy=last.energy,
            forces=self._in_frame_order(last.output.forces),
            stress=last.output.stress,
            magmoms=magmoms,
            magnetic_forces=magnetic_forces,
        )

    def judge(self, results: Sequence[Rung], details: dict[str, Any]) -> Failure | None:
        """See :class:`magflow.dft.calculation.Calculation`."""
        output, held = results[-1].output, results[-1].held
        if not output.converged:
            message = f"energy changes by {output.residual:.1e} eV after {output.iterations} steps; raise nelm"
            return Failure(FailureKind.SCF_UNCONVERGED, message)
        if held is None:
            return None
        details["moment_error_mub"] = held.missed
        if not held.converged:
            return Failure(FailureKind.SCF_UNCONVERGED, "the inner optimisation of the multipliers did not converge")
        tolerance = self.settings.moment_tolerance_mub
        if not held.missed <= tolerance:
            return Failure(
                FailureKind.MOMENT_TARGET_MISSED,
                f"a moment misses its target by {held.missed:.2g} muB; {tolerance:g} is tolerated; "
                "a further step of the ladder brings it closer, unless the atom cannot carry it",
            )
        across = self._across(held.magmoms)
        if across > tolerance:
            return Failure(FailureKind.MOMENT_TARGET_MISSED, f"collinear moments left their axis by {across:.2g} muB")
        return self._inconsistent(results, details)

    def _inconsistent(self, rungs: Sequence[Rung], details: dict[str, Any]) -> Failure | None:
        if len(rungs) < 2 or rungs[-2].held is None or rungs[-1].held is None or not rungs[-2].output.converged:
            return None
        a, b = rungs[-2:]
        found = consistency(a.energy, rungs[-2].held, b.energy, rungs[-1].held)
        details["ladder"] = {"energy_change_ev": found.change, "integrated_force_ev": found.integrated}
        if found.holds(self.settings.consistency_tolerance_ev):
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

    def _magnetism(self, rung: Rung) -> tuple[FloatArray | None, FloatArray | None]:
        """Moments and magnetic forces in the order of the frame; of a collinear frame z only, the rest is noise."""
        if rung.held is None:
            magmoms = rung.output.magmoms
            return None if magmoms is None else self._in_frame_order(magmoms), None
        target = target_of(self.settings.constraint, in_vasp_order(self.frame))
        known = target.held & (rung.held.resolution <= self.settings.magnetic_force_tolerance_ev)
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


def _right_handed(frame: Frame) -> Frame:
    """The frame in the cell that is written: of a left-handed one the last vector is reversed."""
    return frame if np.linalg.det(frame.cell) > 0.0 else frame.replace(cell=frame.cell * [[1], [1], [-1]])
