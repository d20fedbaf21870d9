"""The campaign's JobStore: documents and arrays together, and any maggma store in its place."""

from __future__ import annotations

import pytest
from jobflow import Flow, JobStore, job, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder

from magflow.errors import InputError, StoreError
from magflow.stores.jobstore import EmbeddedJobStore, campaign_store, job_store_from_settings
from magflow.stores.layout import BLOB_FIELDS, DATABASE, DOCUMENT_FIELDS


@job(data="array")
def measure(n):
    return {"doc_type": "label", "iteration": n, "label_id": f"l{n}", "array": [n] * 5}


def document(n, size):
    return {"uuid": "u", "index": n, "name": "x", "output": {"array": [n] * size, "iteration": n}}


@pytest.fixture
def store(tmp_path):
    made = campaign_store(tmp_path)
    made.connect()
    return made


def test_documents_and_arrays_of_jobs(store, tmp_path):
    first = measure(1)
    second = measure(first.output["iteration"])
    run_locally(Flow([first, second]), store=store, log=False)
    assert store.count({"output.iteration": 1, "output.doc_type": "label"}) == 2
    assert store.get_output(second.uuid, load=True)["array"] == [1] * 5
    assert "array" not in str(store.query_one({"uuid": first.uuid})["output"]["array"].get("data", ""))
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".db"] == [DATABASE]


def test_a_job_that_runs_again_replaces_its_arrays(store):
    for size in (3, 4, 5):
        store.update(document(1, size), save={"data": "array"})
    store.update(document(2, 6), save={"data": "array"})
    assert store.count() == 2
    assert store.additional_stores["data"].count() == 2
    assert store.query_one({"index": 1}, load=True)["output"]["array"] == [1] * 5


def test_each_index_of_a_job_keeps_its_arrays(store):
    for index in (1, 2):
        store.update(document(index, index), save={"data": "array"})
    store.update(document(2, 3), save={"data": "array"})
    assert {d["index"]: d["output"]["array"] for d in store.query({}, load=True)} == {1: [1], 2: [2, 2, 2]}


def test_a_document_is_never_stored_without_its_arrays(store):
    store.update(document(1, 3), save={"data": "array"})
    unstorable = document(1, 3)
    unstorable["output"]["array"].append(2**70)
    with pytest.raises(StoreError, match="cannot be stored"):
        store.update(unstorable, save={"data": "array"})
    with pytest.raises(ValueError, match="additional store"):
        store.update(document(2, 3), save={"absent": "array"})
    assert store.query_one({}, load=True)["output"]["array"] == [1] * 3
    assert store.count() == 1


def test_fields_are_indexed(store):
    assert set(DOCUMENT_FIELDS) <= set(store.docs_store.fields)
    assert set(BLOB_FIELDS) <= set(store.additional_stores["data"].fields)


def test_survives_serialisation(store):
    store.update(document(1, 2), save={"data": "array"})
    again = MontyDecoder().process_decoded(store.as_dict())
    assert isinstance(again, EmbeddedJobStore)
    assert again.query_one({}, load=True)["output"]["array"] == [1, 1]


def test_settings_may_name_any_maggma_store(tmp_path):
    memory = {"docs_store": {"type": "MemoryStore"}, "additional_stores": {"data": {"type": "MemoryStore"}}}
    store = job_store_from_settings(memory, tmp_path)
    store.update(document(1, 2), save={"data": "array"})
    assert store.query_one({}, load=True)["output"]["array"] == [1, 1]
    serialised = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()}).as_dict()
    assert job_store_from_settings(serialised, tmp_path).count() == 0
    embedded = job_store_from_settings(None, tmp_path)
    assert isinstance(embedded, EmbeddedJobStore)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"docs_store": {"type": "MemoryStore"}}, "additional store named 'data'"),
        ({"docs": {"type": "MemoryStore"}}, "cannot be built"),
        ({"docs_store": {"type": "NoSuchStore"}}, "cannot be built"),
        ({"docs_store": {"type": "MemoryStore", "nonsense": 1}}, "cannot be built"),
        (MemoryStore().as_dict(), "no job store"),
    ],
)
def test_other_descriptions_are_explained(tmp_path, spec, words):
    with pytest.raises(InputError, match=words):
        job_store_from_settings(spec, tmp_path)


def test_unusable_directory(tmp_path):
    with pytest.raises(StoreError, match="cannot be opened"):
        job_store_from_settings(None, tmp_path / "absent")
