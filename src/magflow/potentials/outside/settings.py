"""Settings that families with a program of their own have in common."""

from __future__ import annotations

from enum import StrEnum


class StartBias(StrEnum):
    """What happens to the energies of the atoms when a fit starts from another potential."""

    REFIT = "refit"
    KEEP = "keep"
