"""The penalty functional: gradient, digits, and the proof that it is the one VASP used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magflow.dft.vasp.constraint import Held, _missed, consistency
from magflow.dft.vasp.penalty import (
    PenaltyOutput,
    Target,
    energy_mismatch,
    penalty_energy,
    penalty_gradient,
    read_oszicar,
    refined,
)
from replay_vasp import Result, Run, oszicar

MODES = (1, 2, 4)
MANUAL = """ E_p =  0.36856E-07  lambda =  0.500E+02
<lVp>=  0.30680E-02
 DBL = -0.30680E-02
 ion        MW_int                 M_int
  1 -0.565  0.000  0.000 -0.770  0.000  0.000
  2  0.565  0.000  0.000  0.770  0.000  0.000
  3 -0.565  0.000  0.000 -0.770  0.000  0.000
  4  0.565  0.000  0.000  0.770  0.000  0.000
DAV:   8    -0.133293620177E+03    0.15284E-05   -0.29410E-08  4188   0.144E-03    0.119E-04
"""
"""As printed in VASP's manual, "Constraining the direction of magnetic moments"."""


def case(seed: int, mode: int) -> tuple[Target, np.ndarray]:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 6))
    targets = rng.normal(0, 1.5, (n, 3))
    return Target(mode, targets, rng.random(n) < 0.7), targets + rng.normal(0, 0.2, (n, 3))


@pytest.mark.parametrize("mode", MODES)
@given(seed=st.integers(0, 2**32 - 1), strength=st.floats(0.1, 50))
def test_gradient_is_the_derivative_of_the_energy(mode, seed, strength):
    target, moments = case(seed, mode)
    gradient = penalty_gradient(target, strength, moments)
    h = 1e-5
    for index in np.ndindex(moments.shape):
        step = np.zeros_like(moments)
        step[index] = h
        slope = (
            penalty_energy(target, strength, moments + step) - penalty_energy(target, strength, moments - step)
        ) / (2 * h)
        assert slope == pytest.approx(gradient[index], abs=1e-5 * strength)
    assert not gradient[~target.held].any()


def test_only_the_vector_mode_holds_the_length():
    target = Target(2, np.array([[0, 0, 2.0]]), np.array([True]))
    long = np.array([[0, 0, 2.3]])
    assert penalty_gradient(target, 10.0, long)[0, 2] == pytest.approx(6.0)
    for mode in (1, 4):
        assert not penalty_gradient(replace(target, mode=mode), 10.0, long).any()
        assert penalty_energy(replace(target, mode=mode), 10.0, long) == 0


def test_only_mode_4_tells_parallel_from_antiparallel():
    target = Target(1, np.array([[0, 0, 2.0]]), np.array([True]))
    opposite = np.array([[0, 0, -2.0]])
    assert penalty_energy(target, 10.0, opposite) == 0
    assert target.reversed(opposite).all()
    assert penalty_energy(replace(target, mode=4), 10.0, opposite) == pytest.approx(40.0)


@pytest.mark.parametrize("mode", MODES)
def test_the_magnetic_force_points_from_the_target_to_the_free_moment(mode):
    """A moment that wants to grow ends above its target in mode 2: -dE/dM is positive there."""
    target = Target(mode, np.array([[0, 0, 2.0]]), np.array([True]))
    force = penalty_gradient(target, 5.0, np.array([[0.1, 0, 2.0]]))
    assert force[0, 0] > 0  # leans towards x: the energy falls towards x


def test_the_example_of_the_manual(tmp_path):
    (tmp_path / "OSZICAR").write_text(MANUAL)
    output = read_oszicar(tmp_path / "OSZICAR", 4)
    assert output is not None
    assert (output.energy, output.strength, output.resolution) == (0.36856e-07, 50.0, 0.0005)
    np.testing.assert_array_equal(output.moments[:, 0], [-0.565, 0.565, -0.565, 0.565])
    assert output.field is None
    directions = np.array([[-1.0, 0, 0], [1, 0, 0], [-1, 0, 0], [1, 0, 0]])
    assert energy_mismatch(output, Target(1, directions, np.ones(4, bool))) is None
    assert "another order" in str(energy_mismatch(output, Target(1, directions[:, ::-1], np.ones(4, bool))))


@pytest.mark.parametrize(
    "text", ["", "E_p = 0.1E-03 lambda = 0.1E+02", MANUAL.split("  4 ")[0], MANUAL.replace("-0.565  0", "******  0")]
)
def test_an_incomplete_table_is_none(tmp_path, text):
    (tmp_path / "OSZICAR").write_text(text)
    assert read_oszicar(tmp_path / "OSZICAR", 4) is None


def printed(target: Target, strength: float, moments: np.ndarray, field: bool = True) -> PenaltyOutput:
    """What three decimals and five digits leave."""
    deviation = target.deviation(moments)
    values = np.array([float(f"{x:.4E}") for x in (strength * deviation).ravel()]).reshape(-1, 3)
    energy = float(f"{penalty_energy(target, strength, moments):.4E}")
    return PenaltyOutput(energy, strength, moments.round(3), 5e-4, values if field else None)


@pytest.mark.parametrize("mode", (1, 2))
@given(seed=st.integers(0, 2**32 - 1), strength=st.floats(5, 50))
def test_the_field_gives_the_digits_that_three_decimals_lose(mode, seed, strength):
    target, moments = case(seed, mode)
    moments = target.moments + 0.1 * (moments - target.moments)
    output = refined(printed(target, strength, moments), target)
    exact = penalty_gradient(target, strength, moments)
    error = np.abs(penalty_gradient(target, strength, output.moments) - exact).max(initial=0)
    if mode == 2:
        assert error <= 1e-4 * np.abs(exact).max(initial=0) + 1e-9
    assert error <= 2 * strength * 5e-4 + 1e-9
    assert energy_mismatch(output, target) is None


@given(seed=st.integers(0, 2**32 - 1))
def test_a_field_of_another_definition_is_not_used(seed):
    target, moments = case(seed, 2)
    output = printed(target, 10.0, moments)
    other = replace(output, field=2 * output.field)
    np.testing.assert_array_equal(refined(other, target).moments, output.moments)


def test_a_field_must_give_the_penalty_however_near_it_is():
    """Digits of 0.001 muB allow a deviation of 0.0015 as well as one of 0.001; the energy tells which it is."""
    target = Target(2, np.array([[0.0, 0.0, 1.0]]), np.array([True]))
    near = PenaltyOutput(10.0 * 0.001**2, 10.0, np.array([[0.0, 0.0, 1.001]]), 5e-4, np.array([[0.0, 0.0, 0.015]]))
    assert refined(near, target) is near
    agreeing = replace(near, energy=10.0 * 0.0015**2)
    assert refined(agreeing, target).moments[0, 2] == pytest.approx(1.0015)


@pytest.mark.parametrize("mode", MODES)
def test_a_moment_that_points_backwards_misses_by_all_of_it(mode):
    """Across its direction it is off by nothing."""
    target = Target(mode, np.array([[0.0, 0.0, 2.0], [0.0, 0.0, 2.0]]), np.array([True, False]))
    assert _missed(target, np.array([[0.0, 0.0, -1.0], [0.0, 0.0, -9.0]])) == pytest.approx(3.0)
    assert _missed(target, np.array([[0.0, 0.0, 2.0], [0.0, 0.0, -9.0]])) == 0.0


@given(seed=st.integers(0, 2**32 - 1), mode=st.sampled_from(MODES))
def test_a_penalty_of_other_targets_shows(seed, mode):
    target, moments = case(seed, mode)
    target = replace(target, held=np.ones_like(target.held))
    output = refined(printed(target, 25.0, moments), target)
    assert energy_mismatch(output, target) is None
    assert energy_mismatch(output, replace(target, moments=target.moments + np.array([3.0, -1.0, 2.0]))) is not None


@pytest.mark.parametrize("factor", (-1.0, 0.5, 2.0))
def test_forces_of_the_wrong_sign_or_size_disagree_with_the_energies(factor):
    """E0 = K m^2 / 2 along one moment: F = -K m."""
    k, a, b = 4.0, 0.30, 0.38

    def held(m: float) -> Held:
        moments = np.array([[0, 0, m]])
        return Held(moments, -k * moments, np.zeros(1), 0.0, 0.0, True, {})

    def energy(m: float) -> float:
        return 0.5 * k * m**2

    right = consistency(energy(a), held(a), energy(b), held(b))
    assert right.error < 1e-12
    assert right.holds(5e-3)
    wrong = [replace(held(m), magnetic_forces=factor * held(m).magnetic_forces) for m in (a, b)]
    assert not consistency(energy(a), wrong[0], energy(b), wrong[1]).holds(5e-3)


def test_the_replayed_file_has_the_layout_of_the_manual(tmp_path):
    run = Run.__new__(Run)
    run.mode, run.constraint, run.deltaspin, run.strength, run.steps = "", 1, False, 50.0, 3
    moments = np.array([[-0.565, 0, 0], [0.565, 0, 0]])
    zeros = np.zeros((2, 3))
    (tmp_path / "OSZICAR").write_text(oszicar(run, Result(-1.0, 1e-7, zeros, zeros, moments, zeros, zeros)))
    output = read_oszicar(tmp_path / "OSZICAR", 2)
    assert output is not None
    assert (output.energy, output.strength, output.resolution) == (1e-7, 50.0, 5e-4)
    np.testing.assert_array_equal(output.moments, moments)
