"""What a relaxation may do with the moments; imports nothing, so that the command line can name it at once."""

from __future__ import annotations

from enum import StrEnum


class Moments(StrEnum):
    """What becomes of the moments."""

    KEEP = "keep"
    RELAX = "relax"
    MULTI_START = "multi-start"
