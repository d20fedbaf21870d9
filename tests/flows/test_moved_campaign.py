"""A finished campaign in MongoDB is summarised, copied to an embedded store and back, and nothing is lost."""

from __future__ import annotations

import json

import pytest
from running import run
from typer.testing import CliRunner

from magflow.cli.app import app
from magflow.errors import InputError, StoreError
from magflow.stores import contents, queries
from magflow.stores.builders import IterationSummaries, update_summaries
from magflow.stores.move import campaigns_in, copy_campaign
from magflow.stores.places import open_place
from magflow.stores.results import SUFFIX

pytestmark = pytest.mark.timeout(300)
runner = CliRunner(env={"COLUMNS": "160", "TERM": "dumb"})


@pytest.fixture(scope="module")
def uri(wire_mongo):
    return f"{wire_mongo.uri}moved_campaign"


@pytest.fixture(scope="module")
def finished(write_campaign, uri, tmp_path_factory):
    """A finished campaign whose store is on the wire double."""
    folder = tmp_path_factory.mktemp("finished")
    store = {"mongodb": {"uri": uri, "patience": 20.0}}
    file = write_campaign(folder / "tiny.yaml", stop={"labels": 12}, store=store)
    return run(file, folder / "run")


def content(store):
    labels = queries.labels(store, arrays=True)
    return {d.label_id: d.arrays for d in labels}, queries.outcome(store).model_dump()


def test_there_and_back_again(finished, uri, tmp_path):
    done = runner.invoke(app, ["db", "move", "--from", uri, "--to", str(tmp_path / "copy"), "--json"])
    assert done.exit_code == 0, done.output
    copied = json.loads(done.output)
    embedded = open_place(str(tmp_path / "copy"), "magflow", create=False)
    assert copied["documents"] == copied["new"] == embedded.count() == finished.store.count()
    assert content(embedded) == content(finished.store)
    assert contents.latest_ensemble(embedded).members
    back = copy_campaign(embedded, open_place(uri, "returned", create=True))
    assert (back.documents, back.blobs, back.digest) == tuple(copied[k] for k in ("documents", "blobs", "digest"))
    again = runner.invoke(
        app, ["db", "move", "--from", str(tmp_path / "copy"), "--to", uri, "--collection", "returned"]
    )
    assert again.exit_code == 0, again.output
    assert ", 0 of them new" in again.output


def test_an_interrupted_copy_goes_on_and_a_damaged_one_is_mended(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("magflow.stores.move._TOGETHER", 7)
    target = open_place(str(tmp_path), "magflow", create=True)

    def interrupt(what, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_campaign(finished.store, target, finished.id, interrupt)
    begun = target.count()
    assert 0 < begun < finished.store.count()
    whole = copy_campaign(finished.store, target, finished.id)
    assert whole.new == whole.documents - begun
    label = target.query_one({"output.doc_type": "label"})
    label["output"]["energy"] += 1e-9
    target.docs_store.update(label, key=["uuid", "index"])
    target.additional_stores["data"].remove_docs({"job_uuid": label["uuid"]})
    assert copy_campaign(finished.store, target, finished.id).new == 1
    assert content(target) == content(finished.store)


def test_what_does_not_arrive_is_told(finished, tmp_path, monkeypatch):
    target = open_place(str(tmp_path), "magflow", create=True)
    update = type(target.docs_store).update

    def forgetful(self, docs, key=None):
        update(self, docs[1:] if isinstance(docs, list) and self.table == "docs" else docs, key)

    monkeypatch.setattr(type(target.docs_store), "update", forgetful)
    with pytest.raises(StoreError, match="did not arrive"):
        copy_campaign(finished.store, target)


def test_campaigns_that_are_not_there_and_passwords_are_refused(finished, uri, tmp_path):
    assert campaigns_in(finished.store) == [finished.id]
    with pytest.raises(InputError, match=finished.id):
        copy_campaign(finished.store, finished.store, "another")
    with pytest.raises(InputError, match="no store here"):
        open_place(str(tmp_path / "absent"), "magflow", create=False)
    secret = uri.replace("//", "//magnus:correct-horse@")
    refused = runner.invoke(app, ["db", "move", "--from", secret, "--to", str(tmp_path)])
    assert refused.exit_code == 2
    assert "MAGFLOW_MONGO_URI" in refused.output
    assert "correct-horse" not in refused.output


def test_summaries_follow_labels_into_datasets_models_and_iterations(finished):
    done = runner.invoke(app, ["db", "summarise", str(finished.path), "--json"])
    assert done.exit_code == 0, done.output
    first, second = json.loads(done.output)
    assert [s["labels"]["usable"] for s in (first, second)] == [10, 2]
    members = {d.member: d.dataset for d in queries.models(finished.store) if d.iteration == 1}
    assert {m: d["dataset"] for d in second["datasets"] for m in d["members"]} == members
    assert second["assessment"]["rmse"] == queries.iterations(finished.store)[1].rmse
    labels = {d.label_id for d in queries.labels(finished.store)}
    assert set(first["labels"]["label_ids"]) | set(second["labels"]["label_ids"]) == labels


def test_only_what_has_changed_is_summarised_again(finished, tmp_path):
    store = open_place(str(tmp_path), "magflow", create=True)
    copy_campaign(finished.store, store)
    builder = IterationSummaries(store, campaign=finished.id)
    assert update_summaries(builder) == 2
    assert update_summaries(builder) == 0
    label = store.query_one({"output.doc_type": "label", "output.iteration": 1})
    store.remove_docs({"uuid": label["uuid"]})
    assert update_summaries(builder) == 1
    assert builder.summaries.query_one({"iteration": 1})["labels"]["usable"] == 1


def test_arrays_that_are_missing_are_told(finished, tmp_path):
    store = open_place(str(tmp_path), "magflow", create=True)
    copy_campaign(finished.store, store)
    label = queries.labels(store)[3]
    store.additional_stores["data"].remove_docs({"blob_uuid": label.arrays["blob_uuid"]})
    assert len(queries.labels(store)) == 12
    with pytest.raises(StoreError, match="arrays of a document are missing"):
        contents.labelled_frames(store)


@pytest.mark.parametrize("field", ["force_max", "pressure_gpa", "magnetic_force_max"])
@pytest.mark.parametrize("direction", ["", "-"])
def test_the_first_few_are_those_of_the_whole_list(finished, field, direction):
    command = ["query", str(finished.path), "labels", "--sort", f"{direction}{field}", "--format", "json"]
    whole = json.loads(runner.invoke(app, command).output)
    few = json.loads(runner.invoke(app, [*command, "--limit", "5"]).output)
    assert [r[field] for r in few] == [r[field] for r in whole[:5]]


def test_sync_imports_what_lies_in_run_directories(finished, tmp_path):
    result = {"uuid": "lost", "index": 1, "name": "label 9", "output": {"doc_type": "other"}}
    kept = {"magflow_result": 1, "documents": [result], "key": ["uuid", "index"], "save": {}}
    (tmp_path / "launch").mkdir()
    (tmp_path / "launch" / f"lost-1{SUFFIX}").write_text(json.dumps(kept))
    command = ["sync", str(finished.path), "--in", str(tmp_path), "--json"]
    assert json.loads(runner.invoke(app, command).output)["imported"] == 1
    assert finished.store.query_one({"uuid": "lost"})["name"] == "label 9"
    assert json.loads(runner.invoke(app, command).output) == {"imported": 0, "present": 0, "unreadable": []}
    finished.store.remove_docs({"uuid": "lost"})
    (tmp_path / f"damaged{SUFFIX}").write_text("{")
    assert runner.invoke(app, command).exit_code == 1
