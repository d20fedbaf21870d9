"""A loop of generations with content-derived labels, and a main process that runs it: ``fault_jobs.py DIR``."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path

from jobflow import CURRENT_JOB, Flow, JobConfig, Response, job

SIDE_FILE = "computed.txt"
_WITH_STORE = JobConfig(expose_store=True)


def label_name(generation, i):
    """Every third generation asks again for the labels of the one before."""
    return f"{generation - (generation % 3 == 2)}-{i}"


def number_of_labels(generations, labels):
    return len({label_name(g, i) for g in range(generations) for i in range(labels)})


@job(data="array", config=_WITH_STORE)
def label(name, directory, size):
    """Looked up before it is computed; each computation leaves a line in an append-only file."""
    known = CURRENT_JOB.store.query_one({"output.doc_type": "label", "output.label_id": name}, load=True)
    if known is not None:
        return {"doc_type": "reference", "label_id": name, "value": known["output"]["value"]}
    handle = os.open(Path(directory) / SIDE_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{name}\n".encode())
    os.close(handle)
    time.sleep(0.02)
    digest = hashlib.sha256(name.encode()).digest()
    return {"doc_type": "label", "label_id": name, "value": digest[0], "array": (digest * (size // 32)).hex()}


@job
def summary(values, before):
    return sum(v["value"] for v in values if v["doc_type"] == "label") + before


@job
def generation(number, last, count, directory, before, size):
    labels = [label(label_name(number, i), directory, size) for i in range(count)]
    so_far = summary([x.output for x in labels], before)
    if number + 1 == last:
        return Response(replace=Flow([*labels, so_far], output=so_far.output))
    so_far.name = "partial"
    following = generation(number + 1, last, count, directory, so_far.output, size)
    return Response(replace=Flow([*labels, so_far, following], output=following.output))


def submit(directory, generations, labels, size=256):
    from magflow.execution.local.queue import JobQueue

    JobQueue(directory).submit(generation(0, generations, labels, str(directory), 0, size))


def main(directory):
    from magflow.errors import MagflowError
    from magflow.execution.local.executor import LocalExecutor

    try:
        summary_of_run = LocalExecutor(directory, workers=2, max_crashes=1000).run()
    except MagflowError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0 if summary_of_run.ok else 1


if __name__ == "__main__":
    import fault_jobs  # jobs must come from an importable module, not from __main__

    sys.exit(fault_jobs.main(sys.argv[1]))
