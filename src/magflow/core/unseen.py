"""What a fit would have said of the labels it learnt from, had it not: every label as one judged before it was learnt.

A label that was learnt from is predicted too well. Families that can tell what a fit to all other labels would have
said of it, without making that fit, give a campaign as many honest errors as it has labels, and errors of the present
potential instead of those of its predecessors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from magflow.core.label import LabeledFrame
from magflow.core.prediction import Prediction
from magflow.core.protocols import Potential


@runtime_checkable
class TellsUnseen(Protocol):
    """A family that can tell what fits to all labels but one say of that one."""

    def unseen(self, potential: Potential, labels: Sequence[LabeledFrame], *, seed: int) -> Prediction:
        """For each of `labels`, the different ones that `potential` was fitted to: by a fit to all others.

        Stresses are those of labels (:class:`~magflow.core.protocols.KnowsStressOffset`).
        """
