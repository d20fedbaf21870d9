"""A frame offered for labelling, and the moment ranges that say what it may carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from magflow.core.frame import Frame
from magflow.core.types import BoolArray, FloatArray
from magflow.errors import InputError

MomentRanges = Mapping[str, tuple[float, float]]
"""Element to the range of |m|, muB. An element that is absent carries no moment."""


def _rising(displacement: float | tuple[float, float]) -> float | tuple[float, float]:
    if isinstance(displacement, tuple) and displacement[0] > displacement[1]:
        raise ValueError("displacement needs one number, or two with low <= high")
    return displacement


_Length = Annotated[float, Field(ge=0.0, le=1.0)]
DisplacementRange = Annotated[_Length | tuple[_Length, _Length], AfterValidator(_rising)]
"""Displacement of the atoms, A rms: one, or lowest and highest."""

INDUCED_MOMENT = 0.3
"""muB; an element whose range ends at or below it only follows its neighbours and may point either way."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A frame and where it came from, such as ``perturbation:bcc-Fe:AFM``."""

    frame: Frame
    source: str


@dataclass(frozen=True, eq=False)
class SiteMoments:
    """What the moments of one structure may be.

    Parameters
    ----------
    low, high
        (N,) range of |m|, muB.
    magnetic
        (N,) sites whose sign the ordering decides.
    induced
        (N,) sites with a small moment of either sign.
    """

    low: FloatArray
    high: FloatArray
    magnetic: BoolArray
    induced: BoolArray


def site_moments(species: Sequence[str], moments: MomentRanges) -> SiteMoments:
    """Ranges and roles of the sites.

    Raises
    ------
    InputError
        If a range is negative, reversed or not finite.
    """
    for element, (least, most) in moments.items():
        if not (np.isfinite([least, most]).all() and 0.0 <= least <= most):
            raise InputError(
                "not a range of |m|",
                where=f"moments of {element}",
                seen=f"({least}, {most})",
                expected="two numbers, muB, 0 <= low <= high",
            )
    low = np.array([moments.get(s, (0.0, 0.0))[0] for s in species])
    high = np.array([moments.get(s, (0.0, 0.0))[1] for s in species])
    return SiteMoments(low, high, high > INDUCED_MOMENT, (high > 0.0) & (high <= INDUCED_MOMENT))
