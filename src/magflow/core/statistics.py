"""What a run of molecular dynamics samples; light enough to be imported for the help of a command."""

from __future__ import annotations

from enum import StrEnum


class Statistics(StrEnum):
    """Which ensemble of statistical mechanics is sampled."""

    NVE = "nve"
    NVT = "nvt"
    NPT = "npt"


class CellMotion(StrEnum):
    """What of the cell moves at constant pressure."""

    VOLUME = "volume"
    LENGTHS = "lengths"
