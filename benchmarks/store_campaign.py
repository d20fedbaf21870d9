"""A simulated campaign (no DFT) in each store: time to write it, size, memory, and latency of what users ask.

    python benchmarks/store_campaign.py [--labels 2000] [--stores sqlite memory wire-double wire-double-bulk]
                                        [--readers 4]

Every document is written by itself, as the jobs of a campaign do: 500 labels per iteration, then their batch, three
models and the assessment. Latencies are the shortest of `--repeats` calls: status, one label by its label_id, the ten
largest forces, the usable labels of one iteration with their arrays, and the arrays of one label. "memory" is maggma's
MemoryStore; "wire-double" is the test double of MongoDB, through pymongo and TCP: its latency says nothing about
MongoDB's, only that the calls work at that size; "wire-double-bulk" has the documents without arrays, sent at once.

With `--readers` so many processes ask the embedded store while it is written, each one thing every two seconds: the
status, the newest label by its label_id, its arrays. Told for each quarter of the run: labels written per second of
processor time, and median and longest time of an answer.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np
import psutil

from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.core.frame import Frame
from magflow.core.label import Cost, Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.execution.local.queue import JobQueue
from magflow.execution.status import campaign_status
from magflow.makers.base import Campaign
from magflow.makers.documents import BatchDoc, IterationDoc, ModelDoc
from magflow.makers.label_document import label_document
from magflow.makers.packing import pack_batch
from magflow.stores import contents, queries
from magflow.stores.connection import merge_log
from magflow.stores.layout import DATABASE

ROOT = Path(__file__).parents[1]
BATCH = 500
LEVEL = LevelOfTheory("model Hamiltonian", "1", LabelKind.CONSTRAINED, "none", {}, {})
IN_MEMORY = {"docs_store": {"type": "MemoryStore"}, "additional_stores": {"data": {"type": "MemoryStore"}}}


def labelled(rng: np.random.Generator, atoms: int) -> LabeledFrame:
    """A frame of iron with random data."""
    moments = np.zeros((atoms, 3))
    moments[:, 2] = rng.uniform(-2.5, 2.5, atoms)
    frame = Frame(("Fe",) * atoms, np.eye(3) * 5.7, rng.uniform(0, 5.7, (atoms, 3)), moments)
    data = {"forces": rng.normal(size=(atoms, 3)), "magnetic_forces": rng.normal(size=(atoms, 3)), "magmoms": moments}
    cost = Cost(100.0, 60.0, 2)
    label = Label(frame.frame_id, LEVEL, frame.orientation, energy=float(rng.normal()), cost=cost, attempts=1, **data)
    return LabeledFrame(frame, label)


def put(store, campaign: Campaign, output, *words) -> None:
    """Write one document as jobflow does."""
    entry = {
        "uuid": str(uuid5(NAMESPACE_OID, f"{campaign.id}/{words}")),
        "index": 1,
        "name": f"{words[0]} {words[1]}",
        "completed_at": f"2026-01-01T00:{words[1] % 60:02d}:00.000000",
        "metadata": {"campaign": campaign.id, "category": "dft"},
        "hosts": [],
        "output": output.model_dump(mode="json"),
    }
    store.update(entry, key=["uuid", "index"], save={"data": "arrays"})


class Bulk:
    """Takes the documents of a campaign, without arrays, and writes them at once."""

    def __init__(self, store) -> None:
        self.store, self.entries = store, []

    def update(self, entry: dict, key: list, save: dict) -> None:
        entry["output"]["arrays"] = {"blob_uuid": "none", "store": "data"}
        self.entries.append(entry)

    def flush(self) -> None:
        """Write them, without the unique index, for which the double compares each document with all others."""
        collection = self.store.docs_store._collection
        collection.drop_indexes()
        for start in range(0, len(self.entries), 500):
            collection.insert_many(self.entries[start : start + 500])


def simulate(
    store, campaign: Campaign, labels: int, atoms: int, tell: Callable[[int], None] = lambda written: None
) -> None:
    """Write a campaign of `labels` labels; after each iteration `tell` how many there are."""
    rng = np.random.default_rng(0)
    for iteration in range(-(-labels // BATCH)):
        items, documents = [], []
        for i in range(min(BATCH, labels - iteration * BATCH)):
            item = labelled(rng, atoms)
            document = label_document(item.frame, item.label, campaign, "spin-lattice", "perturbation", iteration)
            put(store, campaign, document, "label", iteration, i)
            items.append(item)
            documents.append(document)
        finish(store, campaign, iteration, items, documents)
        tell(iteration * BATCH + len(items))


def finish(store, campaign: Campaign, iteration: int, items: list, documents: list) -> None:
    """Write what follows the labels of an iteration."""
    mine = {"campaign": campaign.id, "iteration": iteration}
    total = iteration * BATCH + len(items)
    batch = BatchDoc(
        **mine,
        label_ids=[d.label_id for d in documents],
        failed={},
        suspects=0,
        levels_of_theory=[LEVEL.as_dict()],
        cpu_seconds=1.0,
        wall_seconds=1.0,
        core_hours=1.0,
        reused=0,
        arrays=pack_batch(items, []),
    )
    put(store, campaign, batch, "collect", iteration)
    for member in range(3):
        model = ModelDoc(
            **mine,
            family="mmtp",
            settings={},
            member=member,
            seed=member,
            elements=["Fe"],
            n_labels=total,
            dataset=f"{total:024x}",
            level_of_theory=LEVEL.as_dict(),
            converged=True,
            rmse={"train": {"energy": 0.01}},
            cpu_seconds=10.0,
            wall_seconds=10.0,
            arrays="x" * 40_000,
        )
        put(store, campaign, model, "train", iteration, member)
    assessed = IterationDoc(
        **mine,
        offered=10 * BATCH,
        selected=len(items),
        labels_new=len(items),
        labels_failed=0,
        labels_total=total,
        labels_attempted=total,
        failures={},
        exhausted=False,
        assessment=None,
        calibration={},
        rmse={"energy": 0.01},
        within_target=False,
        streak=0,
        train_rmse={"energy": 0.01},
        core_hours={"label": 1.0, "train": 0.1},
        core_hours_total=1.1 * (iteration + 1),
        arrays="x" * 100_000,
    )
    put(store, campaign, assessed, "assess", iteration)


QUARTERS = 4
PAUSE_S = 2.0


def read_on(path: str, position: Any, answers: Any) -> None:
    """Ask until `position`, the number of labels written, is negative; answers are (labels, question, seconds)."""
    here = CampaignDirectory.existing(Path(path))
    parent = multiprocessing.parent_process()
    while (written := position.value) >= 0 and parent is not None and parent.is_alive():
        newest = here.store.query_one({"output.doc_type": "label"}, ["output.label_id"], sort={"completed_at": -1})
        if newest is not None:
            wanted = {"label_id": newest["output"]["label_id"]}
            asked = {
                "status": lambda: campaign_status(here),
                "label": lambda wanted=wanted: queries.labels(here.store, criteria=wanted, campaign=here.id),
                "arrays": lambda wanted=wanted: queries.labels(
                    here.store, criteria=wanted, campaign=here.id, arrays=True
                ),
            }
            for name, act in asked.items():
                began = time.perf_counter()
                found = act()
                answers.put((written, name, time.perf_counter() - began))
                if not found:
                    raise SystemExit(f"a label that was seen is gone: {wanted}")
                time.sleep(PAUSE_S)
        time.sleep(PAUSE_S)


def with_readers(path: Path, readers: int, labels: int, write: Callable[[Callable[[int], None]], None]) -> None:
    """Run `write`, which tells how many labels there are, beside so many readers; print what each quarter was like."""
    spawn = multiprocessing.get_context("spawn")
    position, answers = spawn.Value("q", 0), spawn.Queue()
    others = [spawn.Process(target=read_on, args=(str(path), position, answers)) for _ in range(readers)]
    for process in others:
        process.start()
    last = (0, time.perf_counter(), time.process_time())

    def tell(written: int) -> None:
        nonlocal last
        position.value = written
        if written >= last[0] + labels / QUARTERS:
            now = (written, time.perf_counter(), time.process_time())
            print(_quarter(last, now, answers), flush=True)
            last = now

    write(tell)
    position.value = -1
    for process in others:
        process.join()
        if process.exitcode:
            raise SystemExit(f"a reader ended with {process.exitcode}")


def _quarter(before: tuple[int, float, float], after: tuple[int, float, float], answers: Any) -> str:
    number, wall, cpu = (b - a for a, b in zip(before, after, strict=True))
    line = f"{after[0]:9d} labels: {wall:7.0f} s, {1e3 * cpu / number:5.2f} CPU ms each"
    got = [answers.get() for _ in range(answers.qsize())]
    for name in ("status", "label", "arrays"):
        if times := [1e3 * seconds for _, asked, seconds in got if asked == name]:
            line += f"; {name} {statistics.median(times):.1f} ms, longest {max(times):.0f} (of {len(times)})"
    return line


def shortest_ms(act, repeats: int) -> float:
    """Shortest wall time of `act` in ms, after one call that is not counted: others use the machine too."""
    act()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        act()
        times.append(time.perf_counter() - began)
    return 1e3 * min(times)


def questions(here: CampaignDirectory, labels: int, bulk: bool) -> dict[str, object]:
    """What is asked, by name."""
    store, mine = here.store, here.id
    some = queries.labels(store, criteria={"iteration": 0}, campaign=mine)[BATCH // 2 if labels > BATCH else 0]
    last = (labels - 1) // BATCH
    return {
        "status": lambda: campaign_status(here),
        "by label_id": lambda: queries.labels(store, criteria={"label_id": some.label_id}, campaign=mine),
        "top 10": lambda: queries.labels(store, campaign=mine, sort={"force_max": -1}, limit=10),
    } | (
        {}
        if bulk
        else {
            "iteration": lambda: contents.labelled_frames(store, {"iteration": last}, campaign=mine),
            "arrays": lambda: queries.labels(store, criteria={"label_id": some.label_id}, campaign=mine, arrays=True),
        }
    )


def measure(kind: str, labels: int, atoms: int, repeats: int, readers: int = 0) -> dict[str, float]:
    """Write the campaign into one kind of store and ask."""
    from ruamel.yaml import YAML

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        yaml = YAML(typ="safe")
        content = yaml.load(ROOT / "workflows" / "model_hamiltonian.yaml")
        if kind == "memory":
            content["store"] = IN_MEMORY
        if kind.startswith("wire-double"):
            sys.path.insert(0, str(ROOT / "tests"))
            from doubles.mongo_wire import WireMongo

            content["store"] = {"mongodb": {"uri": stack.enter_context(WireMongo()).uri}}
        file = Path(folder) / "campaign.yaml"
        with file.open("w") as out:
            yaml.dump(content, out)
        spec = load_campaign(file)
        here = CampaignDirectory.prepare(Path(folder) / "run", file, spec)
        JobQueue(here.path)
        campaign = Campaign(here.id, spec.name, ["Fe"], 0)
        began, cpu = time.perf_counter(), time.process_time()
        target = Bulk(here.store) if kind.endswith("bulk") else here.store
        if readers and kind == "sqlite":
            with_readers(here.path, readers, labels, lambda tell: simulate(target, campaign, labels, atoms, tell))
        else:
            simulate(target, campaign, labels, atoms)
        if isinstance(target, Bulk):
            target.flush()
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        merge_log(here.path / DATABASE)
        figures = {"write s": wall, "CPU ms/label": 1e3 * cpu / labels}
        figures["MB"] = sum(p.stat().st_size for p in here.path.glob("campaign.db*")) / 1e6 if kind == "sqlite" else 0.0
        figures["RSS MB"] = psutil.Process().memory_info().rss / 1e6
        return figures | ask(here, labels, repeats, kind.endswith("bulk"))


def ask(here: CampaignDirectory, labels: int, repeats: int, bulk: bool = False) -> dict[str, float]:
    """Latency of each question in ms."""
    return {f"{name} ms": shortest_ms(act, repeats) for name, act in questions(here, labels, bulk).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=2000)
    parser.add_argument("--atoms", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--readers", type=int, default=0, help="processes that ask while the embedded store is written")
    parser.add_argument("--stores", nargs="+", default=["sqlite", "memory"])
    options = parser.parse_args()
    print(f"{options.labels} labels, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    first: dict[str, float] | None = None
    for kind in options.stores:
        figures = measure(kind, options.labels, options.atoms, options.repeats, options.readers)
        first = first or figures
        if first is figures:
            print(f"{'store':>12} " + " ".join(f"{name:>15}" for name in figures))
        print(f"{kind:>12} " + " ".join(f"{value:15.2f}" for value in figures.values()), flush=True)
        if first is not figures:
            ratios = [value / first[name] if first[name] else 0.0 for name, value in figures.items()]
            print(f"{'ratio':>12} " + " ".join(f"{ratio:14.1f}x" for ratio in ratios), flush=True)


if __name__ == "__main__":
    main()
