"""Sums that triggers keep are those that counting label by label finds, whatever was written, replaced or removed."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from magflow.core.versions import FORMAT, NewerFormatError
from magflow.makers.documents import Purpose
from magflow.stores import connection, tally
from magflow.stores.embedded import embedded_documents, embedded_tables
from magflow.stores.sqlite import SQLiteStore
from magflow.stores.tally import Sums, keep_sums, label_tally

PURPOSES = [None, *map(str, Purpose)]


def document(job, label, campaign="c", purpose="campaign", state="ok", failure=None, hours=1.0, **more):
    output = {"doc_type": "label", "campaign": campaign, "iteration": 0, "label_id": label, "purpose": purpose}
    output |= {"state": state, "failure": failure, "core_hours": hours, "cpu_seconds": 60.0 * hours, FORMAT: 1} | more
    return {"uuid": job, "index": 1, "output": output}


@st.composite
def entries(draw):
    state = draw(st.sampled_from(["ok", "failed"]))
    return document(
        job=f"job{draw(st.integers(0, 7))}",
        label=f"label{draw(st.integers(0, 3))}",
        campaign=draw(st.sampled_from("cd")),
        purpose=draw(st.sampled_from(PURPOSES)),
        state=state,
        failure=None if state == "ok" else draw(st.sampled_from(["crash", "suspect"])),
        hours=draw(st.sampled_from([0.0, 0.25, 3.0])),
    )


ACTS = st.lists(st.one_of(entries(), st.sampled_from([f"job{k}" for k in range(8)])), max_size=24)
"""A document to write in place of that of its job, or a job whose document goes."""


def act(docs, acts):
    for one in acts:
        if isinstance(one, str):
            docs.remove_docs({"uuid": one})
        else:
            docs.update(one, key=["uuid", "index"])


def one_by_one(store, campaign):
    """The oracle: from every label, in Python."""
    rows = [d["output"] for d in store.docs_store.query({"output.campaign": campaign})]
    tried = {purpose: Sums() for purpose in Purpose}
    for row in rows:
        hours = row["core_hours"]
        tried[Purpose(row["purpose"] or "campaign")].add(Sums(1, hours, 60 * hours, hours > 0, hours > 0))
    done = {
        p: {r["label_id"] for r in rows if (r["purpose"] or "campaign") == p and r["state"] == "ok"} for p in Purpose
    }
    bad = [r for r in rows if (r["purpose"] or "campaign") == "campaign" and r["state"] == "failed"]
    bad = [r["failure"] for r in bad if r["label_id"] not in done[Purpose.CAMPAIGN]]
    return tried, {p: len(ids) for p, ids in done.items()}, {kind: bad.count(kind) for kind in bad}


@settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
@given(before=ACTS, after=ACTS)
def test_sums_are_those_of_the_labels(tmp_path_factory, before, after):
    """Kept from the middle on, as of a campaign that an older release began."""
    folder = tmp_path_factory.mktemp("tally")
    docs, _ = embedded_tables(SQLiteStore, folder, "NORMAL")
    docs.connect()
    act(docs, before)
    keep_sums(docs)
    act(docs, after)
    store = embedded_documents(folder)
    for campaign in "cd":
        assert tally._kept(store.docs_store, campaign) is not None
        found = label_tally(store, campaign)
        counted = tally._tally(*tally._counted(tally.queries.label_summaries(store, campaign)))
        for one in (found, counted):
            tried, done, failures = one_by_one(store, campaign)
            assert one.tried == tried and dict(one.failures) == failures
            assert {p: one.done[p] for p in Purpose} == done
    docs.close()


def steps(table, ask):
    """How many instructions of SQLite's machine a question takes, in tens."""
    con, taken = connection.connect(table.path), [0]

    def count():
        taken[0] += 1

    con.set_progress_handler(count, 10)
    ask()
    con.set_progress_handler(None, 0)
    return taken[0]


def test_counting_takes_no_longer_for_more_labels(tmp_path):
    """Nor does writing one that is there already; reading them all, which it replaces, does."""
    docs, _ = embedded_tables(SQLiteStore, tmp_path, "NORMAL")
    docs.connect()
    store = embedded_documents(tmp_path)
    took = []
    for start, stop in ((0, 100), (100, 2000)):
        docs.update([document(f"job{k}", f"label{k}") for k in range(start, stop)], key=["uuid", "index"])
        write = steps(docs, lambda: docs.update(document("again", "label7"), key=["uuid", "index"]))
        tell = steps(docs, lambda: label_tally(store, "c"))
        assert label_tally(store, "c").done[Purpose.CAMPAIGN] == stop
        took.append((write, tell, steps(docs, lambda: tally.queries.label_summaries(store, "c"))))
        docs.remove_docs({"uuid": "again"})
    (write_few, few, all_of_few), (write_many, many, all_of_many) = took
    assert many <= few + 5 and write_many <= write_few + 50 and all_of_many > 10 * all_of_few, took


def test_labels_of_a_newer_release_are_refused(tmp_path):
    docs, _ = embedded_tables(SQLiteStore, tmp_path)
    docs.connect()
    docs.update(document("job", "label", **{FORMAT: 99, "magflow": "9.9"}))
    with pytest.raises(NewerFormatError, match=r"magflow 9\.9"):
        label_tally(embedded_documents(tmp_path), "c")


def test_what_sums_cannot_tell_is_counted_label_by_label(tmp_path):
    docs, _ = embedded_tables(SQLiteStore, tmp_path)
    docs.connect()
    docs.update(document("a", "one"))
    docs.update(document("b", "two", hours=2.0, cpu_seconds=True))  # no number to SQLite
    store = embedded_documents(tmp_path)
    assert tally._kept(store.docs_store, "c") is None
    assert label_tally(store, "c").tried[Purpose.CAMPAIGN] == Sums(2, 3.0, 61.0, 2, 2)
