"""Arrays in GridFS: what has lost a part is told, never read as something shorter."""

from __future__ import annotations

import random

import pytest

from magflow.errors import StoreError
from magflow.stores.address import MongoAddress
from magflow.stores.gridfs import Blobs

LONG = random.Random(1).randbytes(500_000).hex()  # three chunks, compressed


@pytest.fixture
def blobs(wire_uri):
    store = Blobs(MongoAddress(wire_uri, patience=5.0), "blobs")
    store.connect()
    store.update({"blob_uuid": "long", "data": LONG})
    store.update({"blob_uuid": "short", "data": "x"})
    return store


def file_of(blobs, uuid):
    (file,) = blobs._files_collection.find({"metadata.blob_uuid": uuid})
    return file


def test_chunks_are_joined_in_their_order(blobs):
    chunks = blobs._chunks_collection
    whole = sorted(chunks.find(), key=lambda c: -c["n"])
    assert len(whole) == 4
    chunks.delete_many({})
    chunks.insert_many(whole)
    assert {b["blob_uuid"]: b["data"] for b in blobs.query()} == {"long": LONG, "short": "x"}


@pytest.mark.parametrize("lost", [[0], [1], [2], [0, 1, 2]])
def test_a_blob_that_misses_chunks_is_an_error_that_names_it(blobs, lost):
    file = file_of(blobs, "long")
    blobs._chunks_collection.delete_many({"files_id": file["_id"], "n": {"$in": lost}})
    with pytest.raises(StoreError, match="damaged") as caught:
        list(blobs.query({"blob_uuid": "long"}))
    assert str(file["_id"]) in caught.value.where
    assert f"of {file['length']} bytes" in caught.value.seen
    assert next(blobs.query({"blob_uuid": "short"}))["data"] == "x", "the others can be read"


def test_a_chunk_whose_content_is_damaged_is_an_error(blobs):
    file = file_of(blobs, "short")
    damaged = {"$set": {"data": b"!" * file["length"]}}
    blobs._chunks_collection.update_one({"files_id": file["_id"]}, damaged)
    with pytest.raises(StoreError, match="damaged"):
        list(blobs.query({"blob_uuid": "short"}))


def test_an_array_written_twice_is_one_and_the_newest(blobs):
    blobs.update({"blob_uuid": "short", "data": "newer"})
    assert [b["data"] for b in blobs.query({"blob_uuid": "short"})] == ["newer"]
    assert next(blobs.query({"blob_uuid": "short"}, properties=["data"])) == {"data": "newer"}
