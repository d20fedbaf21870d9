"""The SQLite store answers as filters on documents in memory and maggma's MemoryStore do, and loses nothing."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from datetime import datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from maggma.core import Sort
from maggma.stores import MemoryStore
from monty.json import MontyDecoder

from magflow.errors import InputError, StoreError
from magflow.execution.local.queue import JobQueue
from magflow.stores import connection
from magflow.stores.filters import matcher, sort_key
from magflow.stores.jobstore import campaign_store
from magflow.stores.layout import DATABASE
from magflow.stores.projection import pick
from magflow.stores.sqlite import SQLiteStore

FIELDS = ("uuid", "a", "b.c", "s")

numbers = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, -1.5, 2.0, 1e300, 2**62]))
texts = st.sampled_from(["", "a", "b", "aa", "é", "3"])
scalars = st.one_of(numbers, texts, st.booleans(), st.none())
values = st.one_of(scalars, st.lists(scalars, max_size=3), st.just({}), st.just(datetime(2026, 1, 1)))
inner = st.one_of(values, st.fixed_dictionaries({}, optional={"c": values, "d": scalars}))
documents = st.fixed_dictionaries(
    {}, optional={"a": values, "b": st.one_of(inner, st.lists(inner, max_size=2)), "s": texts, "free": inner}
)
collections = st.lists(documents, max_size=12)
keys = st.sampled_from(["a", "b.c", "b", "s", "free", "free.c", "b.0", "b.d"])
ranges = st.sampled_from(["$gt", "$gte", "$lt", "$lte"])
conditions = st.one_of(
    scalars,
    st.builds(lambda v: {"$eq": v}, scalars),
    st.builds(lambda v: {"$ne": v}, scalars),
    st.builds(lambda v: {"$in": v}, st.lists(scalars, max_size=3)),
    st.builds(lambda v: {"$nin": v}, st.lists(scalars, max_size=3)),
    st.builds(lambda v: {"$exists": v}, st.booleans()),
    st.builds(lambda o, v: {o: v}, ranges, st.one_of(numbers, texts)),
    st.builds(lambda o, v, w: {"$gte": v, o: w}, ranges, numbers, numbers),
    st.builds(lambda o, v: {"$not": {o: v}}, ranges, numbers),
    st.builds(lambda v: {"$regex": v}, st.sampled_from(["a", "^$", "3"])),
    st.builds(lambda v: {"$size": v}, st.integers(0, 2)),
)
simple = st.dictionaries(keys, conditions, max_size=2)
filters = st.one_of(
    simple,
    st.builds(lambda x: {"$and": x}, st.lists(simple, min_size=1, max_size=3)),
    st.builds(lambda x, y: {"$or": x, **y}, st.lists(simple, min_size=1, max_size=3), simple),
    st.builds(lambda x: {"$nor": x}, st.lists(simple, min_size=1, max_size=2)),
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "s.db"
    sqlite = SQLiteStore(str(path), fields=FIELDS, scalars=["free"], together=[["s", "a", "free"]])
    memory = MemoryStore(key="uuid")
    sqlite.connect()
    memory.connect()
    return sqlite, memory


@pytest.fixture
def store(tmp_path):
    made = SQLiteStore(str(tmp_path / "s.db"), fields=FIELDS)
    made.connect()
    return made


def fill(pair, docs):
    docs = [{"uuid": str(i), **d} for i, d in enumerate(docs)]
    for one in pair:
        one.remove_docs({})
        if docs:
            one.update(copy.deepcopy(docs))


def ask(call):
    """The documents of an answer without ``_id``."""
    return [{k: v for k, v in d.items() if k != "_id"} for d in call()]


def filled(store, docs):
    """The documents as written to the store, which holds nothing else."""
    docs = [{"uuid": str(i), **d} for i, d in enumerate(docs)]
    store.remove_docs({})
    if docs:
        store.update(copy.deepcopy(docs))
    return docs


def matching(docs, criteria):
    matches = matcher(criteria)
    return [d for d in docs if matches(d)]


same = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=120)


@same
@given(collections, filters, st.lists(keys, min_size=1, max_size=3, unique=True))
def test_values_are_those_of_the_documents(pair, docs, criteria, fields):
    sqlite, _ = pair
    found = matching(filled(sqlite, docs), criteria)
    expected = sorted(repr([pick(d, f) for f in fields]) for d in found)
    assert sorted(repr(list(row)) for row in sqlite.values(criteria, fields)) == expected


@same
@given(collections, filters)
def test_filters_match_as_in_memory(pair, docs, criteria):
    sqlite, _ = pair
    expected = matching(filled(sqlite, docs), criteria)
    assert list(sqlite.query(criteria)) == expected
    assert sqlite.count(criteria) == len(expected)


@same
@given(
    collections,
    simple,
    st.dictionaries(keys, st.sampled_from([1, -1]), max_size=2),
    st.integers(0, 4),
    st.integers(0, 4),
)
def test_sort_skip_limit_as_in_memory(pair, docs, criteria, sort, skip, limit):
    sqlite, _ = pair
    expected = matching(filled(sqlite, docs), criteria)
    for key, direction in reversed(sort.items()):
        expected.sort(key=sort_key(key, direction), reverse=direction == -1)
    expected = expected[skip : skip + limit] if limit else expected[skip:]
    assert list(sqlite.query(criteria, sort=sort, skip=skip, limit=limit)) == expected


@same
@given(
    collections,
    st.lists(st.sampled_from(["a", "b.c", "s", "free.c", "free.d"]), min_size=1, max_size=3, unique=True),
    st.booleans(),
)
def test_projection_as_in_memory(pair, docs, names, include):
    # where a parent of an excluded field is no document, MongoDB keeps it: the reference raises or drops it
    odd = list if include else (list, str, int, float, datetime, type(None))
    docs = [d for d in docs if not any(k in d and isinstance(d[k], odd) for k in ("b", "free"))]
    fill(pair, docs)
    sqlite, memory = pair
    properties = names if include else dict.fromkeys(names, 0)
    assert ask(lambda: sqlite.query({}, properties)) == ask(lambda: memory.query({}, properties))


@same
@given(collections, simple)
def test_remove_as_in_memory(pair, docs, criteria):
    sqlite, _ = pair
    docs = filled(sqlite, docs)
    gone = matching(docs, criteria)
    sqlite.remove_docs(criteria)
    assert list(sqlite.query()) == [d for d in docs if d not in gone]


@same
@given(
    # the memory store takes true for 1
    st.lists(
        st.fixed_dictionaries({"a": numbers | texts | st.none(), "s": texts, "n": st.integers(0, 2)}), max_size=12
    ),
    st.sampled_from(["a", ["a", "s"], ["s", "n"], "n"]),
)
def test_update_by_any_key_as_in_memory(pair, docs, key):
    sqlite, memory = pair
    for one in pair:
        one.remove_docs({})
        for doc in docs:
            one.update(copy.deepcopy(doc), key=key)
    assert ask(lambda: sqlite.query()) == ask(lambda: memory.query())


@same
@given(
    st.lists(
        st.fixed_dictionaries({"s": texts, "n": st.integers(0, 2), "l": st.lists(st.integers(0, 3), max_size=2)}),
        max_size=12,
    ),
    st.sampled_from([{}, {"s": "a"}, {"n": {"$gte": 1}}, {"l": 2}, {"s": {"$in": ["a", "é"]}, "n": {"$ne": 0}}]),
)
def test_distinct_and_groupby_as_in_memory(pair, docs, criteria):
    fill(pair, docs)
    sqlite, memory = pair
    for field in ("s", "n", "l"):
        assert sorted(sqlite.distinct(field, criteria)) == sorted(memory.distinct(field, criteria))
    groups = [
        {tuple(sorted(k.items())): sorted(d["uuid"] for d in g) for k, g in one.groupby(["s", "n"], criteria, ["uuid"])}
        for one in pair
    ]
    assert groups[0] == groups[1]


def test_projection_through_lists_and_scalars(store):
    store.update({"uuid": "1", "l": [{"x": 1, "y": 2}, 3], "n": 4})
    assert store.query_one({}, ["l.x", "n.x"]) == {"l": [{"x": 1}]}
    assert store.query_one({}, {"l.x": 0, "n.x": 0, "_id": 0}) == {"uuid": "1", "l": [{"y": 2}, 3], "n": 4}
    assert store.query_one({}, {"_id": 0}) == {"uuid": "1", "l": [{"x": 1, "y": 2}, 3], "n": 4}
    assert store.query_one({}, {"_id": 1}) == {}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"$gt": 3}, [4, 7.5]),
        ({"$gte": 3}, [3, 4, 7.5]),
        ({"$lt": 4}, [-1, 3]),
        ({"$lte": 4}, [-1, 3, 4]),
        ({"$gt": "a"}, ["b"]),
        ({"$gte": ""}, ["", "a", "b"]),
        ({"$lt": "b"}, ["", "a"]),
        ({"$lte": "b"}, ["", "a", "b"]),
        ({"$ne": 3}, [-1, 4, 7.5, "", "a", "b", None, True]),
        ({"$nin": [3, "a", 4]}, [-1, 7.5, "", "b", None, True]),
        ({"$in": [3, "a", 99]}, [3, "a"]),
        (None, [None]),
    ],
)
def test_columns_compare_within_one_type(store, asked, found):
    mixed = [-1, 3, 4, 7.5, "", "a", "b", None, True]
    store.update([{"uuid": str(i), "a": v} for i, v in enumerate(mixed)])
    assert [d["a"] for d in store.query({"a": asked})] == found
    assert store.count({"a": asked}) == len(found)
    store.remove_docs({"a": True})  # now every column holds what SQL compares by itself
    assert [d["a"] for d in store.query({"a": asked})] == [v for v in found if v is not True]
    assert store.count({"a": asked}) == len([v for v in found if v is not True])


def test_filters_on_declared_fields_use_their_index(store):
    store.update([{"uuid": str(i), "a": i} for i in range(50)])
    con = connection.connect(store.path)
    plans = []
    con.set_trace_callback(plans.append)
    assert [d["a"] for d in store.query({"a": {"$gte": 48}}, sort={"a": -1})] == [49, 48]
    con.set_trace_callback(None)
    select = next(p for p in plans if p.startswith("SELECT id FROM docs WHERE"))
    plan = " ".join(row[3] for row in con.execute("EXPLAIN QUERY PLAN " + select))
    assert "INDEX docs:a" in plan
    assert "SCAN" not in plan


def test_the_narrowest_term_of_a_filter_leads(store):
    store.update([{"uuid": str(i), "a": 1, "s": "x"} for i in range(300)])
    con = connection.connect(store.path)
    plans = []
    con.set_trace_callback(plans.append)
    assert store.query_one({"a": 1, "uuid": "7", "s": "x"}, sort={"a": -1})["uuid"] == "7"
    store.remove_docs({"s": "x", "uuid": "8"})
    assert store.count({"s": "x", "a": 1}) == 299
    con.set_trace_callback(None)
    for beginning, index in (("SELECT id FROM docs WHERE", "docs:uuid"), ("DELETE FROM docs", "docs:uuid")):
        statement = next(p for p in plans if p.startswith(beginning))
        plan = " ".join(row[3] for row in con.execute("EXPLAIN QUERY PLAN " + statement))
        assert f"INDEX {index}" in plan, plan


def test_long_lists_of_values(store):
    store.update([{"uuid": f"u{i}", "a": i} for i in range(3000)])
    wanted = [f"u{i}" for i in range(0, 3000, 2)]
    assert store.count({"uuid": {"$in": wanted}}) == 1500
    assert store.count({"a": {"$in": list(range(2000))}}) == 2000


def test_documents_keep_their_types(store):
    doc = {"uuid": "x", "when": datetime(2026, 1, 2, 3, 4, 5), "raw": b"\x00\x01", "nan": float("nan"), "deep": [[1.5]]}
    store.update({**doc, "array": np.arange(3), "_id": "dropped"})
    found = store.query_one({"uuid": "x"})
    assert np.isnan(found.pop("nan"))
    del doc["nan"]
    assert found == {**doc, "array": [0, 1, 2]}


def test_compressed_documents_take_less_room(tmp_path):
    import base64

    text = base64.b64encode(os.urandom(60_000)).decode()
    for compress, bound in ((False, 80_000), (True, 62_000)):
        one = SQLiteStore(str(tmp_path / f"{compress}.db"), compress=compress)
        one.update({"uuid": "x", "data": text})
        assert one.query_one({"uuid": "x"})["data"] == text
        size = connection.connect(one.path).execute("SELECT length(doc) FROM docs").fetchone()[0]
        assert (size < bound) == compress


def test_writing_while_reading(store):
    store.update([{"uuid": str(i), "a": 0} for i in range(600)])
    for doc in store.query({"a": 0}):
        store.update({**doc, "a": 1})
    assert store.count({"a": 1}) == 600


def test_sort_takes_maggma_constants(store):
    store.update([{"uuid": str(i), "a": i} for i in range(3)])
    assert store.query_one(sort={"a": Sort.Descending})["a"] == 2


def test_one_bad_document_writes_none(store):
    with pytest.raises(StoreError, match="cannot be stored"):
        store.update([{"uuid": "1"}, {"uuid": "2", "huge": 2**70}])
    with pytest.raises(KeyError):
        store.update([{"uuid": "1"}, {"a": 2}])
    assert store.count() == 0


def test_projection_operators_are_refused(store):
    store.update({"uuid": "1", "a": [1, 2]})
    with pytest.raises(InputError, match="projection"):
        list(store.query({}, {"a": {"$slice": 1}}))
    with pytest.raises(InputError, match="included"):
        list(store.query({}, {"a": 1, "s": 0}))


def test_fields_declared_later_index_what_is_there(store):
    store.update([{"uuid": str(i), "late": {"n": i}} for i in range(20)])
    other = SQLiteStore(store.path, fields=["late.n"])
    assert [d["uuid"] for d in other.query({"late.n": {"$lt": 2}})] == ["0", "1"]
    store.update({"uuid": "new", "late": {"n": 1}})  # by an instance that does not know of the new column
    assert other.count({"late.n": 1}) == 2
    assert store.ensure_index("anything")
    assert not store.ensure_index("uuid", unique=True)


def test_survives_serialisation(store):
    store.update({"uuid": "1"})
    for copied in (pickle.loads(pickle.dumps(store)), MontyDecoder().process_decoded(store.as_dict())):
        assert copied == store
        assert copied.fields == store.fields
        assert copied.count() == 1


def test_threads_and_forks_share_a_store(store):
    def write(start):
        for i in range(start, start + 25):
            store.update({"uuid": str(i)})

    threads = [threading.Thread(target=write, args=(i * 25,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    pid = os.fork()
    if pid == 0:
        try:
            write(100)
            os._exit(0)
        finally:
            os._exit(1)
    write(200)
    assert os.waitpid(pid, 0)[1] == 0
    assert store.count() == 150


WRITER = """
    import sys
    from magflow.stores.sqlite import SQLiteStore
    store = SQLiteStore(sys.argv[1], fields=["uuid", "n"])
    for i in range(10**9):
        store.update({"uuid": f"{sys.argv[2]}-{i}", "n": i, "text": "x" * 2000})
        print(i, flush=True)
"""


def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path):
    path = tmp_path / "s.db"
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path)]
    writers = [subprocess.Popen([*command, str(k)], stdout=subprocess.PIPE) for k in range(3)]
    begun = [w.stdout.readline() for w in writers]
    time.sleep(0.7)
    for writer in writers:
        writer.send_signal(signal.SIGKILL)
    acknowledged = [len((line + w.communicate()[0]).splitlines()) for line, w in zip(begun, writers, strict=True)]
    store = SQLiteStore(str(path), fields=["uuid", "n"])
    assert min(acknowledged) > 0
    for k, number in enumerate(acknowledged):
        kept = {d["uuid"] for d in store.query({}, ["uuid"]) if d["uuid"].startswith(f"{k}-")}
        assert {f"{k}-{i}" for i in range(number)} <= kept
        assert len(kept) <= number + 1
    assert connection.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_full_file_is_a_store_error_and_keeps_everything(store):
    store.update([{"uuid": str(i), "text": "x" * 1000} for i in range(20)])
    con = connection.connect(store.path)
    pages = con.execute("PRAGMA page_count").fetchone()[0]
    con.execute(f"PRAGMA max_page_count = {pages + 5}")
    with pytest.raises(StoreError, match="full") as caught:
        store.update([{"uuid": f"new{i}", "text": "x" * 10_000} for i in range(20)])
    assert "space" in caught.value.hint
    assert store.count() == 20
    con.execute("PRAGMA max_page_count = 1000000")
    store.update({"uuid": "later"})
    assert store.count() == 21
    assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("content", [b"this is no database, but a text file" * 100, b"\x00" * 5000])
def test_other_files_are_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "s.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="not a store"):
        SQLiteStore(str(path)).connect()
    assert path.read_bytes() == content


def test_damaged_file_is_a_store_error(tmp_path):
    path = tmp_path / "s.db"
    store = SQLiteStore(str(path))
    store.update([{"uuid": str(i), "text": "x" * 3000} for i in range(50)])
    connection.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    raw = bytearray(path.read_bytes())
    raw[4096:] = os.urandom(len(raw) - 4096)
    path.write_bytes(raw)
    with pytest.raises(StoreError, match=r"damaged|not a store"):
        list(SQLiteStore(str(path)).query({}))


def test_missing_directory_is_a_store_error(tmp_path):
    with pytest.raises(StoreError, match="cannot be opened"):
        SQLiteStore(str(tmp_path / "absent" / "s.db")).connect()


@pytest.fixture
def on_lustre(tmp_path, monkeypatch):
    """Makes `tmp_path` a network file system, by name."""
    from types import SimpleNamespace

    def say_so():
        mounts = [SimpleNamespace(mountpoint=str(p), fstype=f) for p, f in (("/", "ext4"), (tmp_path, "lustre"))]
        monkeypatch.setattr(connection.psutil, "disk_partitions", lambda all: mounts)
        connection.refuse_network_file_system.cache_clear()

    yield say_so
    connection.refuse_network_file_system.cache_clear()


def test_network_file_systems_are_refused(tmp_path, on_lustre):
    on_lustre()
    with pytest.raises(StoreError, match="local disk"):
        SQLiteStore(str(tmp_path / "s.db")).connect()
    assert list(tmp_path.iterdir()) == []


def test_what_lies_on_a_network_file_system_is_read_and_not_written(tmp_path, on_lustre):
    path = tmp_path / "s.db"
    written = SQLiteStore(str(path))
    written.connect()
    written.update([{"uuid": "a", "index": 1}], key=["uuid"])
    connection.disconnect(path)
    on_lustre()
    found = SQLiteStore(str(path))
    found.connect()
    assert found.count() == 1
    with pytest.raises(StoreError, match="local disk"):
        found.update([{"uuid": "b", "index": 1}], key=["uuid"])
    assert [p.name for p in tmp_path.iterdir()] == ["s.db"]


def test_what_another_machine_has_open_is_not_read(tmp_path, on_lustre):
    path = tmp_path / "s.db"
    SQLiteStore(str(path)).connect()
    assert path.with_name("s.db-shm").exists()
    on_lustre()
    with pytest.raises(StoreError, match=r"open on another machine.*lustre") as caught:
        connection.connect_readonly(path)
    assert caught.value.hint


OPENED = {
    "bare": connection.connect,
    "store": lambda path: campaign_store(path.parent).connect(),
    "queue": lambda path: JobQueue(path.parent),
}


@pytest.mark.parametrize("who", OPENED)
def test_what_is_committed_outlives_a_power_cut_by_default(who, tmp_path):
    """SQLite flushes the log at each commit in this mode, and in no lower one."""
    path, full = tmp_path / DATABASE, 2
    OPENED[who](path)
    assert connection.connect(path).execute("PRAGMA synchronous").fetchone() == (full,)


def test_bad_arguments():
    with pytest.raises(InputError, match="synchronous"):
        SQLiteStore("x.db", synchronous="OFF")
    with pytest.raises(InputError, match="table"):
        SQLiteStore("x.db", table="docs; DROP TABLE jobs")


def test_errors_of_sqlite_are_explained():
    texts = {
        "database or disk is full": "full",
        "attempt to write a readonly database": "read-only",
        "database is locked": "locked",
        "something new": "cannot be used",
    }
    for text, word in texts.items():
        error = connection.explain(sqlite3.OperationalError(text), "f.db")
        assert word in error.message
        assert error.where == "f.db"
        assert error.hint


def test_a_file_system_is_tried_not_only_asked_for_its_name(tmp_path, monkeypatch):
    connection.refuse_network_file_system.cache_clear()
    connection.refuse_network_file_system(str(tmp_path))
    assert list(tmp_path.iterdir()) == []

    def without(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    for name in ("fcntl.lockf", "mmap.mmap"):
        connection.refuse_network_file_system.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(name, without)
            with pytest.raises(StoreError, match="locks and shared memory"):
                connection.refuse_network_file_system(str(tmp_path))
    for kind in ["dvs", "virtiofs", "gfs2", "ocfs2", "fhgfs", "vboxsf", "juicefs", "fuse.gpfs"]:
        assert kind in connection.NETWORK_FILE_SYSTEMS
