"""Phonons and errors of an ensemble before and after it was fine-tuned on force constants."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np

from magflow.core.versions import Mark, known_fields
from magflow.errors import InputError
from magflow.properties.vibrations import COMPARED, Vibrations
from magflow.studies.base import ShownInNotebooks
from magflow.studies.train.result import FittedMember

FILE = "finetuning.json"
"""In the directory of the ensemble."""
TEST, HELD_BACK, COTRAIN = "test", "held back", "cotrain"
"""Labels that an ensemble is held against: those that nobody has learnt from; of each member those that it has not
learnt from; those learnt from. Forgetting is told by the first of them that there is."""


@dataclass(frozen=True)
class Phonons:
    """What an ensemble says of one crystal.

    Parameters
    ----------
    rmse
        eV/A^2, of its force constants from the labelled ones.
    vibrations
        None where the rows known do not make all by symmetry.
    """

    rmse: float
    vibrations: Vibrations | None


@dataclass(frozen=True)
class Crystal:
    """One crystal before and after.

    Parameters
    ----------
    learnt
        Whether its force constants were learnt from; others are held out.
    volume
        A^3 per atom.
    size
        eV/A^2, root mean square of the labelled force constants.
    """

    name: str
    learnt: bool
    atoms: int
    volume: float
    rows: int
    size: float
    labelled: Vibrations | None
    before: Phonons
    after: Phonons


@dataclass(frozen=True)
class FinetuneResult(ShownInNotebooks):
    """What came of a fine-tuning.

    Parameters
    ----------
    crystals
        Those learnt from, then those held out.
    before, after
        :data:`COTRAIN` and maybe :data:`TEST` to the residuals of the ensemble's mean on these labels
        (:func:`magflow.potentials.strata.residual_report`), and maybe :data:`HELD_BACK` to those of each member on its
        own.
    notes
        What else is to be told, and of what: crystals that were left out, weights that were tried.
    """

    form: ClassVar[Mark] = Mark("fine-tuning", "magflow-finetuning")

    family: str
    elements: tuple[str, ...]
    crystals: tuple[Crystal, ...]
    before: Mapping[str, Mapping[str, Any]]
    after: Mapping[str, Mapping[str, Any]]
    members: tuple[FittedMember, ...]
    cpu_seconds: float
    notes: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        learnt = sum(crystal.learnt for crystal in self.crystals)
        return (
            f"<FinetuneResult of {len(self.members)} {self.family}: {learnt} of {len(self.crystals)} crystals learnt>"
        )

    def mean_errors(self, *, learnt: bool) -> dict[str, tuple[float, float]]:
        """Mean absolute error over the crystals, before and after: ``rmse`` and each of :data:`COMPARED`.

        Parameters
        ----------
        learnt
            Over those learnt from, or over those held out.
        """
        mine = [crystal for crystal in self.crystals if crystal.learnt is learnt]
        found = {"rmse": _means((c.before.rmse, c.after.rmse) for c in mine)} if mine else {}
        for name in COMPARED:
            pairs = [
                tuple(
                    abs(getattr(v, name) - getattr(c.labelled, name)) for v in (c.before.vibrations, c.after.vibrations)
                )
                for c in mine
                if c.labelled and c.before.vibrations and c.after.vibrations
            ]
            if pairs:
                found[name] = _means((a, b) for a, b in pairs)
        return found

    def change(self, *, learnt: bool) -> float | None:
        """Mean over :data:`COMPARED` of after / before - 1 of the mean errors; None without phonons."""
        errors = self.mean_errors(learnt=learnt)
        shares = [after / before - 1.0 for name, (before, after) in errors.items() if name in COMPARED and before]
        return float(np.mean(shares)) if shares else None

    def forgetting(self, part: str) -> dict[str, float]:
        """Quantity to after / before - 1 of its RMSE on the labels of a part."""
        before, after = self.before[part]["errors"], self.after[part]["errors"]
        return {q: after[q]["rmse"] / before[q]["rmse"] - 1.0 for q in before if before[q]["rmse"]}

    @property
    def judged_on(self) -> str:
        """The labels that tell what was forgotten.

        Raises
        ------
        InputError
            If it was held against none.
        """
        for part in (TEST, HELD_BACK, COTRAIN):
            if part in self.before:
                return part
        raise InputError("there are no labels that tell what was forgotten")

    @property
    def most_forgotten(self) -> tuple[str, float]:
        """The quantity whose error on labels not learnt from has grown most, and by which share.

        Raises
        ------
        InputError
            If it was held against no labels.
        """
        found = self.forgetting(self.judged_on)
        quantity = max(found, key=lambda q: found[q])
        return quantity, found[quantity]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            **self.form.stamp,
            "family": self.family,
            "elements": list(self.elements),
            "crystals": [asdict(crystal) for crystal in self.crystals],
            "before": dict(self.before),
            "after": dict(self.after),
            "members": [asdict(member) for member in self.members],
            "cpu_seconds": self.cpu_seconds,
            "notes": dict(self.notes),
        }

    def in_short(self) -> dict[str, Any]:
        """What a status tells, JSON-ready: without the details of errors and fits.

        `forgetting` is after / before - 1 of RMSE by labels and quantity, `objective` what each fit minimised after
        each iteration, `mean_errors` before and after.
        """
        return {
            "crystals": [asdict(crystal) for crystal in self.crystals],
            "mean_errors": {name: list(pair) for name, pair in self.mean_errors(learnt=True).items()},
            "change": self.change(learnt=True),
            "forgetting": {part: self.forgetting(part) for part in self.before},
            "judged_on": self.judged_on,
            "objective": [list(member.objective) for member in self.members],
            "cpu_seconds": self.cpu_seconds,
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> FinetuneResult:
        """Inverse of :meth:`as_dict`.

        Raises
        ------
        InputError
            If it is something else.
        NewerFormatError
            If a newer magflow wrote it.
        """
        found = known_fields(cls, cls.form.upgraded(d))
        members = tuple(FittedMember(**known_fields(FittedMember, member)) for member in found["members"])
        crystals = tuple(_crystal(c) for c in found["crystals"])
        return cls(**(found | {"elements": tuple(found["elements"]), "crystals": crystals, "members": members}))


def _means(pairs: Iterable[tuple[float, float]]) -> tuple[float, float]:
    before, after = np.mean(list(pairs), axis=0)
    return float(before), float(after)


def _vibrations(d: Mapping[str, Any] | None) -> Vibrations | None:
    return None if d is None else Vibrations(**known_fields(Vibrations, d))


def _phonons(d: Mapping[str, Any]) -> Phonons:
    return Phonons(d["rmse"], _vibrations(d["vibrations"]))


def _crystal(d: Mapping[str, Any]) -> Crystal:
    read: dict[str, Callable[[Any], Any]] = {"labelled": _vibrations, "before": _phonons, "after": _phonons}
    return Crystal(**{name: read.get(name, _as_it_is)(value) for name, value in known_fields(Crystal, d).items()})


def _as_it_is(value: Any) -> Any:
    return value
