"""The benchmark as measured: every fit, and one standing per row and contender."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from magflow.core.versions import Mark, known_fields
from magflow.studies.base import ShownInNotebooks
from magflow.studies.compare.timing import InferenceCost
from magflow.studies.tm.contenders import Reading
from magflow.studies.tm.judged import Judgement, Score

DIRECTORY = "tm"
"""Below the directory of a campaign."""
RESULTS = "results.json"
QUANTITIES = {
    "dos_fermi_per_ev_atom": "States at the Fermi level (1/eV/atom)",
    "d_centre_ev": "d-band centre (eV)",
    "d_width_ev": "d-band width (eV)",
}
"""Name of what labels tell of their electrons (:mod:`magflow.dft.electrons`) to its title."""


@dataclass(frozen=True)
class Subject:
    """A row, and what becomes of the moments of its labels."""

    row: str
    reading: Reading = Reading.NONE

    def __str__(self) -> str:
        return self.row if self.reading is Reading.NONE else f"{self.row}, moments {self.reading}"


@dataclass(frozen=True)
class Case:
    """What tells one fit from the others.

    Parameters
    ----------
    row, contender
        Names.
    reading
        What becomes of the moments.
    labels
        How many it learns from.
    seed
        Draws the test labels, those to learn from, and the start of the fit.
    """

    row: str
    contender: str
    reading: Reading
    labels: int
    seed: int

    @property
    def subject(self) -> Subject:
        """Row and reading."""
        return Subject(self.row, self.reading)

    def __str__(self) -> str:
        return f"{self.subject}, {self.contender}, {self.labels} labels, seed {self.seed}"


@dataclass(frozen=True)
class TmFit:
    """What came of one fit.

    Parameters
    ----------
    failure
        Why there is no potential; what follows is None then.
    atoms
        In the labels learnt from, altogether.
    fit_cpu_seconds
        Of the training.
    wall_seconds
        Of all it took, on the clock.
    """

    case: Case
    failure: str | None = None
    judged: Judgement | None = None
    atoms: int = 0
    converged: bool | None = None
    fit_cpu_seconds: float | None = None
    wall_seconds: float | None = None
    inference: InferenceCost | None = None

    def score(self, quantity: str) -> Score | None:
        """Of all test labels."""
        return None if self.judged is None else self.judged.whole.get(quantity)

    @property
    def relative_force_error(self) -> float | None:
        """RMSE of the forces over their root mean square."""
        score = self.score("forces")
        return None if score is None else score.relative

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> TmFit:
        """Inverse of :meth:`as_dict`."""
        case, judged, inference = d["case"], d["judged"], d["inference"]
        return cls(
            **known_fields(cls, d)
            | {
                "case": Case(**known_fields(Case, case) | {"reading": Reading(case["reading"])}),
                "judged": None if judged is None else Judgement.from_dict(judged),
                "inference": None if inference is None else InferenceCost(**known_fields(InferenceCost, inference)),
            }
        )


@dataclass(frozen=True)
class Spread:
    """A number over the seeds: its median, least and largest value, and how many there are."""

    median: float
    low: float
    high: float
    seeds: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """None where there is no value."""
        found = [v for v in values if v is not None]
        return cls(float(np.median(found)), min(found), max(found), len(found)) if found else None

    def exceeds(self, other: Spread) -> bool:
        """Whether every seed gives more here than any seed there; never of a single seed, whose spread is unknown."""
        return min(self.seeds, other.seeds) > 1 and self.low > other.high


@dataclass(frozen=True, eq=False)
class TmBenchmark(ShownInNotebooks):
    """All fits, and what was asked (:meth:`~magflow.studies.tm.task.TmTask.about`)."""

    form: ClassVar[Mark] = Mark("transition-metal benchmark", "magflow-tm")

    fits: tuple[TmFit, ...]
    about: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"<TmBenchmark of {', '.join(self.rows)}: {len(self.fits)} fits>"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**self.form.stamp, "about": dict(self.about), "fits": [fit.as_dict() for fit in self.fits]}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> TmBenchmark:
        """Inverse of :meth:`as_dict`.

        Raises
        ------
        InputError
            If `d` is something else.
        NewerFormatError
            If a newer magflow wrote it.
        """
        d = cls.form.upgraded(d)
        return cls(tuple(TmFit.from_dict(fit) for fit in d["fits"]), d["about"])

    @property
    def rows(self) -> list[str]:
        """Names, by column of the periodic table; what is no d metal comes last."""
        described = self.about["rows"]
        return sorted(described, key=lambda name: (described[name]["column"] or 99, name))

    def smearing(self, row: str) -> str:
        """``0.01 Ha``; empty where the level of theory tells none."""
        told = self.about["rows"][row].get("smearing")
        return "" if told is None else f"{told[0]:g} {told[1]}"

    @property
    def smeared(self) -> list[list[Subject]]:
        """Subjects of the same elements whose smearings differ, the smallest first."""
        described = self.about["rows"]
        alike: dict[tuple[str, ...], dict[float, Subject]] = {}
        for subject in self.subjects:
            if told := described[subject.row].get("smearing"):
                key = (*described[subject.row]["elements"], subject.reading, told[1], described[subject.row]["kind"])
                alike.setdefault(key, {}).setdefault(told[0], subject)
        return [[named[value] for value in sorted(named)] for named in alike.values() if len(named) > 1]

    @property
    def contenders(self) -> list[str]:
        """Names, in the order they were asked for."""
        return [contender["name"] for contender in self.about["contenders"]]

    @property
    def subjects(self) -> list[Subject]:
        """Rows, those whose labels carry moments once for each of what became of them."""
        found = {fit.case.subject for fit in self.fits}
        return [Subject(row, reading) for row in self.rows for reading in Reading if Subject(row, reading) in found]

    @property
    def sizes(self) -> list[int]:
        """Numbers of labels learnt from."""
        return sorted({fit.case.labels for fit in self.fits})

    def of(
        self, subject: Subject | None = None, contender: str | None = None, labels: int | None = None
    ) -> list[TmFit]:
        """Fits, fewest labels first, then by seed; of any subject, contender or number of labels where it is None."""
        kept = [
            fit
            for fit in self.fits
            if subject in (None, fit.case.subject)
            and contender in (None, fit.case.contender)
            and labels in (None, fit.case.labels)
        ]
        return sorted(kept, key=lambda fit: (fit.case.labels, fit.case.seed))

    @property
    def main_size(self) -> int | None:
        """The largest number of labels common to all rows of which there is a potential; None if there is none."""
        good = [fit for fit in self.fits if fit.failure is None]
        rows = {fit.case.row for fit in good}
        shared = (n for n in self.sizes if rows and {fit.case.row for fit in good if fit.case.labels == n} == rows)
        return max(shared, default=None)

    def relative(self, subject: Subject, contender: str, labels: int) -> Spread | None:
        """RMSE of the forces over their root mean square, over the seeds."""
        return Spread.of(fit.relative_force_error for fit in self.of(subject, contender, labels))

    @property
    def electrons(self) -> list[str]:
        """What labels of some row tell of their electrons."""
        return [q for q in QUANTITIES if any(q in row.get("electrons", {}) for row in self.about["rows"].values())]

    def against(self, quantity: str, contender: str, labels: int) -> dict[str, tuple[float, Spread]]:
        """Subject to what its labels tell of their electrons, and the relative force error; those that have both."""
        found = {}
        for subject in self.subjects:
            told = self.about["rows"][subject.row].get("electrons", {}).get(quantity)
            spread = self.relative(subject, contender, labels)
            if told is not None and spread is not None:
                found[str(subject)] = (float(told), spread)
        return found

    def error(self, subject: Subject, contender: str, labels: int, quantity: str) -> Spread | None:
        """RMSE of a quantity over the seeds, house units."""
        scores = [fit.score(quantity) for fit in self.of(subject, contender, labels)]
        return Spread.of(score.rmse for score in scores if score is not None)


def failures(fits: Sequence[TmFit]) -> dict[str, list[TmFit]]:
    """Reason to the fits that failed for it."""
    found: dict[str, list[TmFit]] = {}
    for fit in fits:
        if fit.failure is not None:
            found.setdefault(fit.failure, []).append(fit)
    return found
