"""Jobs that worker processes can import."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from jobflow import CURRENT_JOB, Flow, JobConfig, OnMissing, Response, job

from magflow.errors import InputError
from magflow.makers.tries import LOST

TOLERANT = JobConfig(on_missing_references=OnMissing.NONE)


@job
def add(a, b=1):
    return a + b


@job
def total(values):
    return sum(v for v in values if v is not None)


@job
def collect(values):
    return list(values)


@job
def fan_out(n):
    parts = [add(i) for i in range(n)]
    whole = total([p.output for p in parts])
    return Response(replace=Flow([*parts, whole], output=whole.output))


@job
def fail(text="broken"):
    raise ValueError(text)


@job
def refuse(note):
    with Path(note).open("a") as file:
        file.write("tried ")
    raise InputError("not like this", where="toy", hint="another way")


@job
def kill_self():
    os.kill(os.getpid(), signal.SIGKILL)


@job
def fail_once(marker):
    if not Path(marker).exists():
        Path(marker).touch()
        raise RuntimeError("first time")
    return "second time"


@job
def environment():
    return {"threads": os.environ["OMP_NUM_THREADS"], "directory": str(Path.cwd()), "pid": os.getpid()}


@job
def leave_file(name="note.txt"):
    Path(name).write_text("left")
    return str(Path.cwd())


@job
def sleep_with_child(seconds, note):
    child = subprocess.Popen(["sleep", str(seconds)], start_new_session=True)
    Path(note).write_text(f"{os.getpid()} {child.pid}")
    child.wait()
    return "slept"


@job
def stand_still_once(marker):
    """As a worker that is deadlocked, or waits for a disk that has gone."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGSTOP)
    return "went on"


@job
def lost_seconds():
    """What earlier tries of this very job have cost: wall and CPU time."""
    return [LOST.get().wall_seconds, LOST.get().cpu_seconds]


@job
def read_stdin():
    return subprocess.run(["cat"], capture_output=True, check=True, timeout=20).stdout.decode()


@job
def count_store():
    return CURRENT_JOB.store.count({})


@job(data="array")
def with_array(n):
    return {"array": list(range(n)), "n": n}


@job
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@job
def stop_flow():
    return Response(output=1, stop_jobflow=True, addition=add(1))


@job
def stored():
    return Response(output=1, stored_data={"note": "kept"})


@job
def returns_bad_job():
    return add(_local_only)


def _outer():
    def inner():
        return 1

    return inner


_local_only = _outer()


@job
def node(spec, inputs):
    """A job of a generated flow (see `build`)."""
    value = {"id": spec["id"], "sum": 1 + sum(i["sum"] for i in inputs if isinstance(i, dict) and "sum" in i)}
    kind = spec["kind"]
    if kind == "fail":
        raise ValueError(spec["id"])
    if kind == "stop_children":
        return Response(output=value, stop_children=True)
    children = build(spec["children"])
    if kind == "value" or not children:
        return value
    if kind == "replace_job":
        return children[0]
    if kind == "replace_list":
        return children
    if kind == "replace":
        return Response(replace=Flow(children, output=children[-1].output))
    if kind == "replace_stop":
        return Response(replace=Flow(children, output=children[-1].output), stop_children=True)
    if kind == "replace_silent":
        return Response(replace=Flow(children))
    if kind == "detour":
        return Response(output=value, detour=Flow(children))
    return Response(output=value, addition=Flow(children))


def build(specs):
    """Jobs with fixed uuids; ``spec["parents"]`` are positions of earlier siblings."""
    jobs = []
    for spec in specs:
        new = node(spec, [jobs[p].output for p in spec["parents"]])
        new.set_uuid(spec["id"])
        if spec["tolerant"]:
            new.config = TOLERANT
        jobs.append(new)
    return jobs
