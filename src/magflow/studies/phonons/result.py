"""What potentials say of recorded crystals, and how far that is from the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from magflow.core.types import FloatArray
from magflow.core.versions import Mark, known_fields
from magflow.properties.recorded import Geometry
from magflow.properties.vibrations import COMPARED, IMAGINARY, Vibrations
from magflow.studies.base import ShownInNotebooks

DIRECTORY = "phonon-records"
"""Below the directory of a campaign."""
RESULTS = "results.json"


@dataclass(frozen=True)
class Recorded:
    """One record: its name, atoms of the supercell, and what it says."""

    name: str
    atoms: int
    vibrations: Vibrations


@dataclass(frozen=True)
class Answer:
    """What one potential says of one record.

    Parameters
    ----------
    failure
        Why it says nothing; what follows is None then.
    volume
        Of the crystal at rest on the potential over the recorded one.
    cpu_seconds
        Of this process.
    """

    potential: str
    record: str
    failure: str | None = None
    vibrations: Vibrations | None = None
    volume: float | None = None
    cpu_seconds: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Answer:
        """Inverse of :meth:`as_dict`."""
        return cls(**known_fields(cls, d) | {"vibrations": _vibrations(d["vibrations"])})


@dataclass(frozen=True, eq=False)
class PhononBenchmark(ShownInNotebooks):
    """All answers.

    Parameters
    ----------
    records
        Smallest supercells first.
    potentials
        Names, in the order they were asked for; the first is what others are compared with.
    left_out
        Records whose supercells were larger than was asked for.
    """

    form: ClassVar[Mark] = Mark("benchmark of phonons", "magflow-phonon-records")

    records: tuple[Recorded, ...]
    potentials: tuple[str, ...]
    answers: tuple[Answer, ...]
    geometry: Geometry = Geometry.RELAXED
    displacement: float = 0.01
    left_out: int = 0

    def __repr__(self) -> str:
        return f"<PhononBenchmark of {', '.join(self.potentials)}: {len(self.records)} records>"

    def of(self, potential: str) -> dict[str, Answer]:
        """Record to the answer of a potential."""
        return {answer.record: answer for answer in self.answers if answer.potential == potential}

    @property
    def shared(self) -> list[Recorded]:
        """Records of which every potential that has answered at all has an answer: means are over these."""
        good = [{a.record for a in self.of(p).values() if a.vibrations} for p in self.potentials]
        known = [found for found in good if found]
        return [r for r in self.records if known and all(r.name in found for found in known)]

    def errors(self, potential: str, quantity: str) -> FloatArray:
        """(n,) what a potential says less the record, over the :attr:`shared` ones; empty without answers.

        Parameters
        ----------
        quantity
            One of :data:`~magflow.properties.vibrations.COMPARED`.
        """
        mine = self.of(potential)
        pairs = [(answer.vibrations, r.vibrations) for r in self.shared if (answer := mine.get(r.name))]
        return np.array([getattr(v, quantity) - getattr(true, quantity) for v, true in pairs if v], dtype=float)

    def mean_errors(self, potential: str) -> dict[str, float]:
        """Quantity to the mean absolute error over the :attr:`shared` records; empty without answers."""
        found = {quantity: self.errors(potential, quantity) for quantity in COMPARED}
        return {quantity: float(np.abs(e).mean()) for quantity, e in found.items() if len(e)}

    def change(self, potential: str) -> float | None:
        """Mean over the quantities of the mean error over that of the first potential, less 1; None without both."""
        mine, first = self.mean_errors(potential), self.mean_errors(self.potentials[0])
        shares = [mine[q] / first[q] - 1.0 for q in mine if first.get(q)]
        return float(np.mean(shares)) if shares else None

    def unstable(self, potential: str) -> list[str]:
        """Records that are stable and to which a potential gives imaginary modes."""
        stable = {r.name for r in self.records if r.vibrations.lowest > -IMAGINARY}
        said = self.of(potential)
        return [n for n in said if n in stable and (v := said[n].vibrations) and v.lowest < -IMAGINARY]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            **self.form.stamp,
            "records": [asdict(record) for record in self.records],
            "potentials": list(self.potentials),
            "answers": [answer.as_dict() for answer in self.answers],
            "geometry": str(self.geometry),
            "displacement": self.displacement,
            "left_out": self.left_out,
            "mean_errors": {potential: self.mean_errors(potential) for potential in self.potentials},
            "change": {potential: self.change(potential) for potential in self.potentials},
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> PhononBenchmark:
        """Inverse of :meth:`as_dict`.

        Raises
        ------
        InputError
            If `d` is something else.
        NewerFormatError
            If a newer magflow wrote it.
        """
        found = known_fields(cls, cls.form.upgraded(d))
        records = tuple(_recorded(r) for r in found["records"])
        answers = tuple(Answer.from_dict(a) for a in found["answers"])
        read = {"records": records, "answers": answers, "potentials": tuple(found["potentials"])}
        return cls(**(found | read | {"geometry": Geometry(found["geometry"])}))


def failures(answers: Sequence[Answer]) -> dict[str, list[str]]:
    """Reason to the records that failed for it."""
    found: dict[str, list[str]] = {}
    for answer in answers:
        if answer.failure is not None:
            found.setdefault(answer.failure, []).append(answer.record)
    return found


def _vibrations(d: Mapping[str, Any] | None) -> Vibrations | None:
    return None if d is None else Vibrations(**known_fields(Vibrations, d))


def _recorded(d: Mapping[str, Any]) -> Recorded:
    return Recorded(d["name"], d["atoms"], Vibrations(**known_fields(Vibrations, d["vibrations"])))
