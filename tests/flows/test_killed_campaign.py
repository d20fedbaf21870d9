"""kill -9 of workers and of the main process at random moments: the labels are those of the undisturbed campaign."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from running import run

from magflow.campaign.directory import IDENTITY, CampaignDirectory
from magflow.errors import StoreError
from magflow.stores import queries


def start(file: Path, directory: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "magflow", "run", str(file), "--dir", str(directory), "--quiet"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def acknowledged(directory: Path) -> dict[str, str]:
    """label_id to the time its document was written."""
    if not (directory / IDENTITY).exists() or not (directory / "campaign.db").exists():
        return {}
    try:
        labels = queries.labels(CampaignDirectory.existing(directory).store)
    except StoreError:  # killed while the file was being made
        return {}
    return {d.label_id: d.created_at for d in labels}


def kill_one(run: subprocess.Popen, rng: random.Random) -> bool:
    """SIGKILL to the main process or to one of its descendants; False if it had ended."""
    try:
        family = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
        victim = family[0] if rng.random() < 0.5 else rng.choice(family)
        victim.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def disturbed(file: Path, directory: Path, kills: int, rng: random.Random) -> int:
    """Run a campaign to its end through at most `kills` kills; returns how many there were."""
    done, before = 0, {}
    while True:
        run = start(file, directory)
        try:
            while done < kills and run.poll() is None:
                time.sleep(rng.uniform(0.05, 4.0))
                if run.poll() is None and kill_one(run, rng):
                    done += 1
                    if run.poll() is not None or _gone(run):
                        break
                    after = acknowledged(directory)
                    assert before.items() <= after.items(), "an acknowledged label was lost or made again"
                    before = after
            run.wait(timeout=300)
        finally:
            if run.poll() is None:
                os.kill(run.pid, signal.SIGKILL)
        after = acknowledged(directory)
        assert before.items() <= after.items(), "an acknowledged label was lost or made again"
        before = after
        if run.returncode == 0:
            return done
        assert run.returncode in (-signal.SIGKILL, 5), run.stderr.read()


def _gone(run: subprocess.Popen) -> bool:
    """True if the main process was the one that was killed."""
    try:
        run.wait(timeout=0.5)
    except subprocess.TimeoutExpired:
        return False
    return True


def rounds(number: int, file: Path, tmp_path: Path) -> None:
    undisturbed = run(file, tmp_path / "undisturbed")
    expected = {d.label_id for d in queries.labels(undisturbed.store)}
    selections = [d.selected for d in queries.selections(undisturbed.store)]
    rng, total, campaign = random.Random(11), 0, 0
    while total < number:
        directory = tmp_path / f"run{campaign}"
        total += disturbed(file, directory, min(10, number - total), rng)
        assert set(acknowledged(directory)) == expected
        store = CampaignDirectory.existing(directory).store
        assert [d.selected for d in queries.selections(store)] == selections
        assert queries.outcome(store).reason == "label-budget"
        campaign += 1
        assert campaign < number, "campaigns end before they can be killed"


@pytest.mark.timeout(900)
def test_three_rounds_of_kill_9(campaign_file, tmp_path):
    rounds(3, campaign_file(label={"settings": {"seconds": 0.1}}), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_rounds_of_kill_9(campaign_file, tmp_path):
    rounds(50, campaign_file(label={"settings": {"seconds": 0.1}}), tmp_path)
