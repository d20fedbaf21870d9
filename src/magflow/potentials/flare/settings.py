"""Settings of the FLARE family."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Descriptor(StrEnum):
    """Which products of bond sums describe an atom (Drautz, Phys. Rev. B 99, 014104 (2019))."""

    B1 = "B1"
    """The sums themselves: an atom and one neighbour."""
    B2 = "B2"
    """Products of two: two neighbours and the angle between them."""
    B3 = "B3"
    """Products of three, coupled by 3j symbols."""

    @property
    def order(self) -> int:
        """Factors of a product."""
        return int(self.value[1])


MOST_ANGLES = {Descriptor.B1: 9, Descriptor.B2: 9, Descriptor.B3: 4}
"""Largest l_max whose harmonics and 3j symbols mir-flare has."""


class FlareSettings(BaseModel):
    """All that decides a fit, but for the labels, the seed and where it starts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    descriptor: Descriptor = Field(
        default=Descriptor.B2,
        description="B1 sees distances, B2 distances and angles, B3 products of three neighbours.",
    )
    n_max: int = Field(
        default=8,
        ge=1,
        le=20,
        description="Radial functions of each element, Chebyshev polynomials times (r - cutoff)^2; B3 has n_max^3 / 6 "
        "times as many descriptors as angular products: take 3 to 5.",
    )
    l_max: int = Field(default=3, ge=0, le=9, description="Largest l of the spherical harmonics; 4 at most for B3.")
    cutoff: float = Field(default=5.0, gt=0.5, le=12.0, description="Largest distance of a neighbour, A.")
    power: int = Field(
        default=2, ge=1, le=4, description="Descriptors d, of unit length, are compared by (d.d')^power."
    )
    environments: int = Field(
        default=500,
        ge=2,
        le=5000,
        description="Atoms of the labels, at most, that others are compared with; a fit that starts from another keeps "
        "those it finds there, and adds up to as many.",
    )
    tolerance: float = Field(
        default=1e-5,
        ge=0.0,
        lt=1.0,
        description="An atom joins them only if they leave its energy less certain than this, over that of an atom "
        "unlike all others.",
    )

    @model_validator(mode="after")
    def _known_harmonics(self) -> Self:
        most = MOST_ANGLES[self.descriptor]
        if self.l_max > most:
            raise ValueError(f"l_max of {self.descriptor} is {most} at most, seen: {self.l_max}")
        return self
