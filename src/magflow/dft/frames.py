"""What a kind of label asks of a frame."""

from __future__ import annotations

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import LabelKind
from magflow.core.types import BoolArray


def held_atoms(frame: Frame) -> BoolArray:
    """(N,) which atoms a constrained label holds at their moment."""
    return np.ones(len(frame), bool) if frame.constrained is None else frame.constrained


def lacks_moments(frame: Frame, kind: LabelKind) -> str | None:
    """Why there is no label of `kind` without moments; None if `frame` has them or none are needed."""
    if frame.magmoms is not None or kind == LabelKind.NON_MAGNETIC:
        return None
    return f"a {kind} label needs moments and the frame has none"
