"""What a relaxation may hold; imports nothing, so that the command line can name it at once."""

from __future__ import annotations

from enum import StrEnum


class Held(StrEnum):
    """What a relaxation keeps as it is."""

    CELL = "cell"
    SHAPE = "shape"
    VOLUME = "volume"
    ATOMS = "atoms"
    MOMENTS = "moments"
