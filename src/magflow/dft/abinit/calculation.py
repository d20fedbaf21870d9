"""One label from ABINIT: attempts until the SCF cycle converges, and what makes the last of them a label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import ELECTRONS, Failure, FailureKind
from magflow.core.moments import as_vectors
from magflow.core.types import BoolArray, FloatArray
from magflow.core.units import HARTREE
from magflow.dft.abinit.datasets import PawDataset, unpacked
from magflow.dft.abinit.inputs import held_in, input_text
from magflow.dft.abinit.output import Output, read_output
from magflow.dft.abinit.program import ENVIRONMENT, executable, named_failure
from magflow.dft.abinit.settings import AbinitSettings
from magflow.dft.abinit.texts import Log, read_log
from magflow.dft.calculation import Calculation, Numbers
from magflow.dft.frames import foreign_structure
from magflow.dft.process import Finished
from magflow.dft.runs import TruncatedOutputError
from magflow.dft.text import lines

_STEM = "run"

_WORTH_KEEPING = 10.0
"""Potential residual (tolvrs) of a density that is a better start than atoms side by side; those begin at 1e3."""

_FLAT = 5e-4
"""eV per atom by which the energy may still go to and fro in an SCF cycle that is taken for its small noise."""

_BELOW_ATOMS = 1.0
"""Hartree by which bands may lie lower than the levels of the atoms; those of a ghost lay 2.2 below."""


@dataclass(frozen=True)
class Attempt:
    """One run: the ABINIT variables it changes, and whether another may follow it."""

    variables: Mapping[str, Any]
    more: bool


def _damped(attempt: Attempt) -> Attempt:
    """Steps of about half the usual length (0.7 with PAW), and twice as many.

    On 8 constrained cells of B2 Fe-Cr that had fallen into a ghost state of chromium it found the real one each time;
    cells that are well behaved take a third more steps to the same energy.
    """
    changed = {"diemix": 0.4, "nstep": 2 * attempt.variables["nstep"]}
    return replace(attempt, variables={**attempt.variables, **changed})


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


def _attempts(settings: AbinitSettings) -> list[Attempt]:
    """The attempts as planned: the constraint is followed a quarter as fast, for as many steps more.

    Every attempt but the first starts from the density of the one before it, if that had come close.
    """
    return [
        Attempt(
            {"magcon_lambda": settings.magcon_lambda / 4**i, "nstep": settings.nstep * (i + 1)},
            more=i + 1 < settings.attempts,
        )
        for i in range(settings.attempts)
    ]


@dataclass(frozen=True)
class AbinitCalculation(Calculation[Attempt, Output]):
    """One label to be computed.

    Parameters
    ----------
    datasets
        Element to its PAW dataset.
    """

    folder_prefix: ClassVar[str] = "attempt-"
    log: ClassVar[str] = f"{_STEM}.log"
    kept_files: ClassVar[frozenset[str]] = frozenset({f"{_STEM}.abi", f"{_STEM}.abo"})

    settings: AbinitSettings
    datasets: Mapping[str, PawDataset]

    @property
    def command(self) -> list[str]:
        """The input file goes first: after an option ABINIT reads its standard input instead."""
        return [*self.launched(executable(self.settings, self.installation)), f"{_STEM}.abi"]

    @cached_property
    def bottom(self) -> float:
        """A state lower than this (eV from the Fermi level) is the ghost state of a dataset."""
        return expected_bottom(self.datasets.values())

    @property
    def held(self) -> BoolArray:
        """(N,) which atoms are held at their moment."""
        return held_in(self.frame, self.settings)

    @property
    def environment(self) -> Mapping[str, str]:
        """See :class:`magflow.dft.calculation.Calculation`."""
        return {**ENVIRONMENT, **super().environment}

    def steps(self, results: Sequence[Output]) -> Iterator[Attempt]:
        """Until one converges; once one has met a ghost state it is repeated with damped steps, and so are the rest."""
        damped = False
        for planned in _attempts(self.settings):
            yield _damped(planned) if damped else planned
            if self._is_ghost(results[-1]) and not damped:
                damped = True
                yield _damped(planned)
            if self._is_settled(results[-1]) or self._is_ghost(results[-1]):
                return

    def write(self, folder: Path, step: Attempt, before: tuple[Path, Output] | None) -> None:
        """See :class:`magflow.dft.calculation.Calculation`; a density that had come close is started from."""
        changes = {**step.variables, "prtden": int(step.more)}
        if not self.held.any():
            changes.pop("magcon_lambda")
        if before is not None:
            density, last = before[0] / f"{_STEM}o_DEN", before[1]
            if last.residual < _WORTH_KEEPING and not self._is_ghost(last) and density.is_file():
                changes["getden_filepath"] = f"../{density.parent.name}/{density.name}"
        for element, dataset in self.datasets.items():
            (folder / f"{element}.xml").symlink_to(unpacked(dataset, self.installation.cache_dir.expanduser()))
        text = input_text(self.settings, self.frame, self.datasets, changes)
        (folder / f"{_STEM}.abi").write_text(text)

    def read(self, folder: Path) -> Output:
        """See :class:`magflow.dft.calculation.Calculation`."""
        return read_output(
            folder,
            _STEM,
            len(self.frame),
            polarised=self.settings.polarised,
            constrained=bool(self.held.any()),
        )

    def complaint(self, folder: Path, finished: Finished) -> str:
        """See :class:`magflow.dft.calculation.Calculation`."""
        return _log(folder / self.log).error

    def crashed(self, folder: Path, finished: Finished) -> Failure:
        """See :class:`magflow.dft.calculation.Calculation`."""
        log = _log(folder / self.log)
        started = log.steps > 0 or _log(folder / f"{_STEM}.abo").steps > 0
        named = named_failure(finished.returncode, log.error, started=started)
        return named or super().crashed(folder, finished)

    def remember(self, folder: Path, finished: Finished, step: Attempt, result: Output | Failure) -> Mapping[str, Any]:
        """See :class:`magflow.dft.calculation.Calculation`."""
        if isinstance(result, Failure):
            return step.variables
        seen = {"scf_steps": result.iterations, "residual": result.residual, "converged": result.converged}
        return {**step.variables, **seen, **({"ghost": True} if self._is_ghost(result) else {})}

    def failure_details(self, results: Sequence[Output], finished: Finished | None) -> Mapping[str, Any]:
        """See :class:`magflow.dft.calculation.Calculation`.

        A run that ended well closes its log with literature: its SCF cycle tells more.
        """
        if finished is not None:
            return {"log_tail": finished.log_tail}
        return {"log_tail": results[-1].scf_tail if results else ""}

    def _is_ghost(self, output: Output) -> bool:
        return output.lowest_state < self.bottom

    def _is_settled(self, output: Output) -> bool:
        """Whether the SCF cycle met its criterion, or has no more than the noise that is allowed.

        Constraints have a gradient of their own, of which the steps say nothing: those have to converge.
        """
        small = output.force_noise <= self.settings.force_noise_ev_a
        flat = output.energy_noise <= _FLAT * len(self.frame)
        return output.converged or bool(small and flat and not self.held.any())

    def judge(self, results: Sequence[Output], details: dict[str, Any]) -> Failure | None:
        """See :class:`magflow.dft.calculation.Calculation`."""
        output = results[-1]
        details[ELECTRONS] = dict(output.electrons)
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
        foreign = foreign_structure(self.frame, output.species, output.cell, output.fractions)
        if foreign is not None:
            return Failure(FailureKind.INCONSISTENT, f"this is the output of something else: {foreign}")
        if not self._is_settled(output):
            return Failure(
                FailureKind.SCF_UNCONVERGED,
                f"residual {output.residual:.1e} after {output.iterations} steps in the last of "
                f"{len(results)} attempts",
            )
        if not output.converged:
            details["noise"] = {"energy_ev": output.energy_noise, "forces_ev_a": output.force_noise}
        # Only after the density has settled: on the way, a constraint that cannot be met pulls states down, too.
        if self._is_ghost(output):
            return Failure(
                FailureKind.GHOST_STATE,
                f"a state lies {-output.lowest_state:.0f} eV below the Fermi level, where the atoms have none below "
                f"{-self.bottom:.0f} eV: a ghost of a PAW dataset, in the last of {len(results)} attempts",
            )
        if error is not None and not error <= self.settings.moment_tolerance_mub:
            return Failure(
                FailureKind.MOMENT_TARGET_MISSED,
                f"a moment misses its target by {error:.2g} muB; {self.settings.moment_tolerance_mub:g} is tolerated",
            )
        return None

    def numbers(self, results: Sequence[Output]) -> Numbers:
        """See :class:`magflow.dft.calculation.Calculation`."""
        output = results[-1]
        return Numbers(
            energy=output.energy,
            forces=output.forces,
            stress=output.stress,
            magmoms=None if output.magmoms is None else as_vectors(output.magmoms, len(self.frame)),
            magnetic_forces=self._magnetic_forces(output),
        )

    def _magnetic_forces(self, output: Output) -> FloatArray | None:
        """(N, 3) eV/muB; NaN in z on atoms that were free."""
        if output.magnetic_forces is None:
            return None
        forces = np.zeros((len(self.frame), 3))
        forces[:, 2] = output.magnetic_forces
        forces[~self.held] = np.nan
        return forces


def moment_error(frame: Frame, held: BoolArray, magmoms: FloatArray | None) -> float | None:
    """Largest |achieved - target| over the held atoms, muB; None if no atom was held."""
    if magmoms is None or frame.magmoms is None or not held.any():
        return None
    return float(np.abs(magmoms - frame.magmoms[:, 2])[held].max())


def _log(path: Path) -> Log:
    """What `path` says; nothing if it is not there."""
    try:
        return read_log(lines(path))
    except TruncatedOutputError:
        return read_log(())
