"""A trained ensemble to go on from, with force constants to meet and labels not to forget."""

from __future__ import annotations

from dataclasses import dataclass

from magflow.core.dataset import Dataset
from magflow.core.force_constants import ForceConstantLabel
from magflow.core.protocols import WorkProgress, silent
from magflow.errors import InputError
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.members import learns_force_constants
from magflow.presentation.formats import without_ones
from magflow.studies.finetune.judgement import Judgement
from magflow.studies.finetune.result import COTRAIN, FILE, TEST, FinetuneResult
from magflow.studies.train.result import FittedMember
from magflow.studies.train.task import TrainTask

FITS = 0.95
"""Share of the progress that the fits take."""


@dataclass(frozen=True, eq=False)
class FinetuneTask:
    """What is to be tuned, and what it is judged by.

    Parameters
    ----------
    train
        The fits: their start, the labels learnt from again and the force constants.
    held
        Force constants that are judged and not learnt from.
    mixed
        Accept force constants of another level of theory than the labels.

    Raises
    ------
    InputError
        No start or no force constants, force constants of another level of theory, a family that learns from none.
    """

    train: TrainTask
    held: tuple[ForceConstantLabel, ...] = ()
    mixed: bool = False

    def __post_init__(self) -> None:
        if not self.train.training.force_constants:
            raise InputError("no force constants to learn from", where="--phonons")
        learns_force_constants(self.train.training.family)
        if not self.mixed:
            for label in (*self.train.training.force_constants, *self.held):
                self._check_level(label)

    @property
    def start(self) -> PotentialEnsemble:
        """The ensemble that is tuned.

        Raises
        ------
        InputError
            If there is none.
        """
        if self.train.training.start is None:
            raise InputError("there is no potential to go on from")
        return self.train.training.start

    def _check_level(self, label: ForceConstantLabel) -> None:
        mine = self.train.training.dataset.levels_of_theory
        if all(level.fingerprint != label.level_of_theory.fingerprint for level in mine):
            level = label.level_of_theory
            raise InputError(
                "force constants of another level of theory than the labels",
                where=label.source or repr(label),
                seen=f"{level.code} {level.version} {level.kind} {level.fingerprint}",
                expected=", ".join(f"{t.code} {t.version} {t.kind} {t.fingerprint}" for t in mine),
                hint="--mixed (mixed=True in Python) accepts them, if that is meant",
            )

    def run(self, progress: WorkProgress = silent) -> FinetuneResult:
        """Tune the members that are not finished yet, judge the ensemble, and save both.

        Raises
        ------
        InputError
            As :func:`~magflow.potentials.training.train_ensemble`.
        StoreError
            If a file cannot be written.
        """

        def fits(fraction: float, text: str, *, milestone: bool = False) -> None:
            progress(FITS * fraction, text, milestone=milestone)

        tuned, reports = self.train.trained(fits)
        progress(FITS, "phonons before and after")
        labels = [(_name(label), label, True) for label in self.train.training.force_constants]
        labels += [(_name(label), label, False) for label in self.held]
        result = Judgement(self.start, tuned).result(
            labels, self._parts, [FittedMember.of(report) for report in reports]
        )
        self.train.keep(tuned, FILE, result.as_dict())
        return result

    @property
    def _parts(self) -> dict[str, Dataset]:
        test = {} if self.train.test is None else {TEST: self.train.test}
        return {COTRAIN: self.train.training.dataset} | test


def _name(label: ForceConstantLabel) -> str:
    return without_ones(f"{label.frame.formula} {label.frame.ordering}")
