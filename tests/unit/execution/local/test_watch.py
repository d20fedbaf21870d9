"""What the main process sees of its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from magflow.execution.local.watch import Watch, costs_in
from magflow.execution.states import Cost

BURN = "while True: pass"


@pytest.fixture
def started():
    running = []

    def start(code: str) -> int:
        running.append(subprocess.Popen([sys.executable, "-c", code], start_new_session=True))
        return running[-1].pid

    yield start
    for process in running:
        os.killpg(process.pid, signal.SIGKILL)  # its children with it
        process.wait()


def test_cpu_time_of_all_below_a_worker_is_progress_and_its_lack_is_not(started):
    workers = {
        "idle": started("import time; time.sleep(60)"),
        "busy": started(BURN),
        "parent": started(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}])"),
    }
    watch, running = Watch(every=0.3), [(name, number, 1) for number, name in enumerate(workers)]
    time.sleep(1.0)  # Python starts
    end = time.monotonic() + 20
    while not watch.quiet(1.0) or min(c.cpu for c in list(watch.costs().values())[1:]) < 0.1:
        assert time.monotonic() < end
        time.sleep(0.3)
        watch.look(workers, running)
    assert watch.quiet(1.0) == ["idle"]
    costs = watch.costs()
    assert costs[0, 1].cpu == pytest.approx(0.0, abs=0.02)
    assert costs[0, 1].wall == costs[2, 1].wall >= 1.0
    assert costs_in(watch.told()) == costs


def test_time_that_nobody_saw_pass_makes_no_job_late(started, monkeypatch):
    """The main process stood still, or the machine slept."""
    workers = {"a": started("import time; time.sleep(60)")}
    watch, now = Watch(every=10.0), time.monotonic()
    for jump in (1.0, 2.0, 1e6):
        monkeypatch.setattr(time, "monotonic", lambda jump=jump: now + jump)
        watch.look(workers, [("a", 1, 1)])
    assert watch.costs()[1, 1].wall <= 21.0


def test_the_next_try_begins_at_nothing_and_those_without_a_job_are_not_looked_at(started):
    workers = {"a": started("import time; time.sleep(60)")}
    watch = Watch(every=0.01)
    for attempt in (1, 1, 2):
        time.sleep(0.02)
        watch.look(workers, [("a", 1, attempt), ("gone", 2, 1)])
    assert watch.costs() == {(1, 2): Cost()}
    watch.look(workers, [])
    assert watch.costs() == {}


@pytest.mark.parametrize("damaged", [{}, {"job": "x"}, {"job": 1, "attempt": 1, "wall": None, "cpu": 1}])
def test_what_a_damaged_note_says_costs_nothing(damaged):
    assert costs_in({"a": damaged}) == {}
