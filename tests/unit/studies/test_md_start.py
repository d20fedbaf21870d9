"""How a run of molecular dynamics starts: the options in the units of the house, and limits no sound run meets."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from magflow.core.dynamics import Pistons, in_ase_time, piston_mass
from magflow.core.frame import Frame
from magflow.core.statistics import CellMotion, Statistics
from magflow.core.units import EV_PER_A3_IN_GPA, KB
from magflow.dft.spin_lattice import SpinLatticeModel
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.studies.md.options import MdOptions
from magflow.studies.md.start import started

FRAME = Frame(("Fe", "Al"), 2.9 * np.eye(3), [[0, 0, 0], [1.45, 1.45, 1.45]], [1.5, 0.0])
ENSEMBLE = PotentialEnsemble((SpinLatticeModel(), SpinLatticeModel()), "model")
OPTIONS = MdOptions(
    Statistics.NPT, 600.0, 5.0, CellMotion.LENGTHS, 2.0, 8.0, 500.0, (1, 1, 1), None, {}, 100, 10.0, 0.3, 7
)


def test_options_become_an_integration_in_units_of_the_house():
    how = started(ENSEMBLE, FRAME, OPTIONS).integration
    assert (how.timestep, how.friction) == pytest.approx((in_ase_time(2.0), 8.0 / in_ase_time(1000.0)))
    assert how.pressure == pytest.approx(5.0 / EV_PER_A3_IN_GPA)
    assert how.piston_mass == pytest.approx(piston_mass(FRAME, 600.0, in_ase_time(500.0), Pistons.LENGTHS))
    for statistics, cell, pistons, bathed in (
        (Statistics.NPT, CellMotion.LENGTHS, Pistons.LENGTHS, True),
        (Statistics.NPT, CellMotion.VOLUME, Pistons.VOLUME, True),
        (Statistics.NVT, CellMotion.VOLUME, Pistons.NONE, True),
        (Statistics.NVE, CellMotion.VOLUME, Pistons.NONE, False),
    ):
        how = started(ENSEMBLE, FRAME, replace(OPTIONS, statistics=statistics, cell=cell)).integration
        assert (how.pistons, how.friction > 0) == (pistons, bathed)


def test_limits_are_those_of_the_cell_and_of_what_is_asked():
    limits = started(ENSEMBLE, FRAME, OPTIONS).limits
    energy = float(SpinLatticeModel().predict([FRAME]).energy[0])
    assert (limits.min_energy, limits.max_energy) == pytest.approx((energy - 6.0, energy + 6.0))  # 3 eV per atom
    assert limits.min_distance == pytest.approx(0.6 * 2.9 * math.sqrt(0.75))
    assert limits.max_kinetic == pytest.approx(1.5 * 2 * KB * 15 * 600.0)
    assert limits.max_deviation == 0.3
    cold = started(ENSEMBLE, FRAME, replace(OPTIONS, temperature=1.0, deviation_stop=None)).limits
    assert cold.max_kinetic == pytest.approx(1.5 * 2 * KB * 15 * 300.0) and cold.max_deviation == math.inf


def test_velocities_follow_the_seed_and_leave_the_cell_where_it_is():
    one, same, other = (started(ENSEMBLE, FRAME, replace(OPTIONS, seed=seed)) for seed in (7, 7, 8))
    assert np.array_equal(one.velocities, same.velocities) and not np.array_equal(one.velocities, other.velocities)
    assert (one.masses * one.velocities).sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-12)
