"""The wire double does what our drivers ask of MongoDB; the same on a real server when one is named."""

from __future__ import annotations

import multiprocessing
import os
import time
from datetime import datetime

import gridfs
import pytest
from bson import Binary, ObjectId
from pymongo import DESCENDING, InsertOne, MongoClient, ReturnDocument, UpdateOne
from pymongo.errors import AutoReconnect, DuplicateKeyError, OperationFailure, ServerSelectionTimeoutError

from doubles.mongo_wire import WireMongo


@pytest.fixture
def db(mongo_uri):
    with MongoClient(mongo_uri, serverSelectionTimeoutMS=3000) as client:
        yield client.get_default_database()


def numbers(collection, query):
    return sorted(d["i"] for d in collection.find(query))


def test_documents_come_back_as_they_went(db):
    when = datetime(2020, 1, 1)
    db.a.insert_one({"i": 0, "s": {"t": [1, 2, {"u": 3}]}, "d": when})
    db.a.insert_many([{"i": i} for i in range(1, 300)])
    found = db.a.find_one({"i": 0})
    assert isinstance(found["_id"], ObjectId)
    assert (found["d"], found["s"]) == (when, {"t": [1, 2, {"u": 3}]})
    assert db.a.count_documents({}) == db.a.estimated_document_count() == len(db.a.distinct("i")) == 300
    for batch in (0, 20, 1000):  # one batch, many, more than there is
        assert len(list(db.a.find().batch_size(batch))) == 300
    page = db.a.find({}, {"i": 1, "_id": 0}).sort("i", -1).skip(5).limit(3)
    assert [d["i"] for d in page] == [294, 293, 292]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"n.p": 1}, [1, 4, 7]),
        ({"i": {"$in": [1, 2, 99]}}, [1, 2]),
        ({"$or": [{"i": 1}, {"n.p": 0}]}, [0, 1, 3, 6, 9]),
        ({"e": {"$elemMatch": {"a": 3, "b": 6}}}, [3]),
        ({"e.0.b": 10}, [5]),
        ({"l": {"$size": 2}}, [2]),
        ({"l": 8}, [9]),
        ({"absent": None, "i": {"$not": {"$gt": 2}}}, [0, 1, 2]),
        ({"name": {"$regex": "^Fe-[12]"}}, [1, 2]),
    ],
)
def test_queries(db, query, expected):
    rows = [
        {"i": i, "n": {"p": i % 3}, "l": list(range(i)), "e": [{"a": i, "b": 2 * i}], "name": f"Fe-{i}"}
        for i in range(10)
    ]
    db.q.insert_many(rows)
    assert numbers(db.q, query) == expected


def test_updates(db):
    db.u.insert_one({"_id": 1, "a": 1, "l": [1], "o": {"x": 1}})
    db.u.update_one({"_id": 1}, {"$set": {"o.y": 2}, "$inc": {"a": 2}, "$push": {"l": 5}, "$unset": {"o.x": ""}})
    assert db.u.find_one({"_id": 1}) == {"_id": 1, "a": 3, "l": [1, 5], "o": {"y": 2}}
    made = db.u.update_one({"k": 9}, {"$set": {"v": 1}, "$setOnInsert": {"w": 2}}, upsert=True)
    assert made.upserted_id is not None
    assert db.u.replace_one({"k": 9}, {"k": 9, "v": 3}).modified_count == 1
    assert db.u.update_many({}, {"$set": {"z": 1}}).modified_count == 2
    assert db.u.delete_many({"k": 9}).deleted_count == 1
    db.u.insert_one({"_id": 2, "jobs": [{"u": "a", "s": 0}, {"u": "b", "s": 0}]})
    db.u.update_one({"_id": 2, "jobs.u": "b"}, {"$set": {"jobs.$.s": 1}})
    db.u.update_one({"_id": 2}, {"$set": {"jobs.$[e].s": 9}}, array_filters=[{"e.u": "a"}])
    assert [j["s"] for j in db.u.find_one({"_id": 2})["jobs"]] == [9, 1]
    step = {"$set": {"a": {"$mergeObjects": ["$a", {"k": 2}]}, "now": "$$NOW"}}
    db.u.insert_one({"_id": 3, "a": {"m": 1}})
    after = db.u.find_one_and_update({"_id": 3}, [step], return_document=ReturnDocument.AFTER)
    assert after["a"] == {"m": 1, "k": 2}
    assert isinstance(after["now"], datetime)
    operations = [InsertOne({"i": 1}), UpdateOne({"i": 2}, {"$set": {"j": 1}}, upsert=True)]
    bulk = db.bulk.bulk_write(operations, ordered=False)
    assert (bulk.inserted_count, bulk.upserted_count) == (1, 1)


def test_find_and_modify(db):
    db.f.insert_many([{"i": i, "state": "READY", "p": -i} for i in range(5)])
    first = db.f.find_one_and_update({"state": "READY"}, {"$set": {"state": "RUN"}}, sort=[("p", 1)])
    assert (first["i"], first["state"]) == (4, "READY")
    take = {"sort": [("p", DESCENDING)], "return_document": ReturnDocument.AFTER, "projection": {"state": 1, "_id": 0}}
    assert db.f.find_one_and_update({"state": "READY"}, {"$set": {"state": "RUN"}}, **take) == {"state": "RUN"}
    assert db.f.find_one_and_update({"state": "NONE"}, {"$set": {"q": 1}}) is None
    db.f.find_one_and_replace({"n": 1}, {"n": 1, "v": 7}, upsert=True)
    assert db.f.find_one_and_delete({"n": 1})["v"] == 7


def test_indexes_and_unique_keys(db):
    db.x.create_index([("job", 1), ("index", -1)], unique=True)
    db.x.insert_many([{"job": "a", "index": 1}, {"job": "a", "index": 2}])
    with pytest.raises(DuplicateKeyError):
        db.x.insert_one({"job": "a", "index": 2})
    [index] = [v for v in db.x.index_information().values() if v["key"][0][0] == "job"]
    assert index["key"] == [("job", 1), ("index", -1)]
    assert index["unique"]
    db.x.drop_indexes()
    db.x.insert_one({"job": "a", "index": 2})


def test_aggregation(db):
    db.g.insert_many([{"g": i % 3, "v": i, "l": [{"k": i}, {"k": i + 1}]} for i in range(9)])
    group = {"$group": {"_id": "$g", "s": {"$sum": "$v"}, "mx": {"$max": "$v"}, "all": {"$push": "$v"}}}
    rows = list(db.g.aggregate([{"$sort": {"v": 1}}, group, {"$sort": {"_id": 1}}]))
    assert rows[0] == {"_id": 0, "s": 9, "mx": 6, "all": [0, 3, 6]}
    assert len(list(db.g.aggregate([{"$unwind": "$l"}, {"$project": {"k": "$l.k", "_id": 0}}]))) == 18
    db.w.insert_one({"nodes": [0, 1]})
    look = {
        "from": "g",
        "localField": "nodes",
        "foreignField": "v",
        "as": "found",
        "pipeline": [{"$project": {"v": 1}}],
    }
    [joined] = db.w.aggregate([{"$lookup": look | {"pipeline": [{"$project": {"v": 1}}]}}])
    assert sorted(d["v"] for d in joined["found"]) == [0, 1]


def test_files(db):
    files = gridfs.GridFS(db, "files")
    data = os.urandom(700_000)
    key = files.put(data, metadata={"launch_id": 3})
    assert files.get(key).read() == data
    assert [f._id for f in files.find({"metadata.launch_id": 3})] == [key]
    files.delete(key)
    assert not files.exists(key)


def test_a_document_ends_at_16_mb(db):
    db.big.insert_one({"_id": 1, "b": Binary(bytes(10_000_000))})
    db.big.insert_one({"_id": 2, "b": Binary(bytes(10_000_000))})
    assert [len(d["b"]) for d in db.big.find()] == [10_000_000, 10_000_000]
    with pytest.raises(Exception, match=r"large|size"):
        db.big.insert_one({"b": Binary(bytes(17_000_000))})


def test_sessions_are_accepted(db):
    with db.client.start_session() as session:
        db.s.insert_one({"a": 1}, session=session)
    assert db.s.count_documents({}) == 1


def _claim(uri, claimed):
    with MongoClient(uri) as client:
        jobs = client.get_default_database().jobs
        while document := jobs.find_one_and_update({"state": "READY"}, {"$set": {"state": "RUN"}}):
            claimed.put(document["i"])
    claimed.put(None)


def test_processes_never_claim_the_same(db, mongo_uri):
    db.jobs.insert_many([{"i": i, "state": "READY"} for i in range(100)])
    context = multiprocessing.get_context("spawn")
    claimed = context.Queue()
    processes = [context.Process(target=_claim, args=(mongo_uri, claimed)) for _ in range(2)]
    for process in processes:
        process.start()
    got = []
    while processes:
        if (i := claimed.get(timeout=60)) is None:
            processes.pop().join(60)
        else:
            got.append(i)
    assert sorted(got) == list(range(100))


def test_unknown_commands_and_passwords_are_refused(wire_mongo):
    with MongoClient(wire_mongo.uri) as client, pytest.raises(OperationFailure, match="no such command"):
        client.admin.command("shutTheDoor")
    uri = wire_mongo.uri.replace("//", "//user:secret@")
    with MongoClient(uri) as client, pytest.raises(OperationFailure, match="Authentication failed"):
        client.admin.command("ping")


def test_an_outage_refuses_connections_and_keeps_the_data():
    with WireMongo() as double, MongoClient(double.uri, serverSelectionTimeoutMS=200) as client:
        client.db.a.insert_one({"i": 1})
        double.cut()
        time.sleep(0.2)
        with pytest.raises((AutoReconnect, ServerSelectionTimeoutError)):
            client.db.a.insert_one({"i": 2})
        double.restore()
        time.sleep(0.2)
        assert numbers(client.db.a, {}) == [1]


def test_a_write_may_be_applied_and_never_acknowledged():
    with WireMongo() as double, MongoClient(double.uri, serverSelectionTimeoutMS=5000) as client:
        client.db.a.insert_one({"i": 1})
        double.outage(0.3, after_next_write=True)
        with pytest.raises(AutoReconnect):
            client.db.a.insert_one({"i": 2})
        assert numbers(client.db.a, {}) == [1, 2]
