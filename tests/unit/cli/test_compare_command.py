"""``magflow compare``: what it writes, what it goes on with, what it refuses; the page of a campaign."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from magflow.cli.app import app
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.io.extxyz import write_extxyz
from magflow.potentials.mmtp import MmtpFamily
from magflow.studies.compare import timing

runner = CliRunner()
SMALL = ("--set", "small.level=4", "--set", "small.max_iterations=2")
LARGE = ("--set", "v1.2.level=6", "--set", "v1.2.max_iterations=20")


@pytest.fixture(autouse=True, scope="module")
def short_timing():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(timing, "ENOUGH_CPU_S", 0.02)
        yield


def write(path: Path, n: int, seed: int, elements: tuple[str, str] = ("Fe", "Al")) -> Path:
    rng = np.random.default_rng(seed)
    engine = SpinLatticeEngine()
    level = engine.level_of_theory(["Al", "Fe"])
    items = []
    for _ in range(n):
        cell = 2.86 * (np.eye(3) + rng.normal(0, 0.01, (3, 3)))
        positions = np.array([[0, 0, 0], [1.43, 1.43, 1.43]]) + rng.normal(0, 0.05, (2, 3))
        frame = Frame(elements, cell, positions, np.array([rng.uniform(0, 2.5), rng.uniform(-0.1, 0.1)]))
        items.append(LabeledFrame(frame, engine.label(frame, level, Path())))
    write_extxyz(path, items)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write(folder / "l.xyz", 40, 1)
    write(folder / "t.xyz", 10, 3)
    write(folder / "iron.xyz", 10, 4, ("Fe", "Fe"))
    return folder


def compare(labels: Path, *options: str):
    env = {"COLUMNS": "160", "MAGFLOW_DEEPMD_PYTHON": "no-such-python"}
    return runner.invoke(app, ["compare", str(labels), *options], env=env)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> tuple[Path, str, str]:
    """Two mMTPs, and a DeePMD family whose Python is not there: it fails, and the others are not lost."""
    out = tmp_path_factory.mktemp("done") / "compared"
    families = ("--families", "small=mmtp,v1.2=mmtp,dp", "--seeds", "2", "--out", str(out))
    result = compare(data / "l.xyz", *families, *SMALL, *LARGE)
    assert result.exit_code == 0, result.output
    return out, result.stdout, result.stderr


def test_tables_and_remarks(finished):
    out, shown, progress = finished
    for word in (
        "RMSE on",
        "median (range)",
        "Training",
        "(CPU s)",
        "μs/atom",
        "small (mmtp)",
        "v1.2 (mmtp)",
        "meV/μB",
    ):
        assert word in shown
    assert "dp: reads no moments" in shown and "dp: seed 1, 2 failed: " in shown and "0 of 2" in shown
    assert f"to {out}" in " ".join(shown.split())
    assert "0/6: small, seed 1" in progress and "6/6: dp, seed 2" in progress


def test_numbers_and_figure(finished):
    out, _, _ = finished
    told = json.loads((out / "results.json").read_text())
    assert told["format"] == "magflow-comparison-1" and len(told["fits"]) == 6
    assert set(told["fits"][0]) == {
        *("entry", "seed", "failure", "errors", "train_errors", "strata", "converged"),
        *("fit_cpu_seconds", "fit_wall_seconds", "inference"),
    }
    settings = {entry["name"]: entry["settings"] for entry in told["about"]["entries"]}
    assert settings["small"]["level"] == 4 and settings["v1.2"]["level"] == 6
    counts = told["about"]["labels"]
    assert counts["train"]["count"] + counts["test"]["count"] == 40 and 3 <= counts["test"]["count"] <= 14
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 and float(rows[0]["rmse_forces (meV/Å)"]) > 0 and "deepmd" in rows[2]["failure"]
    svg = ET.parse(out / "comparison.svg").getroot()
    words = "".join(svg.itertext())
    assert svg.tag.endswith("svg") and "Magnetic forces" in words and "small" in words and "none" in words


def test_finished_fits_are_kept_with_resume(finished, data, monkeypatch):
    out, _, _ = finished
    before = json.loads((out / "results.json").read_text())["fits"]
    families = ("--families", "small=mmtp,v1.2=mmtp", "--out", str(out), *SMALL, *LARGE)
    refused = compare(data / "l.xyz", *families, "--seeds", "2")
    assert refused.exit_code == 2 and "--resume" in refused.stderr
    fitted = []
    original = MmtpFamily.fit
    monkeypatch.setattr(MmtpFamily, "fit", lambda self, train, **kw: fitted.append(1) or original(self, train, **kw))
    more = compare(data / "l.xyz", *families, "--seeds", "3", "--resume", "--json")
    assert more.exit_code == 0, more.output
    told = json.loads(more.stdout)
    assert (
        len(told["fits"]) == 6
        and len(fitted) == 2
        and set(told["files"]) == {"results.json", "results.csv", "comparison.svg"}
    )
    assert [f for f in told["fits"] if f["seed"] < 3] == [f for f in before if f["failure"] is None]


def test_test_labels_of_their_own_leave_the_training_set(data, tmp_path):
    result = compare(
        data / "l.xyz", "--test", str(data / "t.xyz"), "--families", "small=mmtp", *SMALL, "--seeds", "1",
        "--out", str(tmp_path / "c"), "--json", "--sort", "magnetic_forces",
    )  # fmt: skip
    counts = json.loads(result.stdout)["about"]["labels"]
    assert (counts["train"]["count"], counts["test"]["count"]) == (40, 10)
    assert (data / "l.xyz").exists() and not (data / "l_comparison").exists()


def test_bad_input_gets_one_clear_error(data, tmp_path):
    labels, out = data / "l.xyz", ("--out", str(tmp_path / "c"))
    cases = {
        "unknown name": ("--families", "mtpp"),
        "named twice": ("--families", "mmtp,mmtp"),
        "a setting of no entry": ("--families", "a=mmtp", "--set", "b.level=4"),
        "level": ("--families", "a=mmtp", "--set", "a.level=many"),
        "out of range": ("--split", "1.0"),
        "unknown quantity": ("--families", "mmtp", "--sort", "speed"),
        "no fits to go on with": ("--families", "mmtp", "--resume"),
        "not a name": ("--families", "a/b=mmtp"),
        "nothing to work with": ("--families", ","),
        "no such file": ("--test", str(data / "none.xyz")),
    }
    for message, options in cases.items():
        result = compare(labels, *options, *out)
        assert result.exit_code == 2 and message in result.stderr, (message, result.stderr)
        assert "Traceback" not in result.stderr
    nowhere = compare(tmp_path / "nothing", *out)
    assert nowhere.exit_code == 2 and "no such file" in nowhere.stderr


def test_when_every_fit_fails_the_exit_code_says_so(data, tmp_path):
    result = compare(data / "l.xyz", "--families", "dp", "--seeds", "1", "--out", str(tmp_path / "c"))
    assert result.exit_code == 5 and "every fit failed" in result.stderr and (tmp_path / "c" / "results.json").exists()
