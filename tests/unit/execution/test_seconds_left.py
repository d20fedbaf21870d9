"""The upper bound on the time that labels will still take."""

from __future__ import annotations

import pytest

from magflow.execution.status import _seconds_left
from magflow.makers.documents import Purpose
from magflow.stores.tally import Sums


def tried(*labels):
    """Sums over labels that cost so many core-hours, each for a purpose."""
    sums = {purpose: Sums() for purpose in Purpose}
    for hours, purpose in labels:
        sums[purpose].add(Sums(1, hours, priced=hours > 0))
    return sums


def label(hours, purpose=Purpose.CAMPAIGN):
    return hours, purpose


@pytest.mark.parametrize("workers", [1, 4])
def test_labels_to_come_at_the_price_of_their_kind_shared_by_the_workers(workers):
    labels = tried(label(1.0), label(3.0), label(0.0), label(0.5, Purpose.PRETRAINING))
    wanted = {Purpose.CAMPAIGN: 10, Purpose.PRETRAINING: 3, Purpose.TEST: 1}
    hours = (7 + 1) * 2.0 + 2 * 0.5  # a label that was taken over cost nothing and says nothing of the price
    assert _seconds_left(labels, wanted, workers) == pytest.approx(hours * 3600 / workers)


def test_nothing_is_said_without_a_budget_or_a_price():
    assert _seconds_left(tried(label(1.0)), {}, 1) is None
    assert _seconds_left(tried(label(0.0)), {Purpose.CAMPAIGN: 2}, 1) is None
    assert _seconds_left(tried(label(0.0)), {Purpose.CAMPAIGN: 1}, 1) == 0.0
