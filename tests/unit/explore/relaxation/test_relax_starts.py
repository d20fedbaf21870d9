"""Several starts: which there are, and that the lowest end is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from relax_cases import BOUNDS, cube, distorted

from magflow.dft.spin_lattice import SpinLatticeModel
from magflow.errors import InputError
from magflow.explore.relaxation.held import Held
from magflow.explore.relaxation.settings import RelaxSettings
from magflow.explore.relaxation.starts import LOW_SPIN, moment_starts, relax_from_starts

MODEL = SpinLatticeModel()
STILL = RelaxSettings(held={Held.CELL, Held.ATOMS})


def along_z(starts):
    return {name: frame.magmoms[:, 2].tolist() for name, frame in starts.items()}


def test_the_starts_of_an_antiferromagnet():
    starts = along_z(moment_starts(cube(("Fe", "Fe"), 2.85, [1.5, -1.0]), BOUNDS))
    low = LOW_SPIN * 3.0
    # Fe reversed is the time reversal of what is given
    assert starts == {
        "given": [1.5, -1.0],
        "parallel": [1.5, 1.0],
        "high-spin": [3.0, -3.0],
        "low-spin": pytest.approx([low, -low]),
    }


def test_two_magnetic_elements_are_reversed_in_turn():
    bounds = {"Fe": (0.0, 3.0), "Al": (0.0, 1.0)}
    starts = along_z(moment_starts(cube(("Fe", "Al"), 2.85, [2.0, 0.5]), bounds))
    # Al reversed is the time reversal of Fe reversed; parallel is what is given
    assert list(starts) == ["given", "Fe reversed", "high-spin", "low-spin"]
    assert starts["Fe reversed"] == [-2.0, 0.5]


def test_induced_moments_keep_what_they_are_given():
    for frame in moment_starts(cube(("Fe", "Al"), 2.85, [2.0, -0.1]), BOUNDS).values():
        assert abs(frame.magmoms[1, 2]) == 0.1


def test_without_moments_nothing_is_reversed():
    starts = moment_starts(cube(("Fe", "Fe"), 2.85, None), BOUNDS)
    assert list(starts) == ["parallel", "low-spin"]


def test_starts_stay_inside_the_bounds():
    for frame in moment_starts(cube(("Fe", "Fe"), 2.85, [5.0, -4.0]), {"Fe": (0.0, 2.5)}).values():
        assert np.abs(frame.magmoms).max() <= 2.5


def test_an_element_without_moments_has_no_starts():
    with pytest.raises(InputError, match="no element carries a moment"):
        moment_starts(cube(("Al", "Al"), 2.85, [0.0, 0.0]), {"Al": (0.0, 0.0)})


@pytest.mark.parametrize("settings", [STILL, RelaxSettings()], ids=["moments", "joint"])
def test_the_ferromagnet_is_found_from_an_antiferromagnetic_start(settings):
    found = relax_from_starts(distorted(("Fe", "Fe"), 0, moments=(2.0, -2.0)), MODEL, BOUNDS, settings)
    given = found.relaxations["given"]
    assert given.converged
    assert found.best.converged
    assert found.best.enthalpy < given.enthalpy - 0.01
    assert found.best.enthalpy == pytest.approx(min(r.enthalpy for r in found.relaxations.values()), abs=1e-6)
    assert (found.best.frame.magmoms[:, 2] > 2.0).all()


def test_a_start_that_converged_comes_before_one_that_did_not():
    """However deep the others are."""
    cut = RelaxSettings(held={Held.CELL, Held.ATOMS}, max_evaluations=5)
    found = relax_from_starts(cube(("Fe", "Fe"), 2.84, [2.18, 2.18]), MODEL, BOUNDS, cut)
    states = {name: r.converged for name, r in found.relaxations.items()}
    assert True in states.values()
    assert states[found.lowest]
