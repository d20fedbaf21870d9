"""What a validation may be asked for; imports nothing, so that the command line can name it at once."""

from __future__ import annotations

from enum import StrEnum


class Against(StrEnum):
    """What values are held against."""

    REFERENCES = "references"
    """Files of reference values."""
    DFT = "dft"
    """These, and labels of the same configurations."""
    NONE = "none"


class Treatment(StrEnum):
    """What becomes of the moments, where a potential reads them."""

    RELAXED = "relaxed"
    RELAXED_ONCE = "relaxed-once"
    FIXED = "fixed"
