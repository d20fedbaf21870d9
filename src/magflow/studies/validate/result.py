"""The result of a validation: all measurements, what was not asked and why, and the references beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

from magflow.core.versions import Mark, known_fields
from magflow.properties.measurement import Measurement
from magflow.properties.points import DFT
from magflow.properties.references import Reference, references_in
from magflow.studies.base import ShownInNotebooks
from magflow.studies.validate.judgement import Judgement, judged

DIRECTORY = "validation"
"""Below the directory of a campaign."""
RESULTS = "results.json"


@dataclass(frozen=True)
class Skipped:
    """A property that was not measured of a structure, and why."""

    potential: str
    structure: str
    property: str
    reason: str


@dataclass(frozen=True, eq=False)
class Validation(ShownInNotebooks):
    """What potentials say of structures.

    Parameters
    ----------
    found
        Label of a potential, and a measurement on it.
    skipped
        What was not measured.
    references
        What the values are held against.
    """

    form: ClassVar[Mark] = Mark("validation", "magflow-validation")

    found: tuple[tuple[str, Measurement], ...]
    skipped: tuple[Skipped, ...] = ()
    references: tuple[Reference, ...] = ()

    def __repr__(self) -> str:
        return f"<Validation of {', '.join(self.potentials)}: {len(self.found)} measurements>"

    @property
    def potentials(self) -> list[str]:
        """Labels, in the order they were given; DFT is none."""
        return [p for p in dict.fromkeys(potential for potential, _ in self.found) if p != DFT]

    @property
    def failures(self) -> list[tuple[str, Measurement]]:
        """Measurements that have no answer on a potential."""
        return [(potential, m) for potential, m in self.found if m.failure and potential != DFT]

    @cached_property
    def judgements(self) -> list[Judgement]:
        """Every value that has a reference."""
        return judged([one for one in self.found if one[0] != DFT], self.known)

    @cached_property
    def known(self) -> list[Reference]:
        """The references, and what DFT says of the same configurations."""
        own = [r for label, m in self.found if label == DFT for r in references_in(m, "the same configurations")]
        return [*own, *self.references]

    def with_others(self, others: Validation) -> Validation:
        """It and `others`, without what it holds itself."""
        mine = {_key(potential, m) for potential, m in self.found}
        more = [one for one in others.found if _key(*one) not in mine]
        known = {r: None for r in (*self.references, *others.references)}
        return Validation((*self.found, *more), (*self.skipped, *others.skipped), tuple(known))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            **self.form.stamp,
            "found": [{"potential": potential, "measurement": m.as_dict()} for potential, m in self.found],
            "skipped": [asdict(s) for s in self.skipped],
            "references": [r.model_dump(mode="json") for r in self.references],
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Validation:
        """Inverse of :meth:`as_dict`.

        Raises
        ------
        InputError
            If `d` is something else.
        NewerFormatError
            If a newer magflow wrote it.
        """
        d = cls.form.upgraded(d)
        return cls(
            tuple((one["potential"], Measurement.from_dict(one["measurement"])) for one in d["found"]),
            tuple(Skipped(**known_fields(Skipped, s)) for s in d["skipped"]),
            tuple(Reference(**r) for r in d["references"]),
        )


def _key(potential: str, m: Measurement) -> tuple[str, ...]:
    return potential, m.property, m.structure, m.magnetic_state
