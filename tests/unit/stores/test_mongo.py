"""The MongoDB job store: indexes, outages, what is said of servers that refuse, and that no password is told."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time

import pytest
from pymongo import MongoClient

from doubles.mongo_wire import WireMongo
from magflow.errors import InputError, StoreError, StoreUnusableError
from magflow.stores.address import MongoAddress
from magflow.stores.indexes import missing_indexes
from magflow.stores.jobstore import job_store_from_settings
from magflow.stores.results import SUFFIX, find_results, results_kept_in, sync_results

PASSWORD = "correct-horse"


def connect(uri, tmp_path, **kw):
    return job_store_from_settings({"mongodb": {"uri": uri, "patience": 10.0} | kw}, tmp_path)


def document(n, text="x", **output):
    return {"uuid": f"u{n}", "index": 1, "name": "label 0", "output": {"array": text, "doc_type": "label"} | output}


def write(store, n, **output):
    store.update(document(n, **output), save={"data": "array"})


def test_indexes_are_created_once_and_keep_jobs_unique(mongo_uri, tmp_path):
    store = connect(mongo_uri, tmp_path)
    assert [missing for _, missing in missing_indexes(store)] == [{}, {}]
    information = store.docs_store._collection.index_information()
    assert information["uuid_1_index_1"]["unique"]
    write(store, 1)
    with MongoClient(mongo_uri) as client, pytest.raises(Exception, match="E11000"):
        client.get_default_database().magflow.insert_one({"uuid": "u1", "index": 1})


def test_an_index_that_is_not_unique_and_jobs_with_two_documents_are_refused(mongo_uri, tmp_path):
    with MongoClient(mongo_uri) as client:
        database = client.get_default_database()
        database.a.create_index([("uuid", 1), ("index", 1)])
        database.b.insert_many([{"uuid": "u", "index": 1}, {"uuid": "u", "index": 1}])
    with pytest.raises(StoreError, match="does not keep them unique"):
        connect(mongo_uri, tmp_path, collection="a")
    with pytest.raises(StoreError, match="two documents"):
        connect(mongo_uri, tmp_path, collection="b")


def test_writes_outlive_an_outage_and_a_lost_acknowledgement(tmp_path):
    with WireMongo() as double:
        store = connect(double.uri, tmp_path)
        for after_next_write in (False, True):
            double.outage(0.5, after_next_write=after_next_write)
            time.sleep(0.05)
            write(store, int(after_next_write), array="y")
        assert store.count() == store.additional_stores["data"].count() == 2
        assert {d["output"]["array"] for d in store.query({}, load=True)} == {"y"}


def test_a_reading_goes_on_where_it_was_cut_off(tmp_path):
    with WireMongo() as double:
        store = connect(double.uri, tmp_path)
        store.docs_store._collection.insert_many([{"uuid": str(i), "index": 1} for i in range(250)])
        reading = store.query({}, sort={"uuid": 1})
        first = [next(reading)["uuid"] for _ in range(50)]
        double.cut()
        threading.Timer(0.5, double.restore).start()
        assert sorted(first + [d["uuid"] for d in reading]) == sorted(map(str, range(250)))


def test_no_result_is_lost_when_the_database_stays_away(tmp_path):
    with WireMongo() as double:
        store = connect(double.uri, tmp_path, patience=0.5, options={"serverSelectionTimeoutMS": 200})
        write(store, 1, label_id="l1", state="ok")
        double.cut()
        with results_kept_in(tmp_path / "results"), pytest.raises(StoreUnusableError, match="magflow sync") as caught:
            write(store, 2, array="kept", label_id="l2", state="ok")
        assert "does not answer" in str(caught.value)
        double.restore()
        time.sleep(0.2)
        paths = find_results([tmp_path])
        assert [p.name for p in paths] == [f"u2-1{SUFFIX}"]
        assert sync_results(store, paths, keep=True).imported == 1
        assert sync_results(store, paths, keep=True).present == 1, "a second time nothing is imported"
        assert store.query_one({"uuid": "u2"}, load=True)["output"]["array"] == "kept"
        assert sync_results(store, paths).present == 1
        assert not find_results([tmp_path]), "what is in the store need not be kept"


def test_a_label_that_another_job_has_made_is_not_imported_again(wire_uri, tmp_path):
    store = connect(wire_uri, tmp_path)
    write(store, 1, label_id="same", state="ok")
    other = document(2, label_id="same", state="ok")
    path = tmp_path / f"x{SUFFIX}"
    path.write_text(json.dumps({"magflow_result": 1, "documents": [other], "key": None, "save": {"data": "array"}}))
    damaged = tmp_path / f"y{SUFFIX}"
    damaged.write_text('{"magflow_result": 1, "docu')
    synced = sync_results(store, [path, damaged])
    assert (synced.imported, synced.present, synced.unreadable) == (0, 1, (str(damaged),))
    assert store.count() == 1


@pytest.mark.parametrize(("there", "kept"), [("ok", "failed"), ("failed", "ok"), ("failed", "failed")])
def test_a_failed_label_stands_for_no_other(wire_uri, tmp_path, there, kept):
    store = connect(wire_uri, tmp_path)
    write(store, 1, label_id="same", state=there)
    path = tmp_path / f"x{SUFFIX}"
    document_kept = document(2, label_id="same", state=kept)
    path.write_text(json.dumps({"magflow_result": 1, "documents": [document_kept], "key": None, "save": None}))
    assert sync_results(store, [path]).imported == 1
    assert {d["output"]["state"] for d in store.query({})} == {there, kept}


def test_a_result_that_is_no_label_is_imported_whatever_it_says_of_its_state(wire_uri, tmp_path):
    store = connect(wire_uri, tmp_path)
    path = tmp_path / f"x{SUFFIX}"
    other = document(1, doc_type="other", state="ok")
    path.write_text(json.dumps({"magflow_result": 1, "documents": [other], "key": None, "save": None}))
    assert sync_results(store, [path]).imported == 1


def test_the_indices_of_a_job_keep_their_arrays(wire_uri, tmp_path):
    store = connect(wire_uri, tmp_path)
    for index, text in ((1, "a"), (2, "b"), (2, "c")):
        store.update(document(1, text) | {"index": index}, save={"data": "array"})
    assert {d["index"]: d["output"]["array"] for d in store.query({}, load=True)} == {1: "a", 2: "c"}


def test_a_result_is_in_the_run_directory_only_until_it_is_stored(wire_uri, tmp_path, monkeypatch):
    from magflow.stores import mongo

    store = connect(wire_uri, tmp_path)
    seen = []
    update = mongo.Documents.update
    monkeypatch.setattr(
        mongo.Documents, "update", lambda *args, **kw: (seen.extend(find_results([tmp_path])), update(*args, **kw))
    )
    with results_kept_in(tmp_path):
        write(store, 1)
    assert len(seen) == 1
    assert not find_results([tmp_path])


@pytest.mark.parametrize(("value", "words"), [("x" * 17_000_000, "too large"), (2**70, "cannot be stored")])
def test_documents_that_mongodb_cannot_hold_are_told(mongo_uri, tmp_path, value, words):
    store = connect(mongo_uri, tmp_path)
    with pytest.raises(StoreError, match=words) as caught:
        store.update(document(1, value))
    assert not isinstance(caught.value, StoreUnusableError), "the job's fault, not the store's"
    store.update(document(1, "x"))
    assert store.count() == 1


def test_servers_that_refuse_are_told_apart_and_no_password_is_told(tmp_path):
    fast = {"serverSelectionTimeoutMS": 300}
    with WireMongo() as double:
        address = double.uri.removeprefix("mongodb://").rstrip("/")
        cases = {
            f"mongodb://magnus:{PASSWORD}@{address}/x": "refuses the user or the password",
            f"mongodb://magnus:{PASSWORD}@{address}/x?tls=true": "no secure connection",
            f"mongodb://magnus:{PASSWORD}@127.0.0.1:1/x": "does not answer",
        }
        for uri, words in cases.items():
            with pytest.raises(StoreUnusableError, match=words) as caught:
                connect(uri, tmp_path, options=fast)
            assert PASSWORD not in repr(caught.value) + str(caught.value)
            assert caught.value.hint


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate")
def test_tls_options_are_passed_through(tmp_path):
    pem, key = tmp_path / "both.pem", tmp_path / "key.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names]
    subprocess.run([*command, "-keyout", str(key), "-out", str(pem)], check=True, capture_output=True)
    pem.write_text(pem.read_text() + key.read_text())
    with WireMongo(certificate=pem) as double:
        store = connect(double.uri, tmp_path, options={"tls": True, "tlsCAFile": str(pem)})
        write(store, 1)
        assert store.count() == 1
        with pytest.raises(StoreUnusableError, match="no secure connection"):
            connect(double.uri, tmp_path, options={"tls": True, "serverSelectionTimeoutMS": 500})


@pytest.mark.parametrize(
    ("uri", "options"),
    [("http://h/x", {}), ("mongodb://", {}), ("mongodb://h:port/x", {}), ("mongodb://h/x", {"noSuchOption": object()})],
)
def test_addresses_that_cannot_be_used(uri, options, tmp_path):
    with pytest.raises(InputError):
        MongoAddress(uri=uri, options={"tlsCAFile": "/absent.pem"} if options else {}).connect()


def test_the_uri_of_the_settings_reaches_neither_name_nor_serialised_form(monkeypatch):
    monkeypatch.setenv("MAGFLOW_MONGO_URI", f"mongodb://magnus:{PASSWORD}@h:27017/db")
    from magflow.stores.mongo import MongoJobStore

    store = MongoJobStore(MongoAddress())
    assert store.name == "mongodb://h:27017/db.magflow"
    assert PASSWORD not in json.dumps(store.as_dict(), default=str) + repr(store.address) + repr(vars(store))
    monkeypatch.delenv("MAGFLOW_MONGO_URI")
    with pytest.raises(InputError, match="MAGFLOW_MONGO_URI"):
        MongoAddress().resolved()
