"""An ensemble to be trained on labels and held against them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers

from magflow.core.dataset import Dataset
from magflow.core.files import replace_file
from magflow.core.protocols import FitReport, WorkProgress, silent
from magflow.errors import InputError
from magflow.io.importing.magnetic_states import magnetic_states
from magflow.potentials.ensemble import MANIFEST, PotentialEnsemble, as_labelled
from magflow.potentials.strata import UsualVolume, residual_report
from magflow.potentials.training import EnsembleTask, MemberProgress, cores, train_ensemble, unfinished
from magflow.studies.train.result import FILE, FittedMember, TrainResult

WORK = ".training"
"""Below the directory of the ensemble: what an unfinished training has left."""


@dataclass(frozen=True, eq=False)
class TrainTask:
    """What is to be trained, what it is held against, and where the ensemble goes.

    Parameters
    ----------
    test
        Labels to hold the ensemble against besides those it learnt from.
    jobs
        Members fitted side by side; 0: as many as there are cores.

    Raises
    ------
    InputError
        An element that is none, or labels of an element that the ensemble is not to know.
    """

    training: EnsembleTask
    test: Dataset | None
    directory: Path
    jobs: int = 0

    def __post_init__(self) -> None:
        elements = self.training.elements
        unknown = [e for e in elements if not atomic_numbers.get(e)]
        if unknown:
            raise InputError("unknown element", where="elements", seen=", ".join(unknown), expected="chemical symbols")
        for name, part in self.parts.items():
            if foreign := sorted(set(part.elements) - set(elements)):
                raise InputError(
                    "labels hold an element that is not to be known",
                    where=f"{name} labels",
                    seen=", ".join(foreign),
                    expected="only " + ", ".join(elements),
                    hint="name all of them with --elements",
                )

    @property
    def parts(self) -> dict[str, Dataset]:
        """The labels the ensemble is held against, by name."""
        return {"train": self.training.dataset} | ({} if self.test is None else {"test": self.test})

    @property
    def workdir(self) -> Path:
        """Where finished members are kept until all are."""
        return self.directory / WORK

    def check_directory(self, *, resume: bool) -> None:
        """Refuse to write over an ensemble, to begin where a training has begun, to go on where none has.

        Raises
        ------
        InputError
            If `resume` does not fit what is there.
        """
        where = str(self.directory)
        if (self.directory / MANIFEST).exists():
            raise InputError("the directory holds an ensemble already", where=where, hint="choose another --out")
        begun = unfinished(self.workdir)
        if begun and not resume:
            hint = f"--resume goes on with it; remove {self.workdir} to start afresh"
            raise InputError("the directory holds an unfinished training", where=where, hint=hint)
        if resume and not begun:
            raise InputError("there is no unfinished training to go on with", where=where, hint="leave --resume out")

    def run(self, progress: WorkProgress = silent) -> TrainResult:
        """Train the members that are not finished yet, judge the ensemble, and save both; no trace of the work is left.

        Raises
        ------
        InputError
            As :func:`~magflow.potentials.training.train_ensemble`.
        StoreError
            If a file cannot be written.
        """
        ensemble, reports = self.trained(progress)
        result = self._judged(ensemble, reports)
        self.keep(ensemble, FILE, result.as_dict())
        return result

    def trained(self, progress: WorkProgress = silent) -> tuple[PotentialEnsemble, list[FitReport]]:
        """Train the members that are not finished yet; what they leave is kept until :meth:`keep`.

        Raises
        ------
        InputError
            As :func:`~magflow.potentials.training.train_ensemble`.
        """
        told = _over_all(progress, self.training.members)
        return train_ensemble(self.training, self.workdir, jobs=self.jobs or cores(), progress=told)

    def keep(self, ensemble: PotentialEnsemble, file: str, result: Mapping[str, Any]) -> None:
        """Save a result and the ensemble it is of, and leave no trace of the work.

        Raises
        ------
        StoreError
            If a file cannot be written.
        """
        replace_file(self.directory / file, json.dumps(result, indent=1).encode())
        ensemble.save(self.directory)
        shutil.rmtree(self.workdir, ignore_errors=True)

    def _judged(self, ensemble: PotentialEnsemble, reports: Sequence[FitReport]) -> TrainResult:
        usual_volume = UsualVolume.of([item.frame for item in self.training.dataset])
        return TrainResult(
            ensemble.family_name,
            ensemble.species,
            {
                name: residual_report(part, as_labelled(ensemble, part), usual_volume)
                for name, part in self.parts.items()
            },
            tuple(FittedMember.of(report) for report in reports),
            round(sum(report.cost.cpu_seconds for report in reports), 2),
            ensemble.magnetic,
            magnetic_states(self.training.dataset),
        )


def _over_all(progress: WorkProgress, members: int) -> MemberProgress:
    """The progress of one member as that of all; a finished one is a milestone."""
    done = [0.0] * members

    def tell(member: int, fraction: float, text: str) -> None:
        done[member] = fraction
        progress(sum(done) / members, f"member {member}: {text}", milestone=fraction >= 1.0)

    return tell
