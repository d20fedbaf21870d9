"""Frames labelled without a campaign."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest
from given_labels import frames, level
from typer.testing import CliRunner

from magflow.api.opening import labels_of_file
from magflow.cli.app import app
from magflow.core.label import label_id
from magflow.io.extxyz import write_extxyz
from magflow.stores import queries
from magflow.stores.jobstore import campaign_store

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def given(tmp_path):
    """Six frames in a file."""
    write_extxyz(tmp_path / "frames.extxyz", frames(6))
    return tmp_path


def call(folder, *options: str, json_wanted: bool = True):
    words = ["label", str(folder / "frames.extxyz"), "-o", str(folder / "out.extxyz"), *options]
    return CliRunner().invoke(app, [*words, *(["--json"] if json_wanted else [])])


def finished(workdir) -> int:
    """Labels in the work directory."""
    if not (workdir / "level.json").exists():
        return 0
    store = campaign_store(workdir)
    store.connect()
    return len(queries.label_summaries(store))


def told(result) -> dict:
    return json.loads(result.stdout)


def test_every_frame_is_labelled_and_the_work_goes(given):
    result = call(given, "--engine", "spin-lattice")
    assert result.exit_code == 0, result.output
    assert (told(result)["labels"], told(result)["computed"], told(result)["failed"]) == (6, 6, {})
    found = {item.label_id for item in labels_of_file(given / "out.extxyz")}
    assert found == {label_id(frame.frame_id, level()) for frame in frames(6)}
    assert not (given / ".label").exists()
    again = call(given, "--engine", "spin-lattice")
    assert again.exit_code == 2 and "there already" in again.output


def test_failures_are_listed_and_tried_again_with_other_settings_only(given):
    first = call(given, "--engine", "spin-lattice", "--set", "failure_rate=0.8")
    assert first.exit_code == 5
    counts = told(first)
    failed = counts["failed"]["scf-unconverged"]
    assert 0 < failed["count"] < 6 and failed["first"].startswith("frame ") and counts["labels"] == 6 - failed["count"]
    same = call(given, "--engine", "spin-lattice", "--set", "failure_rate=0.8", "--resume")
    assert same.exit_code == 5 and told(same)["computed"] == 0
    rest = call(given, "--engine", "spin-lattice", "--resume")
    assert rest.exit_code == 0
    assert (told(rest)["labels"], told(rest)["computed"]) == (6, failed["count"])


def test_another_level_of_theory_is_refused_where_work_was_begun(given):
    call(given, "--engine", "spin-lattice", "--set", "failure_rate=0.8")
    other = call(given, "--engine", "spin-lattice", "--set", "kind=spin-polarised", "--resume")
    assert other.exit_code == 2 and "kind constrained, not spin-polarised" in other.output


def test_after_a_kill_finished_labels_are_not_computed_again(given):
    words = [sys.executable, "-m", "magflow", "label", "frames.extxyz", "-o", "out.extxyz"]
    words += ["--engine", "spin-lattice", "--set", "seconds=0.5", "--json"]
    run = subprocess.Popen(words, cwd=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    workdir = given / ".label" / "out.extxyz"
    while run.poll() is None and not finished(workdir):
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    kept = finished(workdir)
    assert 0 < kept < 6
    result = call(given, "--engine", "spin-lattice", "--set", "seconds=0.5", "--resume")
    assert result.exit_code == 0, result.output
    assert told(result)["labels"] == 6 and told(result)["computed"] <= 6 - kept


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "either --engine"),
        (("--engine", "spin-lattice", "--resume"), "no labels to go on with"),
        (("--engine", "spin-lattice", "--set", "secnds=1"), "did you mean seconds"),
        (("--engine", "spin-lattice", "--elements", "Fe"), "frames of other elements"),
        (("--engine", "spin-lattice", "--elements", "Al,Fe,Cu"), "none for Cu"),
    ],
)
def test_bad_wishes_are_refused_before_anything_runs(given, options, message):
    result = call(given, *options, json_wanted=False)
    assert result.exit_code in (2, 3) and message in result.output
    assert not (given / ".label").exists()


def test_the_level_of_a_campaign_file_is_that_of_the_campaign(given, write_campaign):
    file = write_campaign(given / "tiny.yaml")
    assert call(given, "--campaign", str(file)).exit_code == 0
    (found,) = labels_of_file(given / "out.extxyz").levels_of_theory
    assert found == level()
