"""Words that documents and campaign files hold: kinds of labels and of failures, what deviations are made of.

They need no array: who only reads documents waits for none. The modules of the things they describe name them, too.
"""

from __future__ import annotations

from enum import StrEnum


class LabelKind(StrEnum):
    """What was asked of the electronic structure; labels of two kinds are never mixed silently."""

    CONSTRAINED = "constrained"
    SPIN_POLARISED = "spin-polarised"
    NON_MAGNETIC = "non-magnetic"


class FailureKind(StrEnum):
    """Why a calculation gave no usable label."""

    INVALID_INPUT = "invalid-input"
    SCF_UNCONVERGED = "scf-unconverged"
    MOMENT_TARGET_MISSED = "moment-target-missed"
    GHOST_STATE = "ghost-state"
    OVERLAPPING_SPHERES = "overlapping-spheres"
    MIXED_FUNCTIONALS = "mixed-functionals"
    MISSING_DATASET = "missing-dataset"
    CRASH = "crash"
    TIME_LIMIT = "time-limit"
    TRUNCATED_OUTPUT = "truncated-output"
    INCONSISTENT = "inconsistent"
    SUSPECT = "suspect"
    WORKER_LOST = "worker-lost"


class Uncertainty(StrEnum):
    """Where the deviation of a prediction comes from."""

    ENSEMBLE = "ensemble"
    """Sample standard deviation of the members' predictions."""
    LAPLACE = "laplace"
    """What the labels leave undecided around each fit (Laplace's approximation); one fit is enough."""
    BOTH = "both"
    """Root mean square of the two."""

    @property
    def needs_bags(self) -> bool:
        """Whether members have to differ by the labels they learn from."""
        return self is Uncertainty.ENSEMBLE


class MomentsOf(StrEnum):
    """What the moments do while an atom is displaced."""

    CLAMPED = "clamped"
    """They stay: d2E/dr2 at fixed moments."""
    RELAXED = "relaxed"
    """They follow, as in a spin-polarised calculation without constraint."""

    @classmethod
    def at(cls, kind: LabelKind) -> MomentsOf:
        """What they do in calculations of a kind."""
        return cls.RELAXED if kind == LabelKind.SPIN_POLARISED else cls.CLAMPED
