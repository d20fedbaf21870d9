"""``magflow transfer``: what it writes, what it goes on with, what it refuses."""

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

runner = CliRunner()
QUICK = ("--set", "level=4", "--set", "max_iterations=3", "--sizes", "4,8", "--seeds", "2", "--price", "cpu_hours")


def write(path: Path, n: int, seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    engine = SpinLatticeEngine(kind=kind)
    level = engine.level_of_theory(["Al", "Fe"])
    items = []
    for k in range(n):
        cell = 2.86 * (np.eye(3) + rng.normal(0, 0.01, (3, 3)))
        positions = np.array([[0, 0, 0], [1.43, 1.43, 1.43]]) + rng.normal(0, 0.05, (2, 3))
        moments = np.array([rng.uniform(0, 2.5), rng.uniform(-0.1, 0.1) if k % 2 else rng.uniform(-2.5, 2.5)])
        frame = Frame(("Fe", "Al" if k % 2 else "Fe"), cell, positions, None if kind == "non-magnetic" else moments)
        items.append(LabeledFrame(frame, engine.label(frame, level, Path())))
    write_extxyz(path, items)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write(folder / "nm.xyz", 20, 1, "non-magnetic")
    write(folder / "m.xyz", 12, 2, "constrained")
    write(folder / "free.xyz", 12, 2, "spin-polarised")
    write(folder / "t.xyz", 10, 3, "constrained")
    write(folder / "freet.xyz", 6, 3, "spin-polarised")
    return folder


def transfer(data: Path, out: Path, *options: str, magnetic: str = "m.xyz", plain: str = "nm.xyz", test: str = "t.xyz"):
    files = ("--non-magnetic", str(data / plain), "--magnetic", str(data / magnetic), "--test", str(data / test))
    return runner.invoke(app, ["transfer", *files, "-o", str(out), *QUICK, *options], env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> tuple[Path, str, str]:
    out = tmp_path_factory.mktemp("done") / "saved"
    result = transfer(data, out)
    assert result.exit_code == 0, result.output
    return out, result.stdout, result.stderr


def test_numbers_figure_and_page(finished):
    out, _, _ = finished
    told = json.loads((out / "results.json").read_text())
    assert len(told["points"]) == 12 and set(told["saving"]) == {"fine-tuned", "fine-tuned with replay"}
    row = told["saving"]["fine-tuned with replay"]["forces"][0]
    assert row["labels_from_scratch"] == 4 and row["labels_factor"]["value"] > 0 and "cpu_hours_factor" in row
    assert row["labels_factor_at_most"]["value"] >= 1.0 and row["cpu_hours_factor_of_magnetic_labels"]["value"] > 0
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 and float(rows[0]["rmse_forces (meV/Å)"]) > 0
    svg = ET.parse(out / "transfer.svg").getroot()
    assert svg.tag.endswith("svg")
    text = "".join(svg.itertext())
    for word in ("Magnetic labels", "CPU-minutes", "from scratch", "fine-tuned with replay", "Magnetic forces"):
        assert word in text
    page = (out / "transfer.html").read_text()
    assert "How many times less" in page and page.count("<script") == 1 and str(out) not in page


def test_the_table_tells_errors_and_factors(finished):
    _, shown, progress = finished
    words = ("RMSE on held-out", "Times less than from scratch", "CPU-hours", "meV/atom", "transfer.html")
    for word in (*words, "question: what non-magnetic labels save a potential that reads moments", "at most"):
        assert word in shown
    assert "12/12: done" in progress and "seed 2, 8 magnetic labels, from scratch" in progress


def test_finished_points_are_kept(finished, data, monkeypatch):
    out, _, _ = finished
    before = json.loads((out / "results.json").read_text())["points"]
    refused = transfer(data, out)
    assert refused.exit_code == 2 and "--resume" in refused.stderr
    fitted = []
    original = MmtpFamily.fit
    monkeypatch.setattr(MmtpFamily, "fit", lambda self, train, **kw: fitted.append(1) or original(self, train, **kw))
    more = transfer(data, out, "--resume", "--sizes", "4,8,12", "--json")
    assert more.exit_code == 0, more.output
    told = json.loads(more.stdout)
    assert told["points"] == 18 and len(fitted) == 7, "six points, and a fit for their ceiling"
    after = json.loads((out / "results.json").read_text())["points"]
    assert [p for p in after if p["magnetic_labels"] < 12] == before
    other = transfer(data, out, "--resume", "--set", "level=6")
    assert other.exit_code == 2 and "other labels or settings" in other.stderr


def test_replay_without_the_start_is_one_more_way_to_fit(finished, data):
    out, _, _ = finished
    result = transfer(data, out, "--resume", "--joint", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["points"] == 16 and "from scratch on both kinds" in told["saving"]
    points = json.loads((out / "results.json").read_text())["points"]
    both = [p for p in points if p["arm"] == "from scratch on both kinds"]
    assert [p["non_magnetic_labels"] for p in both] == [20] * 4
    replayed = [p for p in points if p["arm"] == "fine-tuned with replay"]
    assert [p["rmse"] for p in both] != [p["rmse"] for p in replayed]


def test_a_family_that_reads_no_moments_keeps_a_potential_and_adds_the_difference(data, tmp_path):
    out = tmp_path / "free"
    options = ("--set", "n_psi=1", "--difference", "--correction", "level=2", "--seeds", "1", "--scratch-to", "12")
    result = transfer(data, out, *options, magnetic="free.xyz", test="freet.xyz")
    assert result.exit_code == 0, result.output
    assert "save a potential that reads no moments" in result.stdout and "magnetic branch" in result.stdout
    told = json.loads((out / "results.json").read_text())
    assert set(told["saving"]) == {"fine-tuned", "difference"} and not told["ceiling"]
    assert [p["magnetic_labels"] for p in told["points"] if p["arm"] == "from scratch"] == [4, 8, 12]
    assert told["about"]["correction"]["settings"]["level"] == 2
    assert "correction: settings" in (out / "transfer.html").read_text()


def test_bad_input_gets_one_clear_error(data, tmp_path):
    out = tmp_path / "saved"
    cases = {
        "labels of the wrong kind": {"plain": "m.xyz"},
        "out of range": {"options": ("--sizes", "4,40")},
        "not a list of numbers": {"options": ("--sizes", "four")},
        "not asked for": {"options": ("--correction", "level=4")},
        "no further than the sizes": {"options": ("--scratch-to", "6")},
        "which is replay": {"options": ("--joint", "--replay", "0")},
        "unknown price": {"options": ("--price", "euro")},
        "free moments": {"magnetic": "free.xyz"},
        "to be tested on": {"test": "m.xyz"},
        "no points to go on with": {"options": ("--resume",)},
        "an unknown setting": {"options": ("--tune", "speed=1")},
        "no such file": {"test": "none.xyz"},
    }
    for message, change in cases.items():
        options = change.pop("options", ())
        result = transfer(data, out, *options, **change)
        assert result.exit_code == 2 and message in result.stderr, (message, result.stderr)
        assert "Traceback" not in result.stderr
    free = transfer(data, out, "--replay", "0", magnetic="free.xyz", test="t.xyz")
    assert free.exit_code == 0, free.output
    assert len(json.loads((out / "results.json").read_text())["points"]) == 8
