"""What the properties at rest share: moments of a crystal, and columns drawn with the spread of the ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.types import FloatArray
from magflow.properties.measurement import SPREAD, Curve


def mean_moments(frames: Sequence[Frame]) -> FloatArray | None:
    """(n,) mean of the moments' magnitudes over the atoms of each frame, muB; None if one carries no moments."""
    moments = [f.magmoms for f in frames if f.magmoms is not None]
    if len(moments) < len(frames):
        return None
    return np.array([np.linalg.norm(m, axis=1).mean() for m in moments])


def line(panel: Any, curve: Curve, heads: tuple[str, str], scale: float, style: Mapping[str, Any]) -> None:
    """The second of two columns, times `scale`, against the first; its spread as a band."""
    x, y = np.asarray(curve[heads[0]]), scale * np.asarray(curve[heads[1]])
    panel.plot(x, y, **{"markersize": 3.0, **style})
    if SPREAD + heads[1] in curve:
        band = scale * np.asarray(curve[SPREAD + heads[1]])
        panel.fill_between(x, y - band, y + band, color=style["color"], alpha=0.18, linewidth=0)
