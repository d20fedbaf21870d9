"""The phase test on crystals with thermal noise, on the ideal ones, and on disorder."""

from __future__ import annotations

import numpy as np
import pytest

from exact_potentials import bcc, fcc
from magflow.explore.geometry import repeated
from magflow.properties.phase import PhaseTest, local_order
from magflow.properties.subject import UnmeasurableError

BCC, FCC = repeated(bcc(2.87), (5, 5, 5)), repeated(fcc(3.6, "Cu"), (4, 4, 4))
NEAREST = {BCC: 2.87 * np.sqrt(0.75), FCC: 3.6 * np.sqrt(0.5)}


def noisy(frame, share, seed=0):
    """Each atom displaced by `share` of the nearest distance (root mean square)."""
    noise = np.random.default_rng(seed).normal(scale=share * NEAREST[frame] / np.sqrt(3.0), size=(len(frame), 3))
    return frame.replace(positions=frame.positions + noise)


@pytest.mark.parametrize(("frame", "known"), [(BCC, 0.51069), (FCC, 0.57452)], ids=["bcc", "fcc"])
def test_ideal_crystals(frame, known):
    """q6 of Steinhardt's tables: 0.575 for fcc with 12 neighbours, 0.511 for bcc with 14."""
    assert local_order(frame) == pytest.approx(known, abs=1e-5)


@pytest.mark.parametrize("frame", [BCC, FCC], ids=["bcc", "fcc"])
def test_a_hot_crystal_is_a_crystal_and_disorder_is_none(frame):
    test = PhaseTest.calibrated([noisy(frame, 0.12)], [noisy(frame, 0.35)])
    assert test.crystalline(noisy(frame, 0.12, seed=1)) == pytest.approx(1.0, abs=0.05)
    assert test.crystalline(noisy(frame, 0.35, seed=2)) == pytest.approx(0.0, abs=0.05)


def test_half_a_crystal_is_seen_as_half():
    crystal, liquid = noisy(BCC, 0.12), noisy(BCC, 0.35)
    lower = (BCC.positions[:, 2] < BCC.cell[2, 2] / 2)[:, None]
    half = BCC.replace(positions=np.where(lower, crystal.positions, liquid.positions))
    assert PhaseTest.calibrated([crystal], [liquid]).crystalline(half) == pytest.approx(0.5, abs=0.12)


def test_order_does_not_depend_on_the_frame_of_reference():
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec([0.3, -0.7, 0.4]).as_matrix()
    frame = noisy(BCC, 0.1)
    turned = frame.replace(cell=frame.cell @ turn.T, positions=frame.positions @ turn.T)
    assert local_order(turned) == pytest.approx(local_order(frame), abs=1e-9)


def test_phases_that_look_alike_are_refused():
    with pytest.raises(UnmeasurableError, match="told apart"):
        PhaseTest.calibrated([noisy(BCC, 0.12)], [noisy(BCC, 0.12, seed=1)])
