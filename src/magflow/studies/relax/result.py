"""A finished relaxation, and the files of its structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from magflow.core.frame import Frame
from magflow.explore.relaxation.joint import Relaxation
from magflow.explore.relaxation.starts import MultiStart
from magflow.io.extxyz import write_extxyz
from magflow.io.predictions import predicted_records
from magflow.io.records import Record
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.limits import grades_of
from magflow.studies.base import ShownInNotebooks
from magflow.studies.relax.state import State


@dataclass(frozen=True, eq=False)
class RelaxResult(ShownInNotebooks):
    """A relaxation on `ensemble`, the other starts if there were any, the states before and after."""

    ensemble: PotentialEnsemble
    relaxation: Relaxation
    starts: MultiStart | None
    before: State
    after: State

    def __repr__(self) -> str:
        state = "converged" if self.converged else "not converged"
        return f"<RelaxResult {state} after {self.relaxation.evaluations} predictions: {self.frame!r}>"

    @property
    def frame(self) -> Frame:
        """The relaxed structure."""
        return self.relaxation.frame

    @property
    def converged(self) -> bool:
        """Whether nothing is left to relax."""
        return self.relaxation.converged

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        r = self.relaxation
        return {
            "converged": r.converged,
            "unmet": [asdict(u) for u in r.unmet],
            "health": [str(h) for h in r.health],
            "evaluations": r.evaluations,
            "enthalpy_ev": r.enthalpy,
            "outside_training_set": self.after.outside,
            "before": {row.name: {"value": row.value, "unit": row.unit} for row in self.before.rows()},
            "after": {row.name: {"value": row.value, "unit": row.unit} for row in self.after.rows()},
            "start": None if self.starts is None else self.starts.lowest,
            "starts": None
            if self.starts is None
            else {
                name: {"enthalpy_ev": one.enthalpy, "converged": one.converged}
                for name, one in self.starts.relaxations.items()
            },
        }

    def write_structure(self, path: Path) -> None:
        """The relaxed structure with predictions and deviations, as extended XYZ."""
        self._write(path, [self.frame])

    def write_trajectory(self, path: Path) -> None:
        """The states on the way with predictions and deviations, as extended XYZ."""
        self._write(path, [step.frame for step in self.relaxation.steps] or [self.relaxation.frame])

    def _write(self, path: Path, frames: Sequence[Frame]) -> None:
        predicted = self.ensemble.predict(frames)
        records = [Record(frame) for frame in frames]
        write_extxyz(path, predicted_records(records, predicted, grades=grades_of(self.ensemble, frames)))
