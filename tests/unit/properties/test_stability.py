"""Stability: what holds is told to hold, what explodes is a result."""

from __future__ import annotations

import numpy as np
import pytest

from exact_potentials import bcc
from magflow.properties.base import Work
from magflow.properties.measurement import Moments
from magflow.properties.stability import Stability, moment_shares
from magflow.properties.subject import Subject
from mmtp_iron import iron_ensemble


@pytest.fixture(scope="module")
def iron():
    return Subject(iron_ensemble(2), "bcc-Fe", bcc(2.84, moment=2.2), max_moment={"Fe": 3.0})


def test_a_run_that_holds_and_one_that_explodes(iron, tmp_path):
    asked = Stability(atoms=54, temperatures=(100.0, 40000.0), picoseconds=0.2)
    found = asked.measure(iron, Work(tmp_path))
    assert found.value("time held", 100.0).value == pytest.approx(0.2)
    assert found.value("time held", 40000.0).value < 0.2
    assert found.failure.startswith("unstable at 40000 K after 0.")
    assert len(found.frames) == 1 and np.isfinite(found.frames[0].positions).all()
    assert found.value("flipped moments", 100.0).value == 0.0
    assert found.remarks[0].startswith("100 K: ") and found.remarks[1].startswith("unstable at 40000 K")
    files = [p.file for p in asked.plots([("one", found)])]
    assert files == [f"stability-bcc-Fe-{n}.csv" for n in ("constantenergy", "100K", "40000K")]


def test_energy_is_kept_and_a_coarse_step_drifts_or_scatters_more(iron, tmp_path):
    """The error of a symplectic step goes with its square."""
    fixed = Subject(iron.ensemble, "bcc-Fe", iron.frame, Moments.FIXED)
    scatter = []
    for step in (1.0, 4.0):
        found = Stability(atoms=54, temperatures=(300.0,), picoseconds=0.6, timestep=step).measure(
            fixed, Work(tmp_path / f"{step}")
        )
        drift = found.value("energy drift", at="constant energy")
        assert abs(drift.value) < 4.0 * drift.error + 0.05
        assert "collapsed moments" not in {v.name for v in found.values}
        scatter.append(found.value("energy scatter", at="constant energy").value)
    assert scatter[1] > 6.0 * scatter[0]
    assert scatter[0] < 0.2


def test_moments_that_vanish_or_turn_over():
    up = np.full(10, 2.0)
    one = up * np.where(np.arange(10) < 1, -1.0, 1.0)
    gone = up * np.where(np.arange(10) < 3, 0.0, 1.0)
    assert moment_shares(np.array([up, up])) == (0.0, 0.0)
    assert moment_shares(np.array([up, -up])) == (0.0, 0.0)  # time reversal
    assert moment_shares(np.array([up, one, up])) == (0.0, pytest.approx(0.1))
    assert moment_shares(np.array([up, -one])) == (0.0, pytest.approx(0.1))
    assert moment_shares(np.array([up, gone]))[0] == pytest.approx(0.3)
    assert moment_shares(np.zeros((2, 4))) == (0.0, 0.0)
