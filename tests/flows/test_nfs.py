"""What nodes share in a directory on NFS: two Linux kernels mount it, one of them is killed or cut off.

The server is this machine, where the directory is a local one, as on a cluster whose login node serves its disk.
"""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from attacks import rounds
from kernel_nodes import LEASE_S, KernelNodes, NodesUnavailableError
from magflow.campaign.lock import holder_of
from magflow.core.files import is_listed, replace_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

MAGFLOW = (sys.executable, "-m", "magflow")
DENIED_S = 15.0
"""Well within the half minute for which an NFS client denies a name that it once asked for in vain."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[KernelNodes]:
    made = KernelNodes(2)
    try:
        made.start()
    except NodesUnavailableError as error:
        pytest.skip(f"no nodes with a directory on NFS: {error}")
    yield made
    made.stop()


@pytest.fixture
def shared(cluster, request) -> Path:
    """A new directory that all see."""
    folder = cluster.shared / request.node.name.replace("[", "-").rstrip("]")
    folder.mkdir()
    return folder


def wait_for(path: Path, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path.name}"
        time.sleep(0.05)


def told(node, text: str, *words: object) -> str:
    """What a Python program on a node prints."""
    done = node.python(text, *words).result()
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- the embedded store


@pytest.fixture(scope="module")
def campaign(cluster, write_campaign) -> Path:
    """A finished campaign with an embedded store, run where the directory is on a local disk; its file is beside it."""
    file = write_campaign(cluster.shared / "tiny.yaml", stop={"labels": 10})
    done = subprocess.run(
        [*MAGFLOW, "run", str(file), "--dir", "tiny"], cwd=cluster.shared, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return cluster.shared / "tiny"


def test_an_embedded_store_is_not_made_on_nfs(cluster, campaign, shared):
    node = cluster.nodes[0]
    assert "type nfs4" in node.run("mount").stdout
    checked = node.run(*MAGFLOW, "check", "tiny.yaml", "--dir", shared / "new", seconds=300)
    assert checked.returncode == 4
    assert "the embedded store needs a local disk (seen a nfs4 file system mounted at" in checked.stdout
    run = node.run(*MAGFLOW, "run", "tiny.yaml", "--dir", shared / "new", seconds=300)
    assert run.returncode == 4
    assert "use a MongoDB store" in run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    assert list(shared.rglob("*.db*")) == []


def test_a_finished_campaign_on_nfs_is_read_and_not_written(cluster, campaign):
    node, before = cluster.nodes[0], (campaign / "campaign.db").read_bytes()
    status = node.run(*MAGFLOW, "status", "tiny", "--json", seconds=300)
    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout)["labels"] == 10
    retried = node.run(*MAGFLOW, "retry", "tiny", seconds=300)
    assert retried.returncode == 4
    assert "the embedded store needs a local disk" in retried.stdout + retried.stderr
    assert (campaign / "campaign.db").read_bytes() == before
    (campaign / "campaign.db-shm").touch()  # as where it is being run; the node has just seen that it is not there
    try:
        in_use = node.run(*MAGFLOW, "status", "tiny", seconds=300)
    finally:
        (campaign / "campaign.db-shm").unlink()
    assert in_use.returncode == 4
    assert "open on another machine" in in_use.stdout + in_use.stderr


# ---- what one node writes and another reads


SEEN = """
import sys, time
from pathlib import Path
from magflow.core.files import is_listed
path, how = Path(sys.argv[1]), sys.argv[2]
look = path.exists if how == "asked" else lambda: is_listed(path)
assert not look()
path.with_name("looked").touch()
while not look():
    time.sleep(0.05)
print(time.time())
"""
WRITTEN = """
import sys, time
from pathlib import Path
from magflow.core.files import replace_file
replace_file(Path(sys.argv[1]), b"x")
print(time.time())
"""


@pytest.mark.parametrize("how", ["asked", "listed"])
def test_a_name_that_was_not_there_is_seen_by_listing_its_directory(cluster, shared, how):
    """A client goes on denying it to who asks for the name itself; the kernel's clocks are one."""
    writer, reader = cluster.nodes
    looks = reader.python(SEEN, shared / "result", how)
    wait_for(shared / "looked")
    time.sleep(1.0)
    written = float(told(writer, WRITTEN, shared / "result"))
    found = looks.result()
    assert found.returncode == 0, found.stderr
    late = float(found.stdout) - written
    print(f"{how}: seen after {late:.1f} s")
    assert (late > DENIED_S) == (how == "asked")


WRITER = """
import socket, sys
from itertools import count
from pathlib import Path
from magflow.core.files import append_to_file, create_file, replace_file, size_on_disk
folder, host, port, size = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
database = socket.create_connection((host, port))
for number in count(1):
    line = b"%08d" % number * size
    replace_file(folder / "state", line)
    create_file(folder / "results" / str(number), line)
    append_to_file(folder / "log", b"%08d" % number)
    assert size_on_disk(folder / "log") == 8 * number
    database.sendall(b"%d " % number)
"""
READER = """
import sys, time
from pathlib import Path
folder, size, last, seen = Path(sys.argv[1]), int(sys.argv[2]), 0, 0
(folder / "reads").touch()
while not (folder / "end").exists():
    content = (folder / "state").read_bytes()
    number = int(content[:8])
    assert content == b"%08d" % number * size, "half a state"
    assert number >= last, "an older state"
    seen += number > last
    last = number
print(seen)
"""
SIZE = 20_000  # times 8 bytes: more than one request can carry in pages


@contextmanager
def database(address: str) -> Iterator[tuple[int, list[str]]]:
    """Somebody far away to whom the writer says what is done: its port, and what it has heard, in the end."""
    heard = [""]
    with closing(socket.create_server((address, 0))) as server:

        def listen() -> None:
            connection, _ = server.accept()
            with connection:
                while data := connection.recv(4096):
                    heard[0] += data.decode()

        threading.Thread(target=listen, daemon=True).start()
        yield server.getsockname()[1], heard


def test_what_a_node_had_acknowledged_outlives_its_death(cluster, shared):
    """Killed in the middle of its writing, with all that its kernel kept in memory; the other node reads meanwhile."""
    dying, other = cluster.nodes
    for round_ in range(rounds(5)):
        folder = shared / str(round_)
        (folder / "results").mkdir(parents=True)
        replace_file(folder / "state", b"%08d" % 0 * SIZE)  # a reader that misses it would deny it for half a minute
        with database(cluster.address) as (port, heard):
            reads = other.python(READER, folder, SIZE)
            wait_for(folder / "reads")
            dying.python(WRITER, folder, cluster.address, port, SIZE)
            deadline = time.monotonic() + 60
            while len(heard[0].split()) < 10 + 7 * (round_ % 5):
                assert time.monotonic() < deadline, "the writer stands still"
                time.sleep(0.001 * (1 + round_ % 7))
            dying.kill()
            acknowledged = int(heard[0].rpartition(" ")[0].split()[-1])
        dying.boot()
        judge(other, folder, acknowledged)
        replace_file(folder / "end", b"")
        seen = reads.result()
        assert seen.returncode == 0, seen.stderr
        assert int(seen.stdout) > 1
        print(f"round {round_}: {acknowledged} acknowledged, {seen.stdout.strip()} states seen by the other node")


def judge(other, folder: Path, acknowledged: int) -> None:
    """By the server's disk and by the other node's eyes."""
    assert int((folder / "state").read_bytes()[:8]) in (acknowledged, acknowledged + 1)
    here = {p.name: p.read_bytes() for p in (folder / "results").iterdir() if not p.name.startswith(".")}
    assert set(here) - {str(acknowledged + 1)} == {str(n) for n in range(1, acknowledged + 1)}
    assert all(content == b"%08d" % int(name) * SIZE for name, content in here.items())
    log = (folder / "log").read_bytes()
    assert log[: 8 * acknowledged] == b"".join(b"%08d" % n for n in range(1, acknowledged + 1))
    listed = other.run("sh", "-c", "cat results/[0-9]* | wc -c; wc -c < log", cwd=folder).stdout.split()
    assert listed == [str(8 * SIZE * len(here)), str(len(log))]


def test_a_server_that_is_away_is_waited_for(cluster, shared):
    """Killed and started again: the writer stands still meanwhile, and nothing it was told is undone."""
    (shared / "results").mkdir()
    with database(cluster.address) as (port, heard):
        writes = cluster.nodes[0].python(WRITER, shared, cluster.address, port, SIZE)
        for number in range(rounds(3)):
            before = len(heard[0].split())
            while len(heard[0].split()) < before + 5:
                time.sleep(0.01)
            cluster.server.kill()
            time.sleep(1.0 + number)
            cluster.server.start()
        before, deadline = len(heard[0].split()), time.monotonic() + 60 + 3 * LEASE_S
        while len(heard[0].split()) < before + 5:
            assert time.monotonic() < deadline, "the writer stands still"
            time.sleep(0.01)
        writes.kill()
        time.sleep(2.0)  # the agent kills it
        acknowledged = int(heard[0].rpartition(" ")[0].split()[-1])
    judge(cluster.nodes[1], shared, acknowledged)


# ---- locks


HOLDS = """
import sys, time
from pathlib import Path
from magflow.campaign.lock import campaign_lock
with campaign_lock(Path(sys.argv[1])):
    Path(sys.argv[1], "taken").touch()
    time.sleep(600)
"""
TRIES = """
import json, sys
from pathlib import Path
from magflow.campaign.lock import campaign_lock, holder_of
from magflow.errors import CampaignError
found = holder_of(Path(sys.argv[1]))
try:
    with campaign_lock(Path(sys.argv[1])) as lock:
        before = lock.before
    print(json.dumps(["taken", before and before.host]))
except CampaignError as error:
    print(json.dumps(["refused", found and found.host, found and found.alive, str(error)]))
"""


def test_one_node_holds_the_lock_and_the_others_see_which(cluster, shared):
    """Among nodes, and between a node and the machine whose disk it is, in both directions."""
    first, second = cluster.nodes
    holds = first.python(HOLDS, shared)
    wait_for(shared / "taken")
    verdict, host, alive, error = json.loads(told(second, TRIES, shared))
    assert (verdict, host, alive) == ("refused", first.name, True)
    assert "being run by another process" in error
    here = subprocess.run([sys.executable, "-c", TRIES, str(shared)], capture_output=True, text=True, check=True)
    assert json.loads(here.stdout)[:3] == ["refused", first.name, True]
    holds.kill()
    deadline = time.monotonic() + 30
    while (found := json.loads(told(second, TRIES, shared)))[0] != "taken":
        assert time.monotonic() < deadline, found
    assert found[1] == first.name, "who was killed is known"
    (shared / "taken").unlink()
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(shared)]) as local:
        wait_for(shared / "taken")
        verdict, host, alive, _ = json.loads(told(second, TRIES, shared))
        local.kill()
    assert (verdict, host, alive) == ("refused", socket.gethostname(), True)


def test_the_lock_of_a_dead_node_is_free_after_the_lease(cluster, shared):
    first, second = cluster.nodes
    first.python(HOLDS, shared)
    wait_for(shared / "taken")
    first.kill()
    died = time.monotonic()
    try:
        assert holder_of(shared).alive, "its server has not missed it yet"
        for _ in itertools.count():
            verdict, *about = json.loads(told(second, TRIES, shared))
            if verdict == "taken":
                break
            assert time.monotonic() - died < 6 * LEASE_S, about
    finally:
        first.boot()
    assert about == [first.name], "who it was is known"
    print(f"free {time.monotonic() - died:.0f} s after its death; lease {LEASE_S} s")
    assert is_listed(shared / "taken")
