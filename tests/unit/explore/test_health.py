"""What counts as a collapse or a flip, and how reasons are counted."""

from __future__ import annotations

import numpy as np
import pytest

from magflow.core.moments import as_vectors
from magflow.explore.health import HealthReason, counted, moment_changes

COLLAPSE, FLIP = HealthReason.MOMENT_COLLAPSE, HealthReason.MOMENT_FLIP


@pytest.mark.parametrize(
    ("before", "after", "reasons"),
    [
        ([2.0, 2.0], [2.2, 2.1], ()),
        ([2.0, 2.0], [-2.2, -2.1], ()),  # time reversal
        ([2.0, -2.0], [1.5, -1.4], ()),
        ([2.0, -2.0], [1.5, 1.4], (FLIP,)),
        ([2.0, 2.0], [2.0, 0.01], (COLLAPSE,)),
        ([2.0, -2.0, 1.0], [2.0, 2.0, 0.0], (COLLAPSE, FLIP)),
        ([2.0, 0.05], [2.0, -0.05], ()),  # a moment too small to have an orientation
        ([2.0, 0.15], [2.0, 0.0], ()),
        ([0.0, 0.0], [2.0, -2.0], ()),
    ],
)
def test_moment_changes(before, after, reasons):
    assert moment_changes(as_vectors(before, len(before)), as_vectors(after, len(after))) == reasons


def test_counts_only_what_was_met():
    assert counted([FLIP, COLLAPSE, FLIP]) == {"moment-collapse": 1, "moment-flip": 2}
    assert counted([]) == {}
    assert all(isinstance(k, str) and not isinstance(k, HealthReason) for k in counted([FLIP]))


def test_time_reversal_of_either_state_changes_nothing():
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = as_vectors(rng.normal(size=4), 4), as_vectors(rng.normal(size=4), 4)
        assert moment_changes(a, b) == moment_changes(-a, b) == moment_changes(a, -b)
