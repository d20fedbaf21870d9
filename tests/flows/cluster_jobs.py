"""Jobs for tests of clusters: each leaves a line when it begins and when it ends."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from jobflow import CURRENT_JOB, Flow, JobConfig, OnMissing, job

BEGUN, ENDED = "begun", "ended"
_WITH_STORE = JobConfig(expose_store=True)


def note(folder, word, name):
    """In a file of this machine's own: two that append to one over NFS overwrite each other's lines."""
    handle = os.open(Path(folder) / f"{word}-{os.uname().nodename}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{name}\n".encode())
    os.close(handle)


def noted(folder, word):
    """What all machines have noted."""
    return [name for file in sorted(Path(folder).glob(f"{word}-*")) for name in file.read_text().split()]


@job(config=_WITH_STORE)
def label(name, folder, seconds):
    """A label as magflow computes it: looked up before it is paid for."""
    known = CURRENT_JOB.store.query_one({"output.doc_type": "label", "output.label_id": name})
    if known is not None:
        return known["output"]
    note(folder, BEGUN, name)
    time.sleep(seconds)
    note(folder, ENDED, name)
    return {"doc_type": "label", "label_id": name, "value": len(name)}


@job
def poison(folder):
    """Kills its worker, always."""
    note(folder, BEGUN, "poison")
    os.kill(os.getpid(), signal.SIGKILL)


@job
def slow_once(folder, seconds):
    """Takes too long at its first try."""
    tried = "slow" in noted(folder, BEGUN)
    note(folder, BEGUN, "slow")
    time.sleep(0.0 if tried else seconds)
    note(folder, ENDED, "slow")
    return "in time"


@job
def gather(values):
    return sorted(v["label_id"] for v in values if v is not None)


def labels_flow(folder, names, seconds, *others):
    """Labels, other jobs of category dft, and a job that gathers the labels, whatever failed."""
    labels = [label(name, str(folder), seconds) for name in names]
    rest = list(others)
    for made in (*labels, *rest):
        made.metadata["category"] = "dft"
    whole = gather([made.output for made in (*labels, *rest)])
    whole.config = JobConfig(on_missing_references=OnMissing.NONE)
    whole.metadata["category"] = "dft"
    return Flow([*labels, *rest, whole], output=whole.output), whole.uuid
