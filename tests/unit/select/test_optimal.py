"""The batch of least expected error: against direct inverses, and what it promises for any rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magflow.core.undecided import Rows
from magflow.errors import InputError
from magflow.select.optimal import Aim, compressed, optimal_batch

FAST = settings(max_examples=25, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)


def rows_of(parts) -> Rows:
    return Rows(np.concatenate(parts), np.cumsum([0] + [len(p) for p in parts]))


def problem(seed: int, n: int = 9, q: int = 6):
    """Rows of n frames with 1 to 4 rows each, and an aim along the axes."""
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=(int(rng.integers(1, 5)), q)) * rng.lognormal() for _ in range(n)]
    return parts, np.sort(rng.lognormal(size=q))[::-1]


def expected_error(parts, chosen, sizes) -> float:
    """tr(C T) by a direct inverse."""
    information = np.eye(len(sizes)) + sum((parts[f].T @ parts[f] for f in chosen), np.zeros((len(sizes),) * 2))
    return float(np.trace(np.linalg.inv(information) @ np.diag(sizes)))


@FAST
@given(SEEDS)
def test_every_gain_is_that_of_a_direct_inverse_and_the_largest_there_is(seed):
    parts, sizes = problem(seed)
    found = optimal_batch(rows_of(parts), sizes, 5)
    chosen = found.chosen.tolist()
    assert len(set(chosen)) == 5
    assert found.before == pytest.approx(expected_error(parts, [], sizes))
    for k, gain in enumerate(found.gains):
        before = expected_error(parts, chosen[:k], sizes)
        others = [f for f in range(len(parts)) if f not in chosen[:k]]
        gains = {f: before - expected_error(parts, [*chosen[:k], f], sizes) for f in others}
        assert abs(gain - gains[chosen[k]]) < 1e-10 * found.before
        assert gain > max(gains.values()) - 1e-9 * found.before
        assert gain > 0.0


@FAST
@given(SEEDS, st.integers(1, 4))
def test_updates_stay_exact_where_the_prior_is_a_million_times_as_wide_as_the_noise(seed, wide):
    parts, sizes = problem(seed)
    scale = np.ones(len(sizes))
    scale[:wide] = 1e3
    parts, sizes = [p * scale for p in parts], sizes * scale**2
    found = optimal_batch(rows_of(parts), sizes, 6)
    left = found.before - found.gains.sum()
    assert left == pytest.approx(expected_error(parts, found.chosen, sizes), abs=1e-10 * found.before)


@FAST
@given(SEEDS)
def test_the_order_of_the_frames_does_not_matter_and_a_batch_begins_with_a_smaller_one(seed):
    parts, sizes = problem(seed)
    order = np.random.default_rng(seed).permutation(len(parts))
    first = optimal_batch(rows_of(parts), sizes, 4).chosen
    other = optimal_batch(rows_of([parts[i] for i in order]), sizes, 4).chosen
    assert order[other].tolist() == first.tolist()
    assert optimal_batch(rows_of(parts), sizes, 1).chosen.tolist() == first[:1].tolist()


@FAST
@given(SEEDS)
def test_costs_divide_gains_and_a_common_one_changes_nothing(seed):
    parts, sizes = problem(seed)
    rows, rng = rows_of(parts), np.random.default_rng(seed)
    costs = rng.lognormal(size=len(parts))
    first = int(optimal_batch(rows, sizes, 1, costs=costs).chosen[0])
    before = expected_error(parts, [], sizes)
    worth = [(before - expected_error(parts, [f], sizes)) / costs[f] for f in range(len(parts))]
    assert worth[first] == pytest.approx(max(worth))
    same = optimal_batch(rows, sizes, 4, costs=np.full(len(parts), 7.0)).chosen
    assert same.tolist() == optimal_batch(rows, sizes, 4).chosen.tolist()


def test_a_twin_of_a_chosen_frame_waits_for_what_is_new():
    strong, new = np.array([[10.0, 0.0]]), np.array([[0.0, 1.0]])
    found = optimal_batch(rows_of([strong, strong, new]), np.array([1.0, 1.0]), 2)
    assert sorted(found.chosen) in ([0, 2], [1, 2])


def test_quotas_are_kept_and_end_the_batch():
    parts, sizes = problem(3, n=8)
    names = ["a", "b"] * 4
    found = optimal_batch(rows_of(parts), sizes, 6, strata=names, quotas={"a": 1, "b": 2})
    assert sorted(names[f] for f in found.chosen) == ["a", "b", "b"]


def test_the_leading_directions_hold_what_the_domain_varies_along(monkeypatch):
    monkeypatch.setattr("magflow.select.optimal.MOST_DIRECTIONS", 2)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))
    aim = Aim.of(turn @ np.diag([9.0, 1e-3, 4.0, 1e-4]) @ turn.T)
    np.testing.assert_allclose(aim.sizes, [9.0, 4.0])
    np.testing.assert_allclose(np.abs(aim.directions.T @ turn[:, [0, 2]]), np.eye(2), atol=1e-12)


def test_compressed_rows_choose_the_same():
    rng = np.random.default_rng(1)
    parts = [rng.normal(size=(40, 3)) @ rng.normal(size=(3, 12)) for _ in range(6)]
    sizes = np.linspace(5.0, 1.0, 12)
    tall, short = rows_of(parts), compressed(rows_of(parts))
    assert np.diff(short.begin).max() == 8
    a, b = (optimal_batch(r, sizes, 4) for r in (tall, short))
    assert a.chosen.tolist() == b.chosen.tolist()
    np.testing.assert_allclose(a.gains, b.gains, rtol=1e-9)


def test_rows_that_belong_to_no_frame_are_refused():
    with pytest.raises(InputError, match="no frame has"):
        Rows(np.zeros((3, 2)), np.array([0, 2]))
