"""What ``magflow md`` is asked for; light enough to be imported for its help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from magflow.core.statistics import CellMotion, Statistics

DEVIATION_STOP = 0.5
"""eV/A; calibrated deviation of a force above which atoms move by what the ensemble does not know."""


@dataclass(frozen=True)
class MdOptions:
    """Options of one run, in the units of the command line: K, GPa, fs, 1/ps, muB, eV/A."""

    statistics: Statistics
    temperature: float
    pressure: float
    cell: CellMotion
    timestep: float
    friction: float
    barostat_time: float
    repeat: tuple[int, int, int]
    relax_moments_every: int | None
    max_moment: Mapping[str, float]
    interval: int
    grade_stop: float
    deviation_stop: float | None
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"repeat": list(self.repeat), "max_moment": dict(self.max_moment)}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> MdOptions:
        """Inverse of :meth:`as_dict`; runs of magflow 0.1 kept bounds of moments as texts ``EL=MUB``."""
        given = d["max_moment"]
        if not isinstance(given, Mapping):
            given = {element: float(most) for element, most in (text.split("=") for text in given)}
        return cls(
            **dict(d)
            | {
                "statistics": Statistics(d["statistics"]),
                "cell": CellMotion(d["cell"]),
                "repeat": tuple(d["repeat"]),
                "max_moment": given,
            }
        )
