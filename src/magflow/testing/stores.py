"""The contract of a job store: what magflow asks of a jobflow JobStore with an additional store ``data``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import SkipTest

from bson import encode
from jobflow import Flow, JobStore, job, run_locally
from monty.json import MontyDecoder

from magflow.testing.contract import Contract, clause, demand

_SAVE: dict[str, Any] = {"data": "array"}
_LARGE = 1000  # characters of an array, and more than a document without arrays has bytes


@job(data="array")
def measure(n: int) -> dict[str, Any]:
    """A job with a small document and a large array."""
    return {"doc_type": "label", "iteration": n, "label_id": f"l{n}", "array": "x" * _LARGE * n}


def _document(index: int, text: str, uuid: str = "u", **output: Any) -> dict[str, Any]:
    content = {"array": text, "iteration": index, "doc_type": "label"} | output
    return {"uuid": uuid, "index": index, "name": "x", "output": content}


@dataclass(frozen=True, eq=False)
class JobStoreContract(Contract):
    """What every job store of a campaign keeps.

    Parameters
    ----------
    make
        Gives an empty, connected store, a new one at each call.
    outlives_the_process
        False for a store in memory.
    """

    make: Callable[[], JobStore]
    outlives_the_process: bool = True

    @clause
    def a_flow_runs_and_its_arrays_are_apart(self) -> None:
        """Jobs read each other's outputs; documents are small, arrays are in the additional store and come back."""
        store = self.make()
        first = measure(1)
        second = measure(first.output["iteration"])
        run_locally(Flow([first, second]), store=store, log=False, ensure_success=True)
        found = store.count({"output.iteration": 1, "output.doc_type": "label"})
        demand(found == 2, f"{found} documents of 2 jobs")
        size = len(encode(store.query_one({"uuid": first.uuid}) or {}))
        demand(size < _LARGE, f"a document without its array takes {size} bytes")
        for one in (first, second):
            array = store.get_output(one.uuid, load=True)["array"]
            demand(array == "x" * _LARGE, f"an array of {len(array)} characters, {_LARGE} were stored")

    @clause
    def a_job_that_runs_again_replaces_document_and_arrays(self) -> None:
        """There is one document per uuid and index, with the arrays of the last run."""
        store = self.make()
        for text in ("a", "b", "c"):
            store.update(_document(1, text), save=_SAVE)
        store.update(_document(2, "d"), save=_SAVE)
        demand(store.count() == 2, f"{store.count()} documents of a job with 2 indices")
        arrays = {d["index"]: d["output"]["array"] for d in store.query({}, load=True)}
        demand(arrays == {1: "c", 2: "d"}, f"arrays {arrays}")

    @clause
    def nothing_that_was_written_is_lost(self) -> None:
        """Every document of an update is there, with its array, whether written alone or with others."""
        store = self.make()
        store.update([_document(1, f"together {k}", f"t{k}") for k in range(7)], save=_SAVE)
        for k in range(7):
            store.update(_document(1, f"alone {k}", f"a{k}"), save=_SAVE)
        found = {d["uuid"]: d["output"]["array"] for d in store.query({}, load=True)}
        wanted = {f"{w[0]}{k}": f"{w} {k}" for w in ("together", "alone") for k in range(7)}
        demand(found == wanted, f"lost or changed: {sorted(k for k in wanted if found.get(k) != wanted[k])}")

    def _filled(self) -> JobStore:
        store = self.make()
        store.update([_document(1, "x", f"u{i}", iteration=i // 3, label_id=f"l{6 - i}") for i in range(7)], save=_SAVE)
        return store

    @clause
    def filters_orders_and_pages(self) -> None:
        """Filters, sorting, skip and limit, and fields asked for."""
        store = self._filled()
        found = store.query({"output.iteration": {"$lte": 1}}, sort={"output.label_id": 1}, skip=1, limit=3)
        ids = [d["output"]["label_id"] for d in found]
        demand(ids == ["l2", "l3", "l4"], f"second to fourth label up to iteration 1: {ids}")
        part = store.query_one({"output.label_id": "l6"}, properties=["output.iteration"])
        demand(part and part["output"] == {"iteration": 0}, f"asked for the iteration alone: {part}")
        number = store.count({"$or": [{"output.label_id": "l0"}, {"output.iteration": 0}]})
        demand(number == 4, f"{number} documents of one or another kind, 4 were stored")
        values = sorted(store.distinct("output.iteration"))
        demand(values == [0, 1, 2], f"different iterations: {values}")

    @clause
    def comparisons_stay_within_one_type(self) -> None:
        """``$gt`` of a number finds no text, ``$lt`` of a text no number, and neither finds what is missing."""
        store = self.make()
        mixed = [0, 3, 7.5, "", "text", None, True, [4], {"a": 9}]
        store.update([_document(1, "x", f"u{i}", value=v) for i, v in enumerate(mixed)], save=_SAVE)
        for asked, expected in (
            ({"$gt": 3}, [2, 7]), ({"$gte": 3}, [1, 2, 7]), ({"$lt": 4}, [0, 1]),
            ({"$gt": ""}, [4]), ({"$lte": "text"}, [3, 4]), ({"$lt": "a"}, [3]),
        ):  # fmt: skip
            found = sorted(int(d["uuid"][1:]) for d in store.query({"output.value": asked}))
            demand(found == expected, f"{asked} of {mixed}: number {found}, expected {expected}")

    @clause
    def documents_are_removed(self) -> None:
        """What a filter finds is removed, and nothing else."""
        store = self._filled()
        store.remove_docs({"output.iteration": 0})
        left = sorted(d["uuid"] for d in store.query())
        demand(left == ["u3", "u4", "u5", "u6"], f"left: {left}")

    @clause
    def survives_serialisation(self) -> None:
        """A store sent to another process is of the same kind and holds the same."""
        if not self.outlives_the_process:
            raise SkipTest("its documents are in the memory of one process")
        store = self.make()
        store.update(_document(1, "y"), save=_SAVE)
        again = MontyDecoder().process_decoded(store.as_dict())
        again.connect()
        demand(type(again) is type(store), f"it comes back as {type(again).__name__}")
        found = again.query_one({}, load=True)
        demand(found and found["output"]["array"] == "y", f"it comes back with {found}")
