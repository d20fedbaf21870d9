"""The label sets and the potentials of a dichotomy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from magflow.core.versions import Mark, known_fields
from magflow.studies.base import ShownInNotebooks
from magflow.studies.train.result import TrainResult


@dataclass(frozen=True)
class LabelSet:
    """The labels of one kind.

    Parameters
    ----------
    kind
        Their kind.
    labels
        How many there are.
    failures
        Kind of failure to the number of frames it befell.
    cpu_hours, core_hours
        CPU time of the labels, and wall time x cores of them and of the failed ones.
    by_size
        Atoms of a cell to labels and their mean CPU time in seconds.
    moment
        Mean moment per atom along the common axis, muB; None without moments.
    """

    kind: str
    labels: int
    failures: Mapping[str, int]
    cpu_hours: float
    core_hours: float
    by_size: Mapping[str, tuple[int, float]]
    moment: float | None = None


@dataclass(frozen=True)
class FittedPotential:
    """One potential: its label set, and how well it meets the labels it learnt from and others of the set.

    Parameters
    ----------
    reads_moments
        Whether it was told the moments of its labels.
    """

    name: str
    labels: str
    reads_moments: bool
    training: TrainResult


@dataclass(frozen=True)
class Dichotomy(ShownInNotebooks):
    """What labelling and training gave.

    Parameters
    ----------
    name
        Of the file, for people.
    frames
        Frames there are to be labelled.
    difference
        Root mean square of the forces of the second set less those of the first on the same frames, eV/A; None without
        frames in both.
    """

    form: ClassVar[Mark] = Mark("dichotomy", "magflow-dichotomy")

    name: str
    frames: int
    sets: tuple[LabelSet, ...]
    potentials: tuple[FittedPotential, ...]
    difference: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            **self.form.stamp,
            "name": self.name,
            "frames": self.frames,
            "sets": [asdict(s) for s in self.sets],
            "potentials": [
                {
                    "name": p.name,
                    "labels": p.labels,
                    "reads_moments": p.reads_moments,
                    "training": p.training.as_dict(),
                }
                for p in self.potentials
            ],
            "difference": self.difference,
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Dichotomy:
        """Inverse of :meth:`as_dict`."""
        d = cls.form.upgraded(d)
        sets = [LabelSet(**known_fields(LabelSet, s)) for s in d["sets"]]
        fitted = [
            FittedPotential(**(known_fields(FittedPotential, p) | {"training": TrainResult.from_dict(p["training"])}))
            for p in d["potentials"]
        ]
        return cls(d["name"], d["frames"], tuple(sets), tuple(fitted), d["difference"])
