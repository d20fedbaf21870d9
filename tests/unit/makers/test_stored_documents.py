"""Documents that another magflow has stored, met by jobs: in a search for labels, behind a reference."""

from __future__ import annotations

from pathlib import Path

import pytest
from jobflow import JobStore, OutputReference
from maggma.stores import MemoryStore

from magflow import __version__
from magflow.core.moved import MOVED
from magflow.core.versions import Format, NewerFormatError
from magflow.makers.documents import LabelDoc, Purpose, TransferDoc
from magflow.makers.label import find_label
from magflow.stores.builders import IterationSummaries, update_summaries
from magflow.stores.jobstore import campaign_store

FIELDS = {
    "campaign": "c0ffee", "iteration": 0, "label_id": "l1", "frame_id": "f1", "state": "ok", "engine": "toy",
    "kind": "constrained", "level_of_theory": {}, "level_of_theory_id": "t1", "formula": "Fe2", "n_atoms": 2,
    "ordering": "FM", "source": "here", "volume_per_atom": 11.0, "cpu_seconds": 3.0, "wall_seconds": 3.0, "cores": 1,
    "core_hours": 0.1, "attempts": 1, "arrays": "",
}  # fmt: skip


@pytest.fixture(params=["embedded", "any"])
def store(request, tmp_path: Path) -> JobStore:
    found = campaign_store(tmp_path) if request.param == "embedded" else JobStore(MemoryStore())
    found.connect()
    return found


def put(store: JobStore, uuid: str, **changes: object) -> None:
    output = LabelDoc(**FIELDS).model_dump(mode="json") | changes
    kind = {"@module": "magflow.makers.documents", "@class": "LabelDoc"}
    store.docs_store.update([{"uuid": uuid, "index": 1, "output": kind | output}], key=["uuid", "index"])


def test_a_new_document_says_who_wrote_it_and_in_which_format():
    made = LabelDoc(**FIELDS)
    assert (made.format, made.magflow) == (1, __version__)


def test_a_label_of_an_older_magflow_or_with_a_field_more_is_found(store):
    put(store, "a", of_a_later_release=1)
    found = find_label(store, "l1")
    assert (found.reused, found.core_hours, found.frame_id) == (True, 0.0, "f1")


def test_a_label_of_a_newer_format_is_left_alone_and_another_of_the_same_frame_is_taken(store):
    put(store, "a", format=999, magflow="0.9")
    assert find_label(store, "l1", Purpose.TEST) is None, "it is computed again: what the other means is not known"
    put(store, "b")
    assert find_label(store, "l1").magflow == __version__


def test_behind_a_reference_too_a_newer_document_is_refused_by_name(store):
    put(store, "a", format=999, magflow="0.9")
    with pytest.raises(NewerFormatError, match=r"this label was written by magflow 0\.9"):
        OutputReference("a").frame_id.resolve(store)


def test_a_document_whose_class_has_moved_is_resolved(store, monkeypatch):
    monkeypatch.setitem(MOVED, "magflow.gone.documents", "magflow.makers.documents")
    put(store, "a", **{"@module": "magflow.gone.documents"})
    assert isinstance(OutputReference("a").resolve(store), LabelDoc)


def test_an_older_document_goes_through_the_steps(monkeypatch):
    """A document of magflow 0.1 has no number: it is of format 1."""
    monkeypatch.setattr(LabelDoc, "layout", Format("label", (lambda d: d | {"formula": d["formula"].lower()},)))
    old = LabelDoc(**FIELDS).model_dump(mode="json") | {"magflow": "0.1.0", "formula": "FE2"}
    del old["format"]
    assert [LabelDoc(**d).formula for d in (old, old | {"format": 1}, old | {"format": 2})] == ["fe2", "fe2", "FE2"]
    assert (LabelDoc(**old).format, LabelDoc(**old).magflow) == (2, "0.1.0")
    assert LabelDoc(**LabelDoc(**old).model_dump()).formula == "fe2", "once only"
    assert LabelDoc(**FIELDS).format == 2


def test_a_summary_of_newer_documents_is_refused_by_name(store):
    put(store, "a", format=999, magflow="0.9")
    builder = IterationSummaries(store)
    with pytest.raises(NewerFormatError, match=r"magflow 0\.9"):
        [builder.process_item(item) for item in builder.get_items()]


def test_an_iteration_is_summarised_again_when_a_document_of_it_was_replaced(store):
    builder, found = IterationSummaries(store), []
    for minute, state in enumerate(("ok", "failed")):
        output = LabelDoc(**FIELDS).model_dump(mode="json") | {"state": state, "failure": state}
        document = {"uuid": "a", "index": 1, "completed_at": f"2026-01-02T03:0{minute}:00", "output": output}
        store.docs_store.update([document], key=["uuid", "index"])
        anew = update_summaries(builder), update_summaries(builder)
        found.append((anew, builder.summaries.query_one({})["labels"]["usable"]))
    assert found == [((1, 0), 1), ((1, 0), 0)]


def test_formats_are_counted_by_kind():
    """So that a new layout of one kind leaves the labels of a shared store readable to older releases."""
    assert LabelDoc.layout is not TransferDoc.layout
