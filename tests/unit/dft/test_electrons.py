"""Density of states at the Fermi level and the d band, from eigenvalues whose answer is known."""

from __future__ import annotations

import netCDF4
import numpy as np
import pytest

from magflow.dft.abinit.output import _d_character
from magflow.dft.electrons import BROADENING, WINDOW, electronic_structure

PEAK = 1.0 / (BROADENING * np.sqrt(2.0 * np.pi))


def test_a_state_at_the_fermi_level_counts_by_its_weight_and_per_atom():
    energies = np.array([[[0.0, 50.0], [50.0, 60.0]]])
    found = electronic_structure(energies, np.array([0.25, 0.75]), 4)
    assert found == {"dos_fermi_per_ev_atom": pytest.approx(2.0 * 0.25 * PEAK / 4)}


def test_both_spins_add_up_to_what_a_non_magnetic_calculation_says():
    energies = np.random.default_rng(1).normal(0.0, 1.0, (1, 3, 5))
    weights = np.array([0.2, 0.3, 0.5])
    shares = np.random.default_rng(2).uniform(0.0, 1.0, (1, 3, 5))
    one = electronic_structure(energies, weights, 2, shares)
    two = electronic_structure(np.repeat(energies, 2, 0), weights, 2, np.repeat(shares, 2, 0))
    assert two == pytest.approx(one)


def test_centre_and_width_of_two_levels():
    found = electronic_structure(np.array([[[-3.0, 1.0]]]), np.ones(1), 1, np.ones((1, 1, 2)))
    assert found["d_centre_ev"] == pytest.approx(-1.0)
    assert found["d_width_ev"] == pytest.approx(2.0)


def test_semicore_states_and_states_without_d_character_do_not_count():
    energies = np.array([[[-WINDOW - 20.0, -2.0, 3.0]]])
    found = electronic_structure(energies, np.ones(1), 1, np.array([[[1.0, 0.5, 0.0]]]))
    assert (found["d_centre_ev"], found["d_width_ev"]) == pytest.approx((-2.0, 0.0))


def test_without_any_d_character_there_is_no_band():
    assert set(electronic_structure(np.zeros((1, 1, 1)), np.ones(1), 1, np.zeros((1, 1, 1)))) == {
        "dos_fermi_per_ev_atom"
    }


def test_fractions_of_abinit_are_counted_by_atom_then_by_l(tmp_path):
    """Two atoms, l = 0 to 4; (fraction, spin, band, k-point) in the file."""
    path = tmp_path / "runo_FATBANDS.nc"
    values = np.zeros((10, 1, 3, 2))
    values[2, 0, 1, 0], values[7, 0, 1, 0], values[3] = 0.25, 0.5, 0.125
    with netCDF4.Dataset(path, "w") as nc:
        for name, n in zip("fsbk", values.shape, strict=True):
            nc.createDimension(name, n)
        nc.createVariable("dos_fractions", "f8", tuple("fsbk"))[...] = values
    found = _d_character(path, 2)
    assert found.shape == (1, 2, 3)
    assert found[0, 0, 1] == 0.75
    assert found.sum() == 0.75
    assert _d_character(tmp_path / "nowhere.nc", 2) is None
