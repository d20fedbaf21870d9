from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from magflow.cli.app import app
from magflow.core.frame import Frame
from magflow.core.label import FailureKind, Label
from magflow.dft.batch import LabelTask
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.io.extxyz import read_extxyz, write_extxyz
from magflow.io.records import Record

ENGINE = SpinLatticeEngine()


def frames(count=3) -> list[Frame]:
    rng = np.random.default_rng(1)
    sites = np.array([[0, 0, 0], [1.45, 1.45, 1.45]])
    return [
        Frame(("Fe", "Al"), np.eye(3) * 2.9, sites + rng.normal(0, 0.05, (2, 3)), [2.2, 0.05 * k]) for k in range(count)
    ]


def label(folder, *options):
    arguments = [
        "label",
        folder / "frames.extxyz",
        "-o",
        folder / "labels.extxyz",
        "--engine",
        "spin-lattice",
        *options,
    ]
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_frames_get_their_labels_and_keep_their_keys(tmp_path):
    write_extxyz(tmp_path / "frames.extxyz", [Record(f, info={"config_type": f"k{k}"}) for k, f in enumerate(frames())])
    result = label(tmp_path, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"output": str(tmp_path / "labels.extxyz"), "labels": 3, "failed": {}}
    level = ENGINE.level_of_theory(["Al", "Fe"])
    for k, (record, frame) in enumerate(zip(read_extxyz(tmp_path / "labels.extxyz"), frames(), strict=True)):
        (tmp_path / "w").mkdir(exist_ok=True)
        expected = ENGINE.label(frame, level, tmp_path / "w")
        assert record.label.label_id == expected.label_id and record.label.energy == expected.energy
        assert record.info == {"config_type": f"k{k}"}
    assert not (tmp_path / "labels.extxyz.labels").exists()


class Flaky:
    """The model, with a frame that does not converge the first time."""

    name = kind = None

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.bad = frames()[1].frame_id

    def level_of_theory(self, elements):
        return ENGINE.level_of_theory(elements)

    def label(self, frame, level, workdir):
        self.calls.append(frame.frame_id)
        if frame.frame_id == self.bad:
            return Label.failed(frame, level, FailureKind.SCF_UNCONVERGED, "100 steps were not enough")
        return ENGINE.label(frame, level, workdir)


def test_a_failed_label_stops_nothing_and_is_tried_again(tmp_path):
    engine, records = Flaky(), [Record(f) for f in frames()]
    told = []

    def progress(fraction, text, *, milestone=False):
        told.append((fraction, milestone))

    first = LabelTask(engine, records, tmp_path / "work").run(progress)
    assert len(first.records) == 2 and first.failed == {"scf-unconverged": 1}
    assert first.messages == ("frame 2 (Al1Fe1): 100 steps were not enough",)
    assert told == [(1 / 3, False), (2 / 3, True), (1.0, False)]
    engine.calls, engine.bad = [], ""
    second = LabelTask(engine, records, tmp_path / "work").run(progress)
    assert len(second.records) == 3 and engine.calls == [frames()[1].frame_id]
    kept = {r.label.energy for r in second.records}
    assert {r.label.energy for r in first.records} < kept


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "speed=3"], "unknown setting"),
        (["--resume"], "no labels to go on with"),
        (["--engine", "gaussian"], "unknown name"),
        (["-o", "labels.cfg"], "extended XYZ"),
    ],
)
def test_bad_input_is_one_message(tmp_path, options, message):
    write_extxyz(tmp_path / "frames.extxyz", frames(1))
    result = label(tmp_path, *options)
    assert result.exit_code == 2 and message in " ".join(result.output.split())


def test_what_is_there_is_not_overwritten(tmp_path):
    write_extxyz(tmp_path / "frames.extxyz", frames(1))
    (tmp_path / "labels.extxyz").touch()
    assert "there already" in label(tmp_path).output
