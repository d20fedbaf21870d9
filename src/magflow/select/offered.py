"""What a selection is given and what it gives back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from magflow.core.frame import Frame
from magflow.core.types import FloatArray, IntArray
from magflow.core.undecided import Undecided
from magflow.errors import InputError
from magflow.select.reasons import Reason


@dataclass(frozen=True, eq=False)
class Offered:
    """n frames to choose from and what is known about them.

    Parameters
    ----------
    frames, sources
        The frames and a word on where each came from.
    deviations
        Quantity to (n,) calibrated frame deviations (:meth:`EnsemblePrediction.frame_deviation`), house units. None
        while there is no ensemble.
    grades
        (n,) extrapolation grades, if the family has them.
    descriptors
        (n, d) descriptors for diversity; the invariants of the frames are used where there are none.
    max_forces
        (n,) largest predicted force on an atom, eV/A; for the limit on it.
    undecided
        What the labels so far leave undecided, if the family can tell; then a batch is chosen by what it tells about
        the domain (:mod:`magflow.select.optimal`), without it by deviation and diversity.
    costs
        (n,) core-seconds a label is expected to take; None: nobody knows.

    Raises
    ------
    InputError
        If an array is not as long as `frames`.
    """

    frames: Sequence[Frame]
    sources: Sequence[str]
    deviations: Mapping[str, FloatArray] | None = None
    grades: FloatArray | None = None
    descriptors: FloatArray | None = None
    max_forces: FloatArray | None = None
    undecided: Undecided | None = None
    costs: FloatArray | None = None

    def __post_init__(self) -> None:
        n = len(self.frames)
        lengths = {"sources": self.sources, "grades": self.grades, "descriptors": self.descriptors}
        lengths |= {"max_forces": self.max_forces, "costs": self.costs} | {
            f"deviations.{q}": d for q, d in (self.deviations or {}).items()
        }
        for name, values in lengths.items():
            if values is not None and len(values) != n:
                raise InputError(f"{name} has the wrong length", where="offered", seen=len(values), expected=str(n))

    def take(self, order: IntArray) -> Offered:
        """The frames of `order`, in that order."""
        return Offered(
            [self.frames[i] for i in order],
            [self.sources[i] for i in order],
            None if self.deviations is None else {q: np.asarray(d)[order] for q, d in self.deviations.items()},
            None if self.grades is None else np.asarray(self.grades)[order],
            None if self.descriptors is None else np.asarray(self.descriptors)[order],
            None if self.max_forces is None else np.asarray(self.max_forces)[order],
            self.undecided,
            None if self.costs is None else np.asarray(self.costs)[order],
        )


@dataclass(frozen=True, eq=False)
class Selection:
    """What was chosen, and a reason for every frame offered.

    Parameters
    ----------
    selected
        Indices into the offered frames, most wanted first.
    reasons
        (n,) one per frame offered.
    score
        (n,) see :mod:`magflow.select.uncertainty`; NaN where there is none.
    trust
        Low and high level of the calibrated frame deviation per quantity; empty without an ensemble.
    exhausted
        There was a budget and nothing to spend it on: no sane and new frame lay above the lower trust level.
    strata
        (n,) composition and magnetic ordering of each frame.
    """

    selected: IntArray
    reasons: tuple[Reason, ...]
    score: FloatArray
    trust: Mapping[str, tuple[float, float]]
    exhausted: bool
    strata: tuple[str, ...]

    @cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        """Stratum to reason to number of frames; what is zero is left out."""
        table: dict[str, dict[str, int]] = {}
        for (name, reason), n in sorted(Counter(zip(self.strata, map(str, self.reasons), strict=True)).items()):
            table.setdefault(name, {})[reason] = n
        return table
