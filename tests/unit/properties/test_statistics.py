"""Errors and equilibration of correlated series whose correlation is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from magflow.properties.statistics import average, equilibration, inefficiency


def autoregressive(n, phi, seed):
    """x_t = phi x_(t-1) + noise, of unit variance: the inefficiency is (1 + phi) / (1 - phi)."""
    rng = np.random.default_rng(seed)
    noise = np.sqrt(1 - phi**2) * rng.normal(size=n)
    noise[0] = rng.normal()
    return lfilter([1.0], [1.0, -phi], noise)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, 0.98, -0.3])
def test_inefficiency_of_an_autoregressive_series(phi):
    found = np.mean([inefficiency(autoregressive(20_000, phi, seed)) for seed in range(8)])
    assert found == pytest.approx(max(1.0, (1 + phi) / (1 - phi)), rel=0.1)


def test_errors_are_those_of_the_scatter_of_many_means():
    averages = [average([autoregressive(4000, 0.95, seed)]) for seed in range(300)]
    scatter = np.std([a.value for a in averages])
    assert np.mean([a.error for a in averages]) == pytest.approx(scatter, rel=0.12)
    covered = np.mean([abs(a.value) < 2.0 * a.error for a in averages])
    assert covered > 0.9


def test_a_constant_has_no_error():
    assert average([np.full(100, 3.0)]).value == 3.0
    assert average([np.full(100, 3.0)]).error == 0.0


def test_the_transient_is_cut():
    x = autoregressive(5000, 0.9, 3)
    transient = 8.0 * np.exp(-np.arange(5000) / 150.0)
    cut = equilibration(x + transient)
    assert 300 <= cut <= 1200
    assert equilibration(x) <= 500
    assert equilibration(x, x + transient) == cut  # the slowest decides


def test_runs_of_unequal_length_count_by_their_length():
    long, short = np.arange(300.0), np.full(100, 100.0)
    assert average([long, short]).value == pytest.approx(np.concatenate([long, short]).mean())


def test_runs_that_differ_by_more_than_they_say_tell_by_their_scatter():
    runs = [autoregressive(1000, 0.5, seed) * 0.01 + offset for seed, offset in enumerate((0.0, 1.0, 2.0, 3.0))]
    means = [x.mean() for x in runs]
    assert average(runs).error == pytest.approx(np.std(means, ddof=1) / 2.0)
