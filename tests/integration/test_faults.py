"""Whatever is killed, whenever: the same results, nothing lost, nothing computed twice once it was acknowledged."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import fault_jobs
import psutil
import pytest

from attacks import seeds
from magflow.errors import StoreError
from magflow.execution.local.executor import LocalExecutor
from magflow.execution.local.processes import TAG, tag
from magflow.execution.local.queue import JobQueue
from magflow.execution.local.reader import QueueReader
from magflow.execution.states import UNSETTLED, JobState
from magflow.stores import connection
from magflow.stores.jobstore import campaign_store
from magflow.stores.layout import DATABASE

HERE = Path(__file__).parent
LABELS = 6


def labels(store):
    return {d["output"]["label_id"]: d["output"]["value"] for d in store.query({"output.doc_type": "label"})}


def computed(directory):
    side_file = directory / fault_jobs.SIDE_FILE
    return Counter(side_file.read_text().split()) if side_file.exists() else Counter()


def workers_of(directory):
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(TAG, "").startswith(tag(directory)):
                found.append(process)
    return found


def start(directory, **options):
    command = [sys.executable, str(HERE / "fault_jobs.py"), str(directory)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options)


def acknowledged(directory):
    """Labels whose document is in the store, and the jobs that are completed."""
    store = campaign_store(directory)
    done = {(j.uuid, j.index): j.tries for j in QueueReader(directory).jobs() if j.state == JobState.COMPLETED}
    return set(labels(store)), done


def completed(directory):
    return QueueReader(directory).counts()[JobState.COMPLETED]


def random_moment(directory, rng):
    """While processes start, or some jobs later."""
    if rng.random() < 0.25:
        time.sleep(rng.uniform(0.0, 1.0))
        return
    goal, end = completed(directory) + rng.randrange(12), time.monotonic() + 20
    while completed(directory) <= goal and time.monotonic() < end:
        time.sleep(0.03)
    time.sleep(rng.uniform(0.0, 0.05))


def kill_some(main, directory, rng):
    """Kill -9 the main process, or one worker (and the main process later), or all at once."""
    what = rng.choice(["main", "worker", "all"])
    workers = [] if what == "main" else workers_of(directory)
    rng.shuffle(workers)
    for pid in [p.pid for p in workers[: 1 if what == "worker" else None]] + ([] if what == "worker" else [main.pid]):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if what == "worker":
        random_moment(directory, rng)
        main.kill()
    main.communicate()


def torment(directory, rounds, seed):
    """Kill at random moments; returns how often each label had been computed when it was first seen acknowledged."""
    rng = random.Random(seed)
    seen, finished = {}, {}
    for _ in range(rounds):
        kill_some_during_a_run(directory, rng)
        known, done = acknowledged(directory)
        counts = computed(directory)
        for label_id in known:  # once acknowledged, the number of computations never grows
            assert counts[label_id] == seen.setdefault(label_id, counts[label_id]), label_id
        assert finished.items() <= done.items()
        finished = done
        assert any(QueueReader(directory).counts()[s] for s in UNSETTLED), "the flow is too short for so many rounds"
    return seen


def kill_some_during_a_run(directory, rng):
    main = start(directory)
    random_moment(directory, rng)
    kill_some(main, directory, rng)


def check_against_undisturbed(tmp_path, rounds, generations, seed):
    calm, wild = tmp_path / "calm", tmp_path / "wild"
    for directory in (calm, wild):
        directory.mkdir()
        fault_jobs.submit(directory, generations, LABELS)
    assert start(calm).wait() == 0
    expected = labels(campaign_store(calm))
    assert len(expected) == fault_jobs.number_of_labels(generations, LABELS)

    seen = torment(wild, rounds, seed)
    last = start(wild)
    assert last.wait() == 0, last.stderr.read()
    store = campaign_store(wild)
    assert labels(store) == expected
    assert store.count({"output.doc_type": "label"}) == campaign_store(calm).count({"output.doc_type": "label"})
    assert {d["output"] for d in store.query({"name": "summary"})} == {sum(expected.values())}
    counts = computed(wild)
    assert all(counts[label_id] == number for label_id, number in seen.items())
    assert QueueReader(wild).counts() == QueueReader(calm).counts()
    assert connection.connect(wild / DATABASE).execute("PRAGMA integrity_check").fetchone() == ("ok",)
    blobs = store.additional_stores["data"]
    assert blobs.count() == store.count({"output.doc_type": "label"})  # none missing, none left over
    assert not workers_of(wild)
    print(f"{rounds} rounds from seed {seed}: {len(seen)} labels acknowledged, {len(expected)} in the end")


def test_five_rounds_of_kill_9(tmp_path):
    check_against_undisturbed(tmp_path, rounds=5, generations=20, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", seeds(2))
def test_fifty_rounds_of_kill_9(tmp_path, seed):
    check_against_undisturbed(tmp_path, rounds=50, generations=150, seed=seed)


def test_file_size_limit_is_a_store_error_and_loses_nothing(tmp_path):
    """As a full disk: writes fail beyond a size, in every process of the campaign."""
    fault_jobs.submit(tmp_path, 40, LABELS, size=20_000)
    size = 1_500_000
    limited = start(tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    _, text = limited.communicate(timeout=120)
    assert limited.returncode == StoreError.exit_code, text
    assert "disk is full" in text
    known, _ = acknowledged(tmp_path)
    before = computed(tmp_path)
    assert known
    assert start(tmp_path).wait() == 0  # with room again
    assert known <= set(labels(campaign_store(tmp_path)))
    assert len(labels(campaign_store(tmp_path))) == fault_jobs.number_of_labels(40, LABELS)
    assert all(computed(tmp_path)[label_id] == before[label_id] for label_id in known)
    assert connection.connect(tmp_path / DATABASE).execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not QueueReader(tmp_path).failed()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB, and a function that makes it read-only."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a tmpfs: {mounted.stderr.decode().strip()}")
    yield disk, lambda: subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    connection.disconnect(disk / DATABASE)
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_full_disk_is_a_store_error_and_loses_nothing(small_disk):
    disk, _ = small_disk
    store = campaign_store(disk)
    store.connect()
    written = []
    with pytest.raises(StoreError, match="full") as caught:
        for i in range(1000):
            store.update({"uuid": str(i), "index": 1, "output": {"text": os.urandom(5000).hex()}, "name": "x"})
            written.append(str(i))
    assert "space" in caught.value.hint
    assert len(written) > 20
    assert sorted(d["uuid"] for d in store.query({}, ["uuid"])) == sorted(written)
    assert connection.connect(disk / DATABASE).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_read_only_directory_is_a_store_error_but_can_be_read(small_disk):
    disk, make_read_only = small_disk
    fault_jobs.submit(disk, 1, LABELS)
    connection.merge_log(disk / DATABASE)
    connection.disconnect(disk / DATABASE)
    make_read_only()
    assert QueueReader(disk).counts()[JobState.READY] == 1
    for attempt in (lambda: LocalExecutor(disk).run(), lambda: JobQueue(disk).claim("a")):
        with pytest.raises(StoreError, match=r"read-only|cannot be (opened|written)"):
            attempt()
    with pytest.raises(StoreError, match=r"read-only|cannot be opened"):
        campaign_store(disk).update({"uuid": "1", "index": 1, "output": 1, "name": "x"})
    assert QueueReader(disk).counts()[JobState.READY] == 1


def test_directory_without_write_permission_is_a_store_error(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("permissions do not bind the superuser; the read-only disk is tested instead")
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(StoreError, match=r"cannot be (opened|created)|read-only"):
            LocalExecutor(tmp_path).run()
    finally:
        tmp_path.chmod(0o755)
