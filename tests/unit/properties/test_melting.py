"""Crystal and liquid put together, the search between them, and iron that melts where it is known to."""

from __future__ import annotations

import numpy as np
import pytest

from exact_potentials import alone, bcc, fcc
from lammps_potential import mendelev_iron
from magflow.explore.geometry import nearest_distance, repeated
from magflow.properties import melting
from magflow.properties.base import Work
from magflow.properties.coexistence import Bracket, cut, fitted, grew, melting_point, put_together
from magflow.properties.melting import Melting
from magflow.properties.phase import PhaseTest
from magflow.properties.subject import Subject
from pair_potential import ShortLennardJones

CRYSTAL = repeated(bcc(2.87), (4, 4, 5))


def shaken(frame, amplitude, seed=0):
    noise = np.random.default_rng(seed).normal(scale=amplitude, size=(len(frame), 3))
    return frame.replace(positions=frame.positions + noise)


def liquid():
    """Disordered, a little larger than the crystal, its atoms anywhere in space."""
    bigger = CRYSTAL.replace(cell=1.02 * CRYSTAL.cell, positions=1.02 * CRYSTAL.positions)
    return bigger.replace(positions=shaken(bigger, 0.5).positions + np.array([40.0, -7.0, 3.0]))


def test_fitted_liquid_has_the_cross_section_of_the_crystal_and_its_own_volume():
    found = fitted(liquid(), CRYSTAL, 2)
    assert np.allclose(found.cell[:2], CRYSTAL.cell[:2])
    assert found.volume == pytest.approx(liquid().volume)
    before, after = (f.positions @ np.linalg.inv(f.cell) for f in (liquid(), found))
    assert np.allclose(before, after)


def test_a_crystal_is_cut_between_two_layers():
    """Layers half a lattice parameter apart, shaken, the first at the edge of the cell: none is cut through."""
    found = cut(shaken(CRYSTAL, 0.05), 2)
    height = found.positions[:, 2]
    layers = np.round(height / (2.87 / 2) - 0.5)
    assert sorted(set(layers)) == list(range(10)) and all((layers == k).sum() == 16 for k in range(10))
    assert height.min() > 0.3 and CRYSTAL.cell[2, 2] - height.max() > 0.3


def test_put_together_without_overlap():
    hot = shaken(CRYSTAL, 0.1)
    both, n = put_together(hot, liquid()), len(CRYSTAL)
    assert len(both) == 2 * n and both.species[:n] == hot.species
    assert np.allclose(both.cell[:2], hot.cell[:2]), "the longest way is the third"
    assert nearest_distance(both) == pytest.approx(min(nearest_distance(hot), nearest_distance(liquid())), rel=0.03)
    share = both.volume / (hot.volume + liquid().volume)
    assert 1.0 <= share < 1.15, "gaps as wide as need be"
    test = PhaseTest.calibrated([hot], [liquid()])
    assert test.crystalline(both) == pytest.approx(0.5, abs=0.12)
    assert test.crystalline(both.replace(positions=both.positions + np.array([0.0, 0.0, 9.0]))) == pytest.approx(
        test.crystalline(both)
    )


def test_atoms_that_would_lie_on_top_of_each_other_are_held_apart():
    """Two crystals whose first and last layers come to lie at the same places."""
    half = CRYSTAL.replace(positions=CRYSTAL.positions + 0.01)
    assert nearest_distance(put_together(half, half)) >= 0.999 * nearest_distance(half) - 1e-6


def test_moments_stay_with_their_atoms():
    hot = repeated(bcc(2.87, moment=2.2), (4, 4, 5))
    both = put_together(hot, hot.replace(magmoms=-hot.magmoms))
    assert both.magmoms[: len(hot), 2] == pytest.approx(2.2) and both.magmoms[len(hot) :, 2] == pytest.approx(-2.2)


@pytest.mark.parametrize("known", [60.0, 94.0, 103.0, 100.0, 300.0])
@pytest.mark.parametrize("step", [0.01, 0.1])
def test_the_search_closes_in_on_the_melting_point(known, step):
    bracket, tried = Bracket(100.0, step), []
    while not bracket.narrow(0.02):
        tried.append(bracket.next)
        bracket = bracket.told(bracket.next, crystal_grew=bracket.next < known)
    assert bracket.low < known <= bracket.high
    assert bracket.width <= 0.0201 * bracket.middle and abs(bracket.middle - known) <= bracket.width / 2
    assert len(tried) == len(set(tried)) <= melting.TRIALS


def test_steps_double_while_one_end_is_missing():
    bracket = Bracket(100.0, 0.1)
    for expected in (100.0, 110.0, 132.0, 184.8):
        assert bracket.next == pytest.approx(expected)
        bracket = bracket.told(bracket.next, crystal_grew=True)
    assert bracket.high is None and not bracket.narrow(0.5)
    assert bracket.told(bracket.next, crystal_grew=False).next == pytest.approx(0.5 * (184.8 + 184.8 * 1.8))


def test_which_phase_grows():
    time = np.linspace(0.0, 10.0, 21)
    assert grew(time, np.linspace(0.5, 0.9, 21)) and not grew(time, np.linspace(0.5, 0.1, 21))
    assert grew(time, 0.5 + 0.02 * time) and not grew(time, 0.5 - 0.02 * time)
    assert grew(time, np.where(time < 4.0, 0.5 - 0.05 * time, 0.3 + 0.01 * (time - 4.0))), "the second half counts"


def test_error_comes_from_brackets_and_seeds():
    alike = [Bracket(100.0, 0.1, 98.0, 102.0)] * 4
    assert melting_point(alike).value == 100.0
    assert melting_point(alike).error == pytest.approx(2.0 / np.sqrt(3.0)), "half the width / sqrt(3)"
    apart = [Bracket(0.0, 0.1, t, t + 1e-9) for t in (97.0, 99.0, 101.0, 103.0)]
    assert melting_point(apart).error == pytest.approx(np.std([97, 99, 101, 103], ddof=1) / 2.0)


def argon() -> Subject:
    return Subject(alone(ShortLennardJones()), "fcc-Ar", fcc(5.5, "Ar"))


def test_what_boils_as_it_melts_is_told(tmp_path):
    """This short-ranged argon has no liquid without pressure."""
    found = Melting(atoms=64, timestep=10.0, picoseconds=0.4).measure(argon(), Work(tmp_path))
    assert found.failure.startswith("what melts boils at once") and "a higher pressure" in found.failure
    assert not found.values and not found.curves


@pytest.mark.slow
def test_iron_of_mendelev_melts_at_1772_K(tmp_path, record_testsuite_property):
    """Mendelev et al., Philos. Mag. 83, 3977 (2003): 1772 K by coexistence of large phases; small cells differ."""
    subject = Subject(alone(mendelev_iron()), "bcc-Fe", bcc(2.86))
    found = Melting(atoms=500, seeds=2, resolution=0.04, picoseconds=30.0, timestep=3.0).measure(
        subject, Work(tmp_path)
    )
    assert not found.failure
    value = found.value("melting temperature")
    record_testsuite_property(
        "melting temperature of iron", f"{value.value:.0f} +- {value.error:.0f} K, {found.cpu_seconds:.0f} CPU s"
    )
    assert value.error is not None and value.error < 0.05 * value.value, "seeds of so small cells scatter by 50 K"
    assert value.value == pytest.approx(1772.0, abs=0.03 * 1772.0 + 2.0 * value.error)
