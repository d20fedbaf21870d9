"""A script that calls magflow at its top level is run once, also where members are fitted in processes of their own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, LevelOfTheory
from magflow.io.extxyz import write_extxyz

SCRIPT = """
import magflow
print("run")
trained = magflow.train("labels.extxyz", "out", members=2, jobs=2, settings={"level": 2, "max_iterations": 2})
print(len(trained.members), magflow.load("out").species)
"""
LEVEL = LevelOfTheory("toy", "1", "non-magnetic", "none")


def test_a_script_without_a_guard_trains(tmp_path):
    rng, items = np.random.default_rng(0), []
    for _ in range(8):
        shifts = rng.normal(scale=0.05, size=(2, 3))
        frame = Frame(("Fe", "Fe"), 2.87 * np.eye(3), np.array([[0, 0, 0], [1.435] * 3]) + shifts)
        energy = float(((shifts[0] - shifts[1]) ** 2).sum())
        forces = -2.0 * (shifts[0] - shifts[1]) * np.array([[1.0], [-1.0]])
        items.append(LabeledFrame(frame, Label(frame.frame_id, LEVEL, energy=energy, forces=forces)))
    write_extxyz(tmp_path / "labels.extxyz", items)
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["run", "2 ('Fe',)"]
