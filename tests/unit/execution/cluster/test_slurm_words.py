"""What Slurm's commands say, read without a Slurm."""

from __future__ import annotations

import pytest

from magflow.execution.cluster import slurm
from magflow.execution.cluster.slurm import UNKNOWN, Phase, SlurmJob, parse_time


@pytest.fixture
def answers(monkeypatch):
    """Commands and what they answer; what was asked is kept."""
    said, asked = {}, []

    def run(command, *words, **_):
        asked.append(command)
        return said[command]

    monkeypatch.setattr(slurm, "_run", run)
    monkeypatch.setattr(slurm.shutil, "which", lambda name: f"/usr/bin/{name}")
    said["asked"] = asked
    return said


def test_what_squeue_has_forgotten_is_asked_of_sacct(answers):
    answers["squeue"] = "7|RUNNING|None|bed-dft\n8|CANCELLED by 1000|None|bed-md\n9_1|PENDING|None|array\n"
    answers["sacct"] = "5|TIMEOUT|bed-dft\n5.batch|FAILED|batch\n"
    found = slurm.states([7, 8, 5, 4])
    assert {n: (j.state, j.phase) for n, j in found.items()} == {
        7: ("RUNNING", Phase.RUNNING),
        8: ("CANCELLED", Phase.ENDED),
        5: ("TIMEOUT", Phase.ENDED),
        4: (UNKNOWN, Phase.ENDED),
    }
    answers["asked"].clear()
    assert slurm.states([7])[7] == SlurmJob(7, "bed-dft", "RUNNING", "None")
    assert answers["asked"] == ["squeue"], "nothing is missing"


def test_pilots_of_another_cluster_are_not_ours(answers):
    answers["squeue"] = "7|RUNNING|None|bed-dft\n8|PENDING|Priority|bedside-dft\n9|FAILED|None|bed-md\n"
    assert [job.number for job in slurm.jobs_named("bed-")] == [7]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 1800), ("30:15", 1815), ("1:00:00", 3600), ("2-0", 172800), ("1-02:03:04", 93784), ("infinite", None)],
)
def test_times(text, seconds):
    assert parse_time(text) == seconds
