"""How well a trained ensemble meets labels, and what its fits took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from magflow.core.protocols import FitReport
from magflow.core.versions import FORMAT, Mark, known_fields
from magflow.io.importing.magnetic_states import MagneticStates
from magflow.studies.base import ShownInNotebooks

FILE = "training.json"
"""In the directory of the ensemble."""


@dataclass(frozen=True)
class FittedMember:
    """The fit of one member; the parameters are those of :class:`~magflow.core.protocols.FitReport`.

    Parameters
    ----------
    objective
        What was minimised, after each iteration.
    """

    converged: bool
    iterations: int
    cpu_seconds: float
    rmse: Mapping[str, Mapping[str, float]]
    details: Mapping[str, Any]
    objective: Sequence[float] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "objective", tuple(self.objective))

    @classmethod
    def of(cls, report: FitReport) -> FittedMember:
        """What is kept of a report."""
        cpu_seconds = round(report.cost.cpu_seconds, 2)
        objective = [row["objective"] for row in report.history if "objective" in row]
        return cls(report.converged, report.iterations, cpu_seconds, report.rmse, report.details, objective)


@dataclass(frozen=True)
class TrainResult(ShownInNotebooks):
    """What came of a training.

    Parameters
    ----------
    errors
        ``train`` and maybe ``test`` to the residuals of the ensemble's mean on these labels
        (:func:`magflow.potentials.strata.residual_report`).
    magnetic
        Whether the ensemble reads moments.
    magnetic_states
        What geometry does not decide of the energies learnt from; None for few labels.
    """

    form: ClassVar[Mark] = Mark("training", "magflow-training")

    family: str
    elements: tuple[str, ...]
    errors: Mapping[str, Mapping[str, Any]]
    members: tuple[FittedMember, ...]
    cpu_seconds: float
    magnetic: bool = True
    magnetic_states: MagneticStates | None = None

    def __repr__(self) -> str:
        labels = " and ".join(f"{part['labels']} {name}" for name, part in self.errors.items())
        return f"<TrainResult of {len(self.members)} {self.family}: {', '.join(self.elements)}; {labels} labels>"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            **self.form.stamp,
            "family": self.family,
            "elements": list(self.elements),
            "errors": dict(self.errors),
            "members": [asdict(member) for member in self.members],
            "cpu_seconds": self.cpu_seconds,
            "magnetic": self.magnetic,
            "magnetic_states": None if self.magnetic_states is None else self.magnetic_states.as_dict(),
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> TrainResult:
        """Inverse of :meth:`as_dict`; what magflow 0.1 wrote has no stamp.

        Raises
        ------
        InputError
            If it is something else.
        NewerFormatError
            If a newer magflow wrote it.
        """
        found = cls.form.upgraded({FORMAT: "magflow-training-1", **d})
        members = tuple(FittedMember(**known_fields(FittedMember, member)) for member in found["members"])
        states = found.get("magnetic_states")
        return cls(
            found["family"],
            tuple(found["elements"]),
            found["errors"],
            members,
            found["cpu_seconds"],
            found.get("magnetic", True),
            None if states is None else MagneticStates(**known_fields(MagneticStates, states)),
        )
