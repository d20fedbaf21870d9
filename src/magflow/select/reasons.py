"""Why a frame was chosen or left out: exactly one reason for every frame offered."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """What the selection decided about one frame."""

    SELECTED = "selected"
    FILLED = "selected-to-fill"
    DRAWN = "selected-at-random"
    TOO_CLOSE = "atoms-too-close"
    BAD_VOLUME = "volume-out-of-range"
    BAD_MOMENT = "moment-out-of-range"
    FORCE_TOO_LARGE = "force-too-large"
    DUPLICATE_OF_TRAINING = "duplicate-of-training"
    DUPLICATE_IN_POOL = "duplicate-in-pool"
    UNKNOWN_DEVIATION = "deviation-not-finite"
    BELOW_TRUST = "below-trust"
    ABOVE_TRUST = "above-trust"
    QUOTA_FULL = "quota-full"
    OUTRANKED = "outranked"
    NOT_DIVERSE = "not-diverse"
    NOT_DRAWN = "not-drawn"
    OVER_BUDGET = "over-budget"

    @property
    def selected(self) -> bool:
        """True for the frames that are to be labelled."""
        return self in (Reason.SELECTED, Reason.FILLED, Reason.DRAWN)
