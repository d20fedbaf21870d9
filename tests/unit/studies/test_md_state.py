"""What a run of molecular dynamics keeps beside its trajectory: options, and the state it goes on from."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from magflow.core.dynamics import Integration, Limits, Motion, Pistons
from magflow.core.frame import Frame
from magflow.core.statistics import CellMotion, Statistics
from magflow.core.versions import NewerFormatError
from magflow.errors import InputError
from magflow.explore.motion_file import read_motion, write_motion
from magflow.studies.md.options import MdOptions

OPTIONS = MdOptions(
    Statistics.NPT, 300.0, 1.0, CellMotion.LENGTHS, 2.0, 10.0, 500.0, (2, 2, 1), 50, {"Fe": 2.5}, 100, 10.0, None, 7
)


def test_options_survive_json():
    assert MdOptions.from_dict(json.loads(json.dumps(OPTIONS.as_dict()))) == OPTIONS


def test_options_of_a_run_that_magflow_0_1_began():
    assert MdOptions.from_dict(OPTIONS.as_dict() | {"max_moment": ["Fe=2.5"]}) == OPTIONS


@pytest.fixture
def state(tmp_path):
    frame = Frame(("Fe",), 2.5 * np.eye(3), np.zeros((1, 3)), [2.2])
    motion = Motion.start(frame, Integration(timestep=0.1, key=1), Limits())
    write_motion(tmp_path / "state.npz", motion, {"start": frame.frame_id})
    return tmp_path / "state.npz"


def with_header(path, **changes):
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(arrays.pop("header").tobytes()) | changes
    buffer = io.BytesIO()
    np.savez(buffer, header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8), **arrays)
    path.write_bytes(buffer.getvalue())


def test_a_state_is_read_as_it_was_written(state):
    motion, facts = read_motion(state)
    assert facts == {"start": motion.frame.frame_id}
    assert (motion.step, motion.integration.key) == (0, 1)


def test_nothing_a_run_goes_on_from_is_lost(tmp_path):
    frame = Frame(("Fe", "Al"), 2.9 * np.eye(3), [[0, 0, 0], [1.4, 1.5, 1.4]], [2.2, 0.0])
    how = Integration(0.1, 0.01, 300.0, 0.02, Pistons.LENGTHS, 4.0, 2**63 + 5)
    limits = Limits(1.2, -9.0, 9.0, 3.0, 0.5)
    listed = (frame.positions + 0.1, 1.01 * frame.cell)
    velocities, piston = np.arange(6.0).reshape(2, 3), np.array([0.1, 0.2, 0.3])
    write_motion(tmp_path / "state.npz", Motion(frame, velocities, how, limits, piston, -0.25, 40, listed), {})
    found, _ = read_motion(tmp_path / "state.npz")
    assert (found.frame, found.integration, found.limits) == (frame, how, limits)
    assert (found.heat, found.step) == (-0.25, 40)
    arrays = (found.velocities, found.piston, *found.listed)
    for mine, theirs in zip(arrays, (velocities, piston, *listed), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_state_of_magflow_0_1_is_read(state):
    with_header(state, format="magflow-motion-1", magflow=None)
    assert read_motion(state)[0].step == 0


def test_a_state_of_a_newer_magflow_is_told_by_name(state):
    with_header(state, format="magflow-motion-7", magflow="3.1")
    with pytest.raises(NewerFormatError, match=r"state\.npz.*written by magflow 3\.1"):
        read_motion(state)


def test_another_file_is_not_taken_for_a_state(state):
    with_header(state, format="magflow-ensemble-1")
    with pytest.raises(InputError, match=r"state\.npz.*magflow-ensemble-1"):
        read_motion(state)
