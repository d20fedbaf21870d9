"""Running a program: exit status, signals, time limit, cost, log."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import psutil
import pytest

from magflow.dft.process import run_program, tail
from magflow.errors import MissingToolError


def sh(tmp_path, script, **options):
    return run_program(["sh", "-c", script], cwd=tmp_path, log=tmp_path / "log", **options)


def test_exit_status_log_and_environment(tmp_path):
    done = sh(tmp_path, "echo out; echo $WORD >&2; pwd; exit 14", env={"WORD": "err"})
    assert (done.returncode, done.timed_out, done.ending) == (14, False, "exit status 14")
    assert done.log_tail.split() == ["out", "err", str(tmp_path)]


def test_signal(tmp_path):
    done = sh(tmp_path, "kill -SEGV $$")
    assert done.returncode == -signal.SIGSEGV
    assert done.ending == "signal SIGSEGV"


def test_standard_input_is_closed(tmp_path):
    assert sh(tmp_path, "read line || echo nothing", time_limit_s=10).log_tail == "nothing\n"


@pytest.mark.parametrize("trap", ["", "trap '' TERM;"])
def test_time_limit_ends_the_whole_group(tmp_path, trap):
    started = time.monotonic()
    done = sh(tmp_path, f"{trap} sleep 61.5 & echo $!; sleep 61.5; sleep 61.5", time_limit_s=0.3)
    assert done.timed_out
    assert done.wall_seconds == pytest.approx(time.monotonic() - started, abs=0.5)
    assert done.wall_seconds < 10
    assert done.returncode < 0
    grandchild = int(done.log_tail.split()[0])
    deadline = time.monotonic() + 5
    while alive(grandchild) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(grandchild)


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("limit", [None, 30.0])
def test_cpu_seconds_count_the_child_and_its_children(tmp_path, limit):
    burn = f"{sys.executable} -c 'import time\nwhile time.process_time() < 0.4: pass'"
    done = sh(tmp_path, f"{burn}; {burn}", time_limit_s=limit)
    assert 0.8 <= done.cpu_seconds < 2.0
    assert done.wall_seconds >= 0.7


def test_program_that_is_not_there(tmp_path):
    with pytest.raises(MissingToolError, match="no-such-program"):
        run_program(["no-such-program"], cwd=tmp_path, log=tmp_path / "log")


def test_interrupt_leaves_nothing_running(tmp_path):
    class Stop(Exception):
        pass

    def handler(*_):
        raise Stop

    previous = signal.signal(signal.SIGUSR1, handler)
    main = threading.main_thread().ident
    try:
        threading.Timer(0.5, lambda: signal.pthread_kill(main, signal.SIGUSR1)).start()
        with pytest.raises(Stop):
            sh(tmp_path, "echo $$; exec sleep 62.5", time_limit_s=60)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert not alive(int((tmp_path / "log").read_text()))


@pytest.mark.parametrize("ending", ["exit 0", "exit 3", "sleep 60"])
def test_no_child_outlives_the_program(tmp_path, ending):
    """In a session of its own, deaf to SIGTERM; also in the session of the program."""
    deaf = f"{sys.executable} -c 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(61)'"
    sh(tmp_path, f"setsid {deaf} & echo $!; {deaf} & echo $!; sleep 0.5; {ending}", time_limit_s=2)
    children = [int(pid) for pid in (tmp_path / "log").read_text().split()]
    assert len(children) == 2
    assert not any(alive(pid) for pid in children)


def test_tail(tmp_path):
    path = tmp_path / "long"
    path.write_text("".join(f"line {i}\n" for i in range(1000)))
    assert tail(path, 30) == "line 997\nline 998\nline 999\n"
    assert tail(tmp_path / "absent") == ""
    os.mkfifo(tmp_path / "pipe")
    assert tail(tmp_path / "pipe") == ""
