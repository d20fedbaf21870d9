"""Worker processes: results, deaths, interruption, and what is left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from jobflow import Flow

import toy_jobs as toy
from magflow.campaign.lock import campaign_lock, holder_of
from magflow.errors import CampaignError, InputError, StoreError
from magflow.execution.local import executor, processes, watch
from magflow.execution.local.executor import LocalExecutor
from magflow.execution.local.queue import JobQueue
from magflow.execution.local.reader import QueueReader
from magflow.execution.states import JobState
from magflow.stores import connection
from magflow.stores.jobstore import campaign_store

HERE = Path(toy.__file__).parent

MAIN = """
    import sys
    sys.path.insert(0, sys.argv[2])
    import toy_jobs as toy
    from magflow.execution.local import watch
    watch.EVERY = 0.1
    from magflow.execution.local.executor import LocalExecutor
    executor = LocalExecutor(sys.argv[1], workers=1)
    executor.submit(toy.sleep_with_child(600, sys.argv[1] + "/note"))
    try:
        executor.run()
    except KeyboardInterrupt as stop:
        print(stop)
        sys.exit(130)
"""


def start_main(directory):
    """A main process whose job has started a child in a session of its own; returns it and the two pids."""
    command = [sys.executable, "-c", textwrap.dedent(MAIN), str(directory), str(HERE)]
    main = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    note = directory / "note"
    wait_for(lambda: note.exists() and len(note.read_text().split()) == 2)
    return main, [int(p) for p in note.read_text().split()]


def recover(executor):
    with campaign_lock(executor.directory) as lock:
        executor._recover(lock)


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def is_alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_runs_a_dynamic_flow_and_tells_of_it(tmp_path):
    told = []
    executor = LocalExecutor(tmp_path / "new", workers=2, threads=3)
    wide, probe, stdin = toy.fan_out(6), toy.environment(), toy.read_stdin()
    last = toy.add(wide.output, 1000)
    assert executor.submit(Flow([wide, last, probe, stdin])) == 4
    summary = executor.run(told.append, interval=0.01)
    store = campaign_store(tmp_path / "new")
    assert store.get_output(last.uuid) == 1021
    assert store.get_output(probe.uuid)["threads"] == "3"
    assert store.get_output(stdin.uuid) == ""
    assert store.get_output(probe.uuid)["directory"].startswith(str(tmp_path / "new" / "jobs" / "environment-"))
    assert summary.ok
    assert summary.counts[JobState.COMPLETED] == 12
    assert told[-1].counts == summary.counts
    assert told[-1].running == ()
    assert list((tmp_path / "new" / "jobs").iterdir()) == []
    assert executor.run().counts == summary.counts  # nothing left to do


def test_a_job_that_kills_its_workers_fails_and_the_rest_goes_on(tmp_path):
    executor = LocalExecutor(tmp_path, workers=2)
    poison = toy.kill_self()
    executor.submit(Flow([poison, toy.add(poison.output), toy.fan_out(3)]))
    summary = executor.run()
    assert summary.deaths == 3
    (failed,) = summary.failed
    assert failed.crashes == 3
    assert "signal SIGKILL" in failed.error
    assert not summary.ok
    assert (summary.counts[JobState.COMPLETED], summary.counts[JobState.CANCELLED]) == (6, 1)
    assert Path(failed.directory).is_dir()


def test_any_store_description_reaches_the_workers(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    store = campaign_store(tmp_path / "elsewhere")
    executor = LocalExecutor(tmp_path / "here", store=store, workers=1)
    array = toy.with_array(5)
    executor.submit(array)
    executor.run()
    assert store.get_output(array.uuid, load=True)["array"] == [0, 1, 2, 3, 4]
    assert store.additional_stores["data"].count({"job_uuid": array.uuid}) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_ends_everything_and_is_resumable(tmp_path, number):
    main, pids = start_main(tmp_path)
    main.send_signal(number)
    out, _ = main.communicate(timeout=20)
    assert main.returncode == 130
    assert out.strip() == signal.Signals(number).name
    assert not any(map(is_alive, pids))
    (job,) = QueueReader(tmp_path).jobs()
    assert (job.state, job.crashes) == (JobState.READY, 0)
    assert list((tmp_path / "jobs").iterdir()) == []


def test_workers_and_their_children_follow_a_killed_main_process(tmp_path):
    main, pids = start_main(tmp_path)
    wait_for(lambda: any(w["wall"] > 0.2 for w in holder_of(tmp_path).workers.values()))
    main.kill()
    main.wait()
    wait_for(lambda: not any(map(is_alive, pids)), seconds=5)
    (job,) = QueueReader(tmp_path).jobs()
    assert (job.state, job.wall_seconds) == (JobState.RUNNING, 0.0)
    recover(LocalExecutor(tmp_path, workers=1))
    (job,) = QueueReader(tmp_path).jobs()
    assert (job.state, job.crashes) == (JobState.READY, 0)
    assert job.wall_seconds > 0.2, "the cost of the killed try"
    assert list((tmp_path / "jobs").iterdir()) == []


def test_children_of_a_killed_worker_are_ended_and_its_job_offered_again(tmp_path):
    main, (worker, child) = start_main(tmp_path)
    (tmp_path / "note").unlink()
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: not is_alive(child))
    wait_for(lambda: (tmp_path / "note").exists())  # the next try
    assert [(j.state, j.crashes) for j in QueueReader(tmp_path).jobs()] == [(JobState.RUNNING, 1)]
    main.terminate()
    assert main.wait(20) == 130


def test_a_second_executor_is_refused(tmp_path):
    main, _ = start_main(tmp_path)
    assert holder_of(tmp_path).alive
    with pytest.raises(CampaignError, match="another process") as caught:
        LocalExecutor(tmp_path, workers=1).run()
    assert caught.value.seen.startswith(f"process {main.pid} on ")
    main.terminate()
    main.wait(20)
    assert holder_of(tmp_path) is None


def test_workers_that_cannot_start_end_the_run_with_the_reason(tmp_path, monkeypatch):
    executor = LocalExecutor(tmp_path, workers=1)
    executor.submit(toy.add(1))
    monkeypatch.setattr(executor, "_worker_config", lambda: {"nonsense": 1})
    monkeypatch.setattr("magflow.execution.local.pool._TOLERATED_DEATHS", 2)
    with pytest.raises(CampaignError, match="before they can run") as caught:
        executor.run()
    assert "nonsense" in caught.value.seen


def test_bad_arguments(tmp_path):
    with pytest.raises(InputError, match="workers"):
        LocalExecutor(tmp_path, workers=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be created"):
        LocalExecutor(tmp_path / "file" / "below")


def tagged(directory, worker):
    return subprocess.Popen(["sleep", "60"], env={processes.TAG: processes.tag(directory, worker)})


def test_only_processes_of_that_campaign_and_worker_are_killed(tmp_path):
    mine, other = tmp_path / "a", tmp_path / "ab"
    victim, sibling, stranger = tagged(mine, "7.1"), tagged(mine, "7.10"), tagged(other, "7.1")
    try:
        assert processes.kill_tagged(processes.tag(mine, "7.1")) == 1
        assert victim.wait(10) == -signal.SIGKILL
        assert is_alive(sibling.pid)
        assert processes.kill_tagged(processes.tag(mine)) == 1
        assert sibling.wait(10) == -signal.SIGKILL
        assert is_alive(stranger.pid)
    finally:
        for process in (victim, sibling, stranger):
            process.kill()
            process.wait()


def test_what_a_dead_run_left_running_is_ended_before_anything_is_offered_again(tmp_path):
    executor, left = LocalExecutor(tmp_path, workers=1), tagged(tmp_path, "7.1")
    executor.submit(toy.add(1))
    executor.queue.claim("7.1")
    recover(executor)
    assert left.wait(10) == -signal.SIGKILL
    assert [job.state for job in executor.reader.jobs()] == [JobState.READY]


def test_a_copy_touches_nothing_of_its_original(tmp_path):
    """What the copied queue says is running is running in the original."""
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    queue = JobQueue(original)
    queue.submit(toy.add(1))
    running = queue.claim("a").directory
    running.mkdir(parents=True)
    (running / "half.done").touch()
    connection.merge_log(queue.path)
    shutil.copytree(original, copy)
    executor = LocalExecutor(copy)
    recover(executor)
    assert executor.reader.counts()[JobState.READY] == 1
    assert list((copy / "jobs").iterdir()) == []
    assert (running / "half.done").exists()
    assert QueueReader(original).running()[0][0].directory == str(running)


def test_a_worker_that_hangs_is_told_of_given_up_and_its_job_done_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "EVERY", 0.1)
    quiet, done = [0.0], threading.Event()

    def look():
        while not done.wait(0.05):
            held = holder_of(tmp_path)
            quiet.extend(w["quiet"] for w in (held.workers.values() if held else ()))

    executor = LocalExecutor(tmp_path, workers=1, quiet_limit=1.5)
    still = toy.stand_still_once(str(tmp_path / "marker"))
    executor.submit(still)
    looking = threading.Thread(target=look)
    looking.start()
    try:
        summary = executor.run()
    finally:
        done.set()
        looking.join()
    assert summary.ok
    assert campaign_store(tmp_path).get_output(still.uuid) == "went on"
    (job,) = executor.reader.jobs()
    assert (job.tries, job.crashes) == (2, 1)
    assert max(quiet) > 0.5
    assert list((tmp_path / "jobs").iterdir()) == []


def test_people_are_told_every_ten_seconds_that_nothing_has_changed(monkeypatch):
    now, told = [0.0], []
    monkeypatch.setattr(executor.time, "monotonic", lambda: now[0])
    reader = SimpleNamespace(counts=lambda: {JobState.RUNNING: 1}, running=lambda: [])
    monitor = executor._Monitor(reader, lambda p: told.append(p.elapsed), interval=0.5, began=0.0)
    for _ in range(100):
        now[0] += 0.25
        monitor.tell()
    assert told == [0.5, 10.5, 20.5]
