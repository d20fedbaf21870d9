"""How a run ended, and its whole course."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.types import FloatArray
from magflow.explore.health import HealthReason
from magflow.explore.watching import UNKNOWN
from magflow.studies.base import ShownInNotebooks
from magflow.studies.md.options import MdOptions


@dataclass(frozen=True, eq=False)
class MdResult(ShownInNotebooks):
    """How a run ended.

    Parameters
    ----------
    steps, seconds
        Steps made by this call and the wall time they took.
    course
        The whole log, by column.
    """

    directory: Path
    options: MdOptions
    atoms: int
    reason: HealthReason
    steps: int
    seconds: float
    course: dict[str, FloatArray]

    def __repr__(self) -> str:
        return f"<MdResult of {self.atoms} atoms: {self.reason} at step {int(self.course['step'][-1])}>"

    @property
    def broken(self) -> bool:
        """Whether it ended by anything but its last step or what the ensemble does not know."""
        return self.reason is not HealthReason.COMPLETED and self.reason not in UNKNOWN

    def rows(self) -> dict[str, tuple[float, float, float]]:
        """Column of the log to mean, standard deviation and last value of the second half of the run, where known."""
        later = {name: values[len(values) // 2 :] for name, values in self.course.items()}
        known = {name: x[np.isfinite(x)] for name, x in later.items() if name not in ("step", "time_fs")}
        return {
            name: (float(np.mean(x)), float(np.std(x)) if np.ptp(x) > 0.0 else 0.0, float(x[-1]))
            for name, x in known.items()
            if len(x)
        }

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        drift = self.course["conserved_eV"][-1] - self.course["conserved_eV"][0]
        return {
            "output": str(self.directory),
            "reason": str(self.reason),
            "step": int(self.course["step"][-1]),
            "atoms": self.atoms,
            "steps_per_second": self.steps / self.seconds if self.seconds > 0 else None,
            "drift_of_conserved_ev_per_atom": float(drift) / self.atoms,
            "second_half": {
                name: {"mean": _plain(mean), "standard_deviation": _plain(spread), "last": _plain(last)}
                for name, (mean, spread, last) in self.rows().items()
            },
        }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
