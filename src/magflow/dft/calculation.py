"""One label from the runs of a DFT code: start them, see how each ended, make the label or say why there is none.

A code fills in what is its own: which runs (:meth:`Calculation.steps`), the input of one (:meth:`Calculation.write`),
its output (:meth:`Calculation.read`), whether that is good enough (:meth:`Calculation.judge`) and the numbers
(:meth:`Calculation.numbers`).
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from magflow.core.frame import Frame
from magflow.core.label import Failure, FailureKind, Label, LevelOfTheory
from magflow.core.types import FloatArray
from magflow.dft.mpi import mpi_command, mpi_environment
from magflow.dft.process import Finished, run_program
from magflow.dft.runs import RunRecord, TruncatedOutputError, run_directory
from magflow.dft.settings import CodeSettings
from magflow.settings import MagflowSettings

Step = TypeVar("Step")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Numbers:
    """A usable label, in house units and in the order of the frame; see :class:`magflow.core.label.Label`."""

    energy: float
    forces: FloatArray
    stress: FloatArray
    magmoms: FloatArray | None
    magnetic_forces: FloatArray | None


@dataclass(frozen=True)
class Calculation(ABC, Generic[Step, Result]):
    """One label to be computed. `Step` is what one run does differently, `Result` what it gave.

    Parameters
    ----------
    frame
        In the orientation that is computed.
    installation
        Programs and folders of this machine.
    """

    folder_prefix: ClassVar[str]
    """Every run has a folder of this name and its number, counted from 1."""
    log: ClassVar[str]
    """File that a run's stdout and stderr go to."""
    kept_files: ClassVar[frozenset[str]]
    """What is left of a run, unless all files are kept."""
    removed_files: ClassVar[frozenset[str]] = frozenset()
    """What is never left."""

    settings: CodeSettings
    frame: Frame
    level_of_theory: LevelOfTheory
    installation: MagflowSettings

    # ---- what a code fills in --------------------------------------------------------------------------------

    @property
    @abstractmethod
    def command(self) -> list[str]:
        """The program behind its launcher (:meth:`launched`), and its arguments."""

    @abstractmethod
    def steps(self, results: Sequence[Result]) -> Iterator[Step]:
        """The runs, one after the other; `results` grows by what each gave. A failed run ends them."""

    @abstractmethod
    def write(self, folder: Path, step: Step, before: tuple[Path, Result] | None) -> None:
        """Write the input of one run into `folder` (empty); `before` is the run before it."""

    @abstractmethod
    def read(self, folder: Path) -> Result | Failure:
        """What a run that ended with status 0 gave. Raises TruncatedOutputError if it is not all there."""

    @abstractmethod
    def judge(self, results: Sequence[Result], details: dict[str, Any]) -> Failure | None:
        """Whether runs that ended well are a usable label; adds what it looked at to `details`."""

    @abstractmethod
    def numbers(self, results: Sequence[Result]) -> Numbers:
        """The label of runs that were judged usable."""

    def complaint(self, folder: Path, finished: Finished) -> str:
        """The code's own error message on one line; empty if it wrote none."""
        return ""

    def crashed(self, folder: Path, finished: Finished) -> Failure:
        """What a run that ended with another status than 0 is."""
        last_line = finished.log_tail.strip().rpartition("\n")[2]
        message = self.complaint(folder, finished) or last_line or "it wrote no log"
        return Failure(FailureKind.CRASH, f"{finished.ending}: {message}")

    def remember(self, folder: Path, finished: Finished, step: Step, result: Result | Failure) -> Mapping[str, Any]:
        """What the label's `details` keep of one run, beside its cost."""
        return {}

    def failure_details(self, results: Sequence[Result], finished: Finished | None) -> Mapping[str, Any]:
        """What they keep of a label that failed; `finished` is the last run, if it was a run that failed."""
        return {}

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables of a run, on top of those of this process."""
        return mpi_environment(self.settings.cores)

    # ---- what follows ----------------------------------------------------------------------------------------

    def launched(self, program: str) -> list[str]:
        """`program`, on as many cores as the settings say."""
        return mpi_command(program, self.installation.mpirun_command, self.settings.cores)

    def run(self, workdir: Path) -> Label:
        """Run after run; whatever goes wrong with the calculation comes back as a failed label."""
        record = RunRecord()
        results: list[Result] = []
        try:
            with run_directory(workdir, self._scratch, self.folder_prefix, self._tidy) as root:
                failure, finished = self._climb(root, record, results)
        except OSError as error:  # no space left, read-only, directory gone
            failure, finished = Failure(FailureKind.CRASH, f"the run directory cannot be used: {error}"), None
        details: dict[str, Any] = {"runs": record.runs}
        failure = failure or self.judge(results, details)
        if failure is not None:
            return self._failed(failure, record, details | dict(self.failure_details(results, finished)))
        return self._usable(self.numbers(results), record, details)

    def _climb(
        self, root: Path, record: RunRecord, results: list[Result]
    ) -> tuple[Failure, Finished] | tuple[None, None]:
        """All steps; the first run that fails ends them, and comes back with its failure."""
        before = None
        for number, step in enumerate(self.steps(results), start=1):
            folder = root / f"{self.folder_prefix}{number}"
            folder.mkdir(parents=True)
            self.write(folder, step, before)
            finished = run_program(
                self.command,
                cwd=folder,
                log=folder / self.log,
                env=self.environment,
                time_limit_s=record.left(self.settings.time_limit_s),
            )
            result = self.outcome(folder, finished)
            record.add(finished, self.remember(folder, finished, step, result))
            if isinstance(result, Failure):
                return result, finished
            results.append(result)
            before = folder, result
        return None, None

    def outcome(self, folder: Path, finished: Finished) -> Result | Failure:
        """What a run that ended gave: numbers (perhaps not good enough), or the reason why there are none."""
        if finished.timed_out:
            return Failure(
                FailureKind.TIME_LIMIT,
                f"ended after {finished.wall_seconds:.0f} s; raise time_limit_s or use more cores",
            )
        if finished.returncode:
            return self.crashed(folder, finished)
        try:
            return self.read(folder)
        except TruncatedOutputError as error:
            message = self.complaint(folder, finished)
            return Failure(FailureKind.TRUNCATED_OUTPUT, f"{error}; {message}" if message else str(error))

    @property
    def _scratch(self) -> Path | None:
        folder = self.installation.scratch_dir
        return None if folder is None else folder.expanduser()

    def _tidy(self, folder: Path) -> None:
        for path in folder.iterdir():
            if path.name in self.removed_files or not (self.settings.keep_files or path.name in self.kept_files):
                _remove(path)

    def _failed(self, failure: Failure, record: RunRecord, details: Mapping[str, Any]) -> Label:
        return Label.failed(
            self.frame,
            self.level_of_theory,
            failure.kind,
            failure.message,
            cost=record.cost(self.settings.cores),
            attempts=max(len(record.runs), 1),
            details=details,
        )

    def _usable(self, numbers: Numbers, record: RunRecord, details: Mapping[str, Any]) -> Label:
        return Label(
            self.frame.frame_id,
            self.level_of_theory,
            self.frame.orientation,
            energy=numbers.energy,
            forces=numbers.forces,
            stress=numbers.stress,
            magmoms=numbers.magmoms,
            magnetic_forces=numbers.magnetic_forces,
            cost=record.cost(self.settings.cores),
            attempts=len(record.runs),
            details=details,
        )


def _remove(path: Path) -> None:
    """What cannot be removed stays: it takes nothing from a run that is over."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
