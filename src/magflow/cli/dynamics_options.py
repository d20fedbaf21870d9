"""What ``magflow md`` is asked for; light enough to be imported for its help."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Statistics(StrEnum):
    """Which ensemble of statistical mechanics is sampled."""

    NVE = "nve"
    NVT = "nvt"
    NPT = "npt"


class CellMotion(StrEnum):
    """What of the cell moves at constant pressure."""

    VOLUME = "volume"
    LENGTHS = "lengths"


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
    max_moment: tuple[str, ...]
    interval: int
    grade_stop: float
    deviation_stop: float | None
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"repeat": list(self.repeat), "max_moment": list(self.max_moment)}
