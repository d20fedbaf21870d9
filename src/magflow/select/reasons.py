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

    @property
    def meaning(self) -> str:
        """For a person."""
        return _MEANINGS[self]


_MEANINGS = {
    Reason.SELECTED: "to be labelled: it teaches most",
    Reason.FILLED: "to be labelled, though it counts as known: the batch had room",
    Reason.DRAWN: "to be labelled: drawn at random, to measure the error over the domain",
    Reason.TOO_CLOSE: "two atoms are closer than select.sanity allows",
    Reason.BAD_VOLUME: "volume per atom outside of what select.sanity allows",
    Reason.BAD_MOMENT: "a moment outside of system.moments",
    Reason.FORCE_TOO_LARGE: "the ensemble predicts a force beyond what select.sanity allows",
    Reason.DUPLICATE_OF_TRAINING: "as good as the same as a labelled frame",
    Reason.DUPLICATE_IN_POOL: "as good as the same as another frame on offer",
    Reason.UNKNOWN_DEVIATION: "the ensemble predicts no finite number",
    Reason.BELOW_TRUST: "known well enough: deviation below the lower trust level",
    Reason.ABOVE_TRUST: "too far off: deviation above the upper trust level",
    Reason.QUOTA_FULL: "its composition and magnetic state has had its share",
    Reason.OUTRANKED: "others teach more",
    Reason.NOT_DIVERSE: "much like another that was selected",
    Reason.NOT_DRAWN: "not looked at: not in the random sample",
    Reason.OVER_BUDGET: "would have been selected: no labels are left",
}
