"""The code of ``docs/add-an-engine.md`` is an engine: the third code gets from the skeleton what the page promises."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.core.label import FailureKind, LabeledFrame
from magflow.core.protocols import LabelEngine
from magflow.errors import InputError

PAGE = Path(__file__).parents[2] / "docs" / "add-an-engine.md"
FRAME = Frame(("Fe", "Al"), 2.9 * np.eye(3), [[0.02, 0, 0], [1.47, 1.44, 1.40]], [1.5, -0.02], [True, False])

PROGRAM = """import json, os, sys
asked = json.load(open(sys.argv[1]))
mode = os.environ.get("MYCODE", "")
if mode == "crash":
    sys.exit("out of luck")
n = len(asked["species"])
out = {"energy": -1.0, "forces": [[0.0] * 3] * n, "stress": [0.0] * 6, "moments": asked.get("moments")}
out |= {"de_dm": [[0.0, 0.0, m[2]] for m in asked.get("moments", [])]}
out["converged"] = mode != "never" and (mode != "slow" or asked["mixing"] < 0.1)
text = json.dumps(out)
open("out.json", "w").write(text[:20] if mode == "truncated" else text)
"""


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """Make engines of the page's class, whose program is a stand-in."""
    monkeypatch.setenv("HOME", str(tmp_path))
    program = tmp_path / "mycode.py"
    program.write_text(PROGRAM)
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.S).group(1)
    namespace: dict = {"__name__": "mycode"}
    exec(compile(code, str(PAGE), "exec", dont_inherit=True), namespace)
    return lambda **settings: namespace["MyCodeEngine"](command=f"{sys.executable} {program}", **settings)


@pytest.fixture
def compute(tmp_path):
    def run(engine, frame=FRAME, level=None):
        workdir = tmp_path / "label"
        workdir.mkdir(exist_ok=True)
        return engine.label(frame, level or engine.level_of_theory(["Al", "Fe"]), workdir)

    return run


def test_it_is_a_label_engine(engine, compute, tmp_path):
    made = engine()
    assert isinstance(made, LabelEngine)
    assert all(probe.ok for probe in made.probe(["Fe", "Al"]))
    label = compute(made)
    LabeledFrame(FRAME, label)
    np.testing.assert_array_equal(label.magnetic_forces, [[0, 0, -1.5], [np.nan] * 3])
    assert (label.attempts, label.energy) == (1, -1.0)
    assert [p.name for p in (tmp_path / "label" / "run-1").iterdir()] == ["in.json"]
    assert compute(engine(kind="non-magnetic")).magmoms is None
    assert compute(engine(kind="spin-polarised")).magnetic_forces is None


def test_one_orientation_is_computed(engine, compute, tmp_path):
    asked = []
    for sign in (1, -1):
        frame = FRAME.replace(magmoms=sign * FRAME.magmoms)
        label = compute(engine(), frame)
        np.testing.assert_array_equal(label.magmoms, frame.magmoms)
        np.testing.assert_array_equal(label.magnetic_forces[0], -frame.magmoms[0])
        asked.append(json.loads((tmp_path / "label" / "run-1" / "in.json").read_text())["moments"])
    assert asked[0] == asked[1]


@pytest.mark.parametrize(
    ("mode", "kind", "attempts"),
    [
        ("crash", FailureKind.CRASH, 1),
        ("truncated", FailureKind.TRUNCATED_OUTPUT, 1),
        ("never", FailureKind.SCF_UNCONVERGED, 2),
        ("slow", None, 2),
    ],
)
def test_failures_are_labels(engine, compute, monkeypatch, mode, kind, attempts):
    monkeypatch.setenv("MYCODE", mode)
    label = compute(engine())
    assert (label.failure and label.failure.kind) == kind
    assert label.attempts == attempts
    assert mode != "crash" or label.failure.message == "exit status 1: out of luck"


def test_frames_are_checked_before_anything_runs(engine, compute, tmp_path):
    close = FRAME.replace(positions=[[0, 0, 0], [1.0, 0, 0]])
    bare = Frame(FRAME.species, FRAME.cell, FRAME.positions)
    assert compute(engine(), close).failure.kind == FailureKind.OVERLAPPING_SPHERES
    assert compute(engine(), bare).failure.kind == FailureKind.INVALID_INPUT
    assert compute(engine(), level=engine().level_of_theory(["Fe"])).failure.kind == FailureKind.MISSING_DATASET
    with pytest.raises(InputError, match="another level of theory"):
        compute(engine(), level=engine(cutoff_ev=600).level_of_theory(["Al", "Fe"]))
    assert not list((tmp_path / "label").iterdir())
    assert engine(mixing=0.1).level_of_theory(["Fe"]).fingerprint == engine().level_of_theory(["Fe"]).fingerprint
