"""Slurm's commands against a real Slurm on this machine."""

from __future__ import annotations

import time

import pytest

from magflow.errors import InputError
from magflow.execution.cluster import slurm as slurm_commands
from magflow.execution.cluster.slurm import Phase, SlurmError, format_time, parse_time


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return found


def script(folder, body, name="magflow-test-dft", limit="00:10:00"):
    path = folder / "job.sh"
    path.write_text(f"#!/bin/sh\n#SBATCH --job-name={name}\n#SBATCH --time={limit}\n#SBATCH --output=out\n{body}\n")
    return path


@pytest.mark.slurm
def test_a_job_is_followed_from_the_queue_to_its_end(slurm, tmp_path):
    number = slurm_commands.submit(script(tmp_path, "sleep 60"))
    assert [j.number for j in slurm_commands.jobs_named("magflow-test-")] == [number]
    assert not slurm_commands.jobs_named("magflow-other")
    wait_for(lambda: slurm_commands.states([number])[number].phase is Phase.RUNNING)
    slurm_commands.cancel([number])
    ended = wait_for(lambda: (j := slurm_commands.states([number])[number]).phase is Phase.ENDED and j)
    assert ended.state == "CANCELLED"
    slurm_commands.cancel([number])  # harmless


@pytest.mark.slurm
def test_a_job_slurm_never_heard_of_has_ended_unknown(slurm):
    job = slurm_commands.states([987654])[987654]
    assert (job.state, job.phase) == (slurm_commands.UNKNOWN, Phase.ENDED)


@pytest.mark.slurm
def test_a_lost_node_ends_its_jobs(slurm, tmp_path):
    number = slurm_commands.submit(script(tmp_path, "sleep 60"))
    wait_for(lambda: slurm_commands.states([number])[number].phase is Phase.RUNNING)
    slurm.lose_node()
    try:
        ended = wait_for(lambda: (j := slurm_commands.states([number])[number]).phase is Phase.ENDED and j)
        assert ended.state == "NODE_FAIL"
    finally:
        slurm.start_node()


@pytest.mark.slurm
def test_partitions_and_refusals(slurm, tmp_path):
    found = slurm_commands.partitions()
    assert set(found) == {"main", "other"}
    assert found["main"].up
    assert found["main"].max_seconds is None
    path = script(tmp_path, "true")
    path.write_text(path.read_text().replace("#SBATCH --output=out", "#SBATCH --partition=nowhere"))
    with pytest.raises(SlurmError, match="sbatch failed"):
        slurm_commands.submit(path)


@pytest.fixture
def fake_slurm(tmp_path, monkeypatch):
    """Commands that say what they are told to, in place of Slurm's."""

    def say(name, text, code=0):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {code}\n")
        path.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return say


def test_what_squeue_has_forgotten_is_asked_of_sacct(fake_slurm):
    fake_slurm("squeue", "11|RUNNING|None|bed-dft\n12_3|PENDING|Priority|array\n")
    fake_slurm("sacct", "13|CANCELLED by 1000|bed-dft\n14|TIMEOUT|bed|dft\n")
    found = slurm_commands.states([11, 13, 14, 15])
    assert {n: (j.state, j.phase) for n, j in found.items()} == {
        11: ("RUNNING", Phase.RUNNING),
        13: ("CANCELLED", Phase.ENDED),
        14: ("TIMEOUT", Phase.ENDED),
        15: (slurm_commands.UNKNOWN, Phase.ENDED),
    }
    assert found[14].name == "bed|dft"
    assert [j.number for j in slurm_commands.jobs_named("bed-")] == [11]


def test_a_squeue_that_fails_is_an_error_and_not_an_empty_queue(fake_slurm):
    fake_slurm("squeue", "", code=1)
    with pytest.raises(SlurmError):
        slurm_commands.states([11])
    with pytest.raises(SlurmError):
        slurm_commands.jobs_named("bed-")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 5400), ("90:30", 5430), ("01:30:00", 5400), ("1-00", 86400), ("1-01:30:05", 91805), ("infinite", None)],
)
def test_times(text, seconds):
    assert parse_time(text) == seconds
    if seconds is not None:
        assert parse_time(format_time(seconds)) == seconds


def test_a_time_that_is_none():
    with pytest.raises(InputError, match="no time limit"):
        parse_time("one hour")
