"""Green-Kubo on stresses whose viscosity is known exactly: sums of Ornstein-Uhlenbeck processes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.spatial.transform import Rotation

from magflow.core.units import EV_PER_A3_IN_GPA, KB, tensor, voigt
from magflow.properties.green_kubo import autocorrelation, green_kubo, running_integral, shear_components
from magflow.properties.subject import UnmeasurableError

INTERVAL, VOLUME, TEMPERATURE = 0.01, 5000.0, 1811.0
DECAYS = ((0.008, 0.05), (0.004, 0.3))
"""Amplitude (eV/A^3) and correlation time (ps) of the parts of each component."""


def exact(decays):
    """Each correlation is the sum of a^2 exp(-t/tau), its integral that of a^2 tau."""
    return EV_PER_A3_IN_GPA * VOLUME / (KB * TEMPERATURE) * sum(a**2 * tau for a, tau in decays)


def stresses(random, runs, length, decays):
    """Runs (length, 6) whose five components are independent and alike."""
    made = []
    for _ in range(runs):
        five = np.zeros((length, 5))
        for amplitude, tau in decays:
            keep = np.exp(-INTERVAL / tau)
            kicks = amplitude * random.normal(size=(length, 5))
            kicks[1:] *= np.sqrt(1.0 - keep**2)
            five += lfilter([1.0], [1.0, -keep], kicks, axis=0)
        xy, xz, yz, difference, rest = five.T
        zz = -rest * np.sqrt(12.0) / 3.0
        made.append(np.stack([difference - zz / 2.0, -difference - zz / 2.0, zz, yz, xz, xy], axis=1))
    return made


def test_components_are_those_of_the_traceless_stress():
    random = np.random.default_rng(1)
    stress = random.normal(size=6)
    traceless = tensor(stress) - np.eye(3) * stress[:3].mean()
    assert (shear_components(stress) ** 2).sum() == pytest.approx(0.5 * (traceless**2).sum())
    turn = Rotation.random(rng=random).as_matrix()
    turned = voigt(turn @ tensor(stress) @ turn.T)
    assert (shear_components(turned) ** 2).sum() == pytest.approx((shear_components(stress) ** 2).sum())


def test_components_of_an_isotropic_stress_fluctuate_alike_and_independently():
    random = np.random.default_rng(2)
    shears = np.array([[0, 0, 0, 0, 0, 1.0]] * 20000)
    turns = Rotation.random(len(shears), rng=random).as_matrix()
    turned = np.array([voigt(r @ tensor(s) @ r.T) for s, r in zip(shears, turns, strict=True)])
    covariance = np.cov(shear_components(turned).T)
    assert np.allclose(covariance, np.eye(5) * np.trace(covariance) / 5, atol=0.01)


def test_autocorrelation_is_the_mean_over_all_origins():
    series = np.random.default_rng(3).normal(size=(57, 2))
    direct = [(series[: 57 - t] * series[t:]).mean(axis=0) for t in range(20)]
    assert np.allclose(autocorrelation(series, 20), direct)


def test_running_integral_of_a_line():
    t = np.linspace(0.0, 2.0, 11)
    assert np.allclose(running_integral(t, 0.2), t**2 / 2)


@pytest.mark.parametrize("decays", [DECAYS, ((0.006, 0.1),)], ids=["two", "one"])
def test_viscosity_within_its_error(decays):
    found = [
        green_kubo(stresses(np.random.default_rng(k), 6, 8000, decays), INTERVAL, VOLUME, TEMPERATURE) for k in range(6)
    ]
    values, errors = np.array([(g.viscosity, g.error) for g in found]).T
    assert values.mean() == pytest.approx(exact(decays), abs=3 * errors.mean() / np.sqrt(6))
    assert 0.3 < values.std(ddof=1) / errors.mean() < 2.5
    assert errors.mean() < 0.1 * exact(decays)


def test_curves_belong_to_the_number():
    found = green_kubo(stresses(np.random.default_rng(0), 6, 8000, DECAYS), INTERVAL, VOLUME, TEMPERATURE)
    assert found.correlation[0] == pytest.approx(EV_PER_A3_IN_GPA**2 * sum(a**2 for a, _ in DECAYS), rel=0.05)
    assert found.exponent == pytest.approx(0.5, abs=0.2)  # a random walk of independent noise
    inside = found.times <= found.cutoff
    assert np.all(found.fit[~inside] == found.viscosity) and found.fit[0] == 0.0
    assert found.fit[inside][-1] == pytest.approx(found.viscosity, rel=0.1)
    near = np.abs(found.integral - found.fit)[inside] < 4 * found.integral_error[inside] + 0.02 * found.viscosity
    assert near.mean() > 0.95


@pytest.mark.parametrize(
    ("decays", "runs", "length", "said"),
    [
        (((0.008, 0.05), (0.004, 20.0)), 60, 3000, "no plateau"),
        (((0.008, 0.05), (0.02, 400.0)), 3, 4000, "drowns"),
        (DECAYS, 60, 300, "no plateau"),
        (DECAYS, 3, 50, "too few"),
    ],
    ids=["slow", "glass", "short", "shorter"],
)
def test_no_plateau_is_refused(decays, runs, length, said):
    with pytest.raises(UnmeasurableError, match=said):
        green_kubo(stresses(np.random.default_rng(4), runs, length, decays), INTERVAL, VOLUME, TEMPERATURE)
