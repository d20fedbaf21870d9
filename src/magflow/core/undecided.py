"""What labels leave undecided, told by a family that can: how batches of least expected error are chosen.

A family that can, linearises its predictions around a fit. With the posterior covariance W W^T of its unknowns each
predicted number, in units of its noise, is a row a = j W: |a|^2 is the variance the labels leave it, products of rows
are covariances. Nothing else has to be known to say how much a label would tell about any other frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.protocols import Potential
from magflow.core.types import FloatArray, IntArray
from magflow.errors import InputError


@dataclass(frozen=True, eq=False)
class Rows:
    """Whitened rows of n frames.

    Parameters
    ----------
    values
        (R, Q) one row per number that a label would hold, in units of its noise.
    begin
        (n + 1,) first row of each frame.

    Raises
    ------
    InputError
        If `begin` does not share out the rows.
    """

    values: FloatArray
    begin: IntArray

    def __post_init__(self) -> None:
        begin = self.begin
        if not len(begin) or begin[0] != 0 or begin[-1] != len(self.values) or (np.diff(begin) < 0).any():
            raise InputError("rows that no frame has", seen=f"{len(self.values)} rows, {begin[-1:]} shared out")

    def __len__(self) -> int:
        return len(self.begin) - 1


class Undecided(Protocol):
    """What some labels leave undecided."""

    @property
    def unknowns(self) -> int:
        """P, the number of columns of a row."""

    def rows(self, frames: Sequence[Frame], directions: FloatArray | None = None) -> Rows:
        """(R, P) rows of `frames`, or (R, Q) their components along `directions` (P, Q).

        Of each frame: energy, forces (3 N), stress (6), magnetic forces along z (N).
        """


@runtime_checkable
class TellsUndecided(Protocol):
    """A family that can tell what labels leave undecided."""

    def undecided(self, potential: Potential, labels: Sequence[LabeledFrame], *, seed: int) -> Undecided:
        """Around `potential`, one of this family, by all of `labels`, which it need not have seen all."""

    def undecided_before(
        self, alike: Sequence[LabeledFrame], *, elements: Sequence[str], seed: int, around: Potential | None = None
    ) -> Undecided:
        """Before there is any label: what the prior of a fit leaves undecided.

        `alike` are labels of a model in place of the real thing: they say how close atoms come and how large moments
        are, and give a potential to linearise around, unless one of this family is given; what they say of the energy
        counts for nothing.
        """
