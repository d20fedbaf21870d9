"""What every job store of a campaign does alike: SQLite, mongomock in process, the wire double, a real MongoDB."""

from __future__ import annotations

import pytest
from bson import encode
from jobflow import Flow, job, run_locally
from monty.json import MontyDecoder

from magflow.stores.jobstore import job_store_from_settings

IN_MEMORY = {"docs_store": {"type": "MemoryStore"}, "additional_stores": {"data": {"type": "MemoryStore"}}}
TIERS = {"wire-double": "wire_uri", "mongodb": "server_uri"}


@pytest.fixture(params=["sqlite", "mongomock", *TIERS])
def store(request, tmp_path):
    """A connected store."""
    if request.param in TIERS:
        uri = request.getfixturevalue(TIERS[request.param])
        return job_store_from_settings({"mongodb": {"uri": uri, "patience": 5.0}}, tmp_path)
    return job_store_from_settings(IN_MEMORY if request.param == "mongomock" else None, tmp_path)


@job(data="array")
def measure(n):
    return {"doc_type": "label", "iteration": n, "label_id": f"l{n}", "array": "x" * 1000 * n}


def document(n, text, uuid="u"):
    return {"uuid": uuid, "index": n, "name": "x", "output": {"array": text, "iteration": n, "doc_type": "label"}}


def test_a_flow_runs_and_its_arrays_are_apart(store):
    first = measure(1)
    second = measure(first.output["iteration"])
    run_locally(Flow([first, second]), store=store, log=False, ensure_success=True)
    assert store.count({"output.iteration": 1, "output.doc_type": "label"}) == 2
    assert store.get_output(second.uuid, load=True)["array"] == "x" * 1000
    stored = store.query_one({"uuid": first.uuid})
    assert len(encode(stored)) < 1000
    assert store.query_one({"uuid": first.uuid}, load=True)["output"]["array"] == "x" * 1000


def test_a_job_that_runs_again_replaces_document_and_arrays(store):
    for text in ("a", "b", "c"):
        store.update(document(1, text), save={"data": "array"})
    store.update(document(2, "d"), save={"data": "array"})
    assert store.count() == 2
    assert {d["index"]: d["output"]["array"] for d in store.query({}, load=True)} == {1: "c", 2: "d"}


def test_filters_orders_and_pages(store):
    documents = [document(1, "x", f"u{i}") for i in range(7)]
    for i, entry in enumerate(documents):
        entry["output"] |= {"iteration": i // 3, "label_id": f"l{6 - i}"}
    store.update(documents, save={"data": "array"})
    found = list(store.query({"output.iteration": {"$lte": 1}}, sort={"output.label_id": 1}, skip=1, limit=3))
    assert [d["output"]["label_id"] for d in found] == ["l2", "l3", "l4"]
    assert store.query_one({"output.label_id": "l6"}, properties=["output.iteration"])["output"] == {"iteration": 0}
    assert store.count({"$or": [{"output.label_id": "l0"}, {"output.iteration": 0}]}) == 4
    assert sorted(store.distinct("output.iteration")) == [0, 1, 2]
    store.remove_docs({"output.iteration": 0})
    assert store.count() == 4


def test_survives_serialisation(store, request):
    if "mongomock" in request.node.name:
        pytest.skip("its documents are in the memory of one process")
    store.update(document(1, "y"), save={"data": "array"})
    again = MontyDecoder().process_decoded(store.as_dict())
    again.connect()
    assert type(again) is type(store)
    assert again.query_one({}, load=True)["output"]["array"] == "y"
