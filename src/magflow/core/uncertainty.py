"""What a deviation is made of: the disagreement of members, what labels leave undecided of each fit, or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from magflow.core.frame import Frame
from magflow.core.prediction import QUANTITIES, Prediction
from magflow.core.protocols import PotentialFamily
from magflow.core.terms import Uncertainty as Uncertainty
from magflow.core.types import FloatArray
from magflow.errors import InputError


@runtime_checkable
class FitsTellDeviations(Protocol):
    """A family whose fits may know what their labels leave undecided."""

    @property
    def fits_tell_deviations(self) -> bool:
        """Whether they do with these settings."""


@runtime_checkable
class TellsDeviations(Protocol):
    """A potential that knows what its labels left undecided."""

    def deviations(self, frames: Sequence[Frame]) -> Prediction:
        """Standard deviation of every predicted number, as :class:`~magflow.core.prediction.EnsemblePrediction` has it.

        Raises InputError if this one does not know: another kind of grade, or an older release fitted it.
        """


def require_told(uncertainty: Uncertainty, family: PotentialFamily, members: int) -> None:
    """Refuse deviations that nobody would tell.

    Raises
    ------
    InputError
        Members to disagree where there is one, or fits that do not know what their labels leave undecided.
    """
    if uncertainty is not Uncertainty.LAPLACE and members < 2:
        raise InputError(
            "one potential has no members to disagree with",
            where="train.ensemble",
            seen=members,
            expected="at least 2, or train.uncertainty: laplace",
        )
    if uncertainty is Uncertainty.ENSEMBLE:
        return
    if not isinstance(family, FitsTellDeviations) or not family.fits_tell_deviations:
        raise InputError(
            f"fits of the family {family.name} with these settings do not know what labels leave undecided",
            where="train.uncertainty",
            seen=str(uncertainty),
            expected=str(Uncertainty.ENSEMBLE),
        )


def root_mean_square(parts: Sequence[Prediction]) -> Prediction:
    """Of several deviations of the same frames, number by number."""
    found: dict[str, FloatArray] = {}
    for name in QUANTITIES:
        values = [getattr(p, name) for p in parts]
        if all(v is not None for v in values):
            found[name] = np.sqrt(np.mean(np.square(values), axis=0))
    return Prediction(parts[0].counts, **found)
