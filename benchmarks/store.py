"""Inserts per second and latency by uuid of the SQLite store, against maggma's MemoryStore and JSONStore, in one run.

    python benchmarks/store.py [--sizes 100 1000 10000] [--json-limit 300]

Documents of 15 kB, inserted one at a time as jobs do. JSONStore rewrites its whole file at each insert, so it is
measured on at most `--json-limit` documents.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
import uuid
from pathlib import Path

from maggma.stores import JSONStore, MemoryStore

from magflow.stores.layout import DOCUMENT_FIELDS
from magflow.stores.sqlite import SQLiteStore


def document(rng, i):
    """A task document: ids, some scalars, and forces of 350 atoms as numbers; about 15 kB."""
    output = {"doc_type": "label", "iteration": i % 20, "label_id": f"{rng.getrandbits(96):024x}", "state": "ok"}
    output["forces"] = [[rng.gauss(0, 1) for _ in range(3)] for _ in range(350)]
    return {"uuid": str(uuid.UUID(int=rng.getrandbits(128))), "index": 1, "name": "label", "output": output}


def measure(store, documents):
    """Inserts per second, CPU time of one in ms, and the median latency of a look-up by uuid in ms."""
    store.connect()
    began, cpu = time.perf_counter(), time.process_time()
    for doc in documents:
        store.update(doc, key=["uuid", "index"])
    rate = len(documents) / (time.perf_counter() - began)
    cpu = 1e3 * (time.process_time() - cpu) / len(documents)
    times = []
    for doc in random.Random(1).sample(documents, min(50, len(documents))):
        began = time.perf_counter()
        found = store.query_one({"uuid": doc["uuid"]}, sort={"index": -1})
        times.append(time.perf_counter() - began)
        if found["output"]["label_id"] != doc["output"]["label_id"]:
            raise SystemExit(f"{store.name}: wrong document")
    return rate, cpu, 1e3 * statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--json-limit", type=int, default=300)
    options = parser.parse_args()
    rng = random.Random(0)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    titles = ("documents", "store", "inserts/s", "CPU ms", "by uuid, ms", "rate, ratio", "latency, ratio")
    print(" ".join(f"{t:>14}" for t in titles))
    for size in options.sizes:
        documents = [document(rng, i) for i in range(size)]
        with tempfile.TemporaryDirectory() as directory:
            ours = measure(SQLiteStore(str(Path(directory) / "s.db"), fields=DOCUMENT_FIELDS), documents)
            print(f"{size:14d} {'SQLite':>14} {ours[0]:14.0f} {ours[1]:14.2f} {ours[2]:14.3f}")
            peers = {"Memory": (MemoryStore(key="uuid"), documents)}
            limited = documents[: options.json_limit]
            peers["JSON"] = (JSONStore(str(Path(directory) / "s.json"), read_only=False, key="uuid"), limited)
            for name, (store, docs) in peers.items():
                rate, cpu, latency = measure(store, docs)
                ratios = f"{ours[0] / rate:13.1f}x {latency / ours[2]:13.1f}x"
                print(f"{len(docs):14d} {name:>14} {rate:14.0f} {cpu:14.2f} {latency:14.3f} {ratios}")


if __name__ == "__main__":
    main()
