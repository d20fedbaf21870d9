"""A transfer as measured: errors against labels and cost, beside fits from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from magflow.core.comparison import rmse
from magflow.core.label import LabeledFrame
from magflow.core.versions import Mark, known_fields
from magflow.potentials.ensemble import PotentialEnsemble, as_labelled
from magflow.studies.base import ShownInNotebooks
from magflow.studies.transfer.ceiling import Expected
from magflow.studies.transfer.ways import Arm

RESULTS = "results.json"


@dataclass(frozen=True)
class TransferPoint:
    """One fit, or one ensemble of them.

    Parameters
    ----------
    rmse
        Quantity to RMSE on the test labels, house units (energy in eV/atom).
    core_hours, cpu_hours
        Labels it took, non-magnetic ones included where it used them: wall time x cores, and CPU time.
    fit_cpu_seconds
        Its fits, and its part of the pre-training: all of it, as one user would pay.
    """

    arm: Arm
    seed: int
    magnetic_labels: int
    non_magnetic_labels: int
    rmse: Mapping[str, float]
    core_hours: float
    cpu_hours: float
    fit_cpu_seconds: float

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> TransferPoint:
        """From what :func:`dataclasses.asdict` makes of a point."""
        return cls(**known_fields(cls, d) | {"arm": Arm(d["arm"])})


@dataclass(frozen=True)
class Bought:
    """Labels that were paid for: their number, wall time x cores, and CPU time."""

    labels: int = 0
    core_hours: float = 0.0
    cpu_hours: float = 0.0

    @classmethod
    def of(cls, items: Sequence[LabeledFrame]) -> Bought:
        """From the labels themselves."""
        costs = [item.label.cost for item in items]
        return cls(len(items), sum(c.core_hours for c in costs), sum(c.cpu_seconds for c in costs) / 3600.0)


def measured(
    arm: Arm,
    seed: int,
    ensemble: PotentialEnsemble,
    test: Sequence[LabeledFrame],
    *,
    magnetic: Bought,
    beside: Bought,
    fit_cpu_seconds: float,
) -> TransferPoint:
    """A point: the errors of `ensemble` on `test`, and the price of all it took.

    Parameters
    ----------
    magnetic, beside
        The magnetic labels, and the non-magnetic ones it used.
    fit_cpu_seconds
        Of its fits, and of those it starts from.
    """
    return TransferPoint(
        arm,
        seed,
        magnetic.labels,
        beside.labels,
        held_out_errors(ensemble, test),
        core_hours=magnetic.core_hours + beside.core_hours,
        cpu_hours=magnetic.cpu_hours + beside.cpu_hours,
        fit_cpu_seconds=fit_cpu_seconds,
    )


def held_out_errors(ensemble: PotentialEnsemble, test: Sequence[LabeledFrame]) -> dict[str, float]:
    """RMSE of the mean of an ensemble by quantity, house units (energy in eV/atom)."""
    return rmse(as_labelled(ensemble, test), test)


@dataclass(frozen=True, eq=False)
class TransferCurve(ShownInNotebooks):
    """All points, what they were made from (`about`, JSON-ready), and how good they could be at most, where that can be
    told.
    """

    form: ClassVar[Mark] = Mark("transfer", "magflow-transfer")

    points: tuple[TransferPoint, ...]
    about: Mapping[str, Any]
    ceiling: tuple[Expected, ...] = ()

    def __repr__(self) -> str:
        sizes = ", ".join(str(n) for n in sorted({p.magnetic_labels for p in self.points}))
        return f"<TransferCurve of {len(self.points)} points: {sizes} magnetic labels>"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        parts = {"points": [asdict(p) for p in self.points], "ceiling": [asdict(e) for e in self.ceiling]}
        return {**self.form.stamp, "about": dict(self.about), **parts}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> TransferCurve:
        """Inverse of :meth:`as_dict`.

        Raises
        ------
        InputError
            If `d` is something else.
        NewerFormatError
            If a newer magflow wrote it.
        """
        d = cls.form.upgraded(d)
        ceiling = tuple(map(Expected.from_dict, d.get("ceiling", ())))
        return cls(tuple(map(TransferPoint.from_dict, d["points"])), d["about"], ceiling)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Arms there are points of."""
        return tuple(arm for arm in Arm if any(p.arm is arm for p in self.points))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds there are points of."""
        return tuple(sorted({p.seed for p in self.points}))

    def of(self, arm: Arm, seed: int) -> list[TransferPoint]:
        """Points of one arm and seed, by number of magnetic labels."""
        return sorted((p for p in self.points if (p.arm, p.seed) == (arm, seed)), key=lambda p: p.magnetic_labels)
