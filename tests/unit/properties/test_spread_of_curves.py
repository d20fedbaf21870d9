"""The spread of a curve over the members of an ensemble."""

from __future__ import annotations

import numpy as np
import pytest

from magflow.properties.measurement import SPREAD, Reading, curves_with_spread


def reading(x: list[float], y: list[float]) -> Reading:
    return Reading((), {"line": {"x": np.array(x), "y": np.array(y)}})


def test_members_with_another_abscissa_are_left_out():
    mean, low, high = (reading([0.0, 1.0], [0.0, y]) for y in (2.0, 1.0, 3.0))
    short = reading([0.0], [9.0])
    found = curves_with_spread(mean, [low, short, high])["line"]
    assert found[SPREAD + "y"] == pytest.approx([0.0, np.sqrt(2.0)])
    assert SPREAD + "x" not in found
    assert set(curves_with_spread(mean, [low, short])["line"]) == {"x", "y"}
