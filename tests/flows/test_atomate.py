"""An atomate2 static Maker as a label engine: units, moments, failure, and its place in the DAG."""

from __future__ import annotations

import numpy as np
import pytest
from atomate_static import SpinLatticeStaticMaker
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from magflow.core.frame import Frame
from magflow.core.label import LabelKind
from magflow.dft.spin_lattice.model import SpinLatticeModel
from magflow.io.task_document import read_task_document
from magflow.makers.atomate import AtomateEngine
from magflow.makers.base import Campaign
from magflow.makers.label import LabelMaker
from magflow.makers.packing import pack_frame, unpack_labelled
from magflow.stores import queries

CAMPAIGN = Campaign("c0ffee", "atomate", ["Al", "Fe"], 1)


def frame(seed: int = 0) -> Frame:
    rng = np.random.default_rng(seed)
    positions = np.array([[0.0, 0, 0], [1.45, 1.45, 1.45]]) + rng.normal(0, 0.05, (2, 3))
    return Frame(("Fe", "Al"), 2.9 * np.eye(3) + rng.normal(0, 0.02, (3, 3)), positions, [1.8, 0.05])


def label_of(engine: AtomateEngine, task):
    return read_task_document(task, frame(), engine.level_of_theory(["Al", "Fe"]), engine.stress_in_gpa)


def read(engine: AtomateEngine, task):
    return read_task_document(task, frame(), engine.level_of_theory(["Al", "Fe"]), engine.stress_in_gpa)


def maker(**kw):
    return SpinLatticeStaticMaker(**kw)


@pytest.fixture
def store():
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    return store


def test_a_static_maker_labels_a_batch(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames = [frame(i) for i in range(3)]
    labels = LabelMaker(engine=maker(), campaign=CAMPAIGN)
    assert isinstance(labels.source, AtomateEngine)
    flow = labels.flow([pack_frame(f) for f in frames], ["test"] * 3, 0)
    run_locally(flow, store=store, ensure_success=True, log=False)
    documents = queries.labels(store, arrays=True)
    assert {d.frame_id for d in documents} == {f.frame_id for f in frames}
    by_id = {d.frame_id: unpack_labelled(d.arrays)[0].label for d in documents}
    expected = SpinLatticeModel().predict(frames)
    for i, f in enumerate(frames):
        label, truth = by_id[f.frame_id], expected.frame(i)
        assert label.energy == pytest.approx(truth.energy[0], abs=1e-8)
        np.testing.assert_allclose(label.forces, truth.forces, atol=1e-8)
        np.testing.assert_allclose(label.stress, truth.stress[0], rtol=1e-5, atol=1e-8)
    batch = queries.batches(store)[0]
    assert len(batch.label_ids) == 3


def test_labels_found_in_the_store_are_not_computed_again(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = LabelMaker(engine=maker(), campaign=CAMPAIGN)
    frames = [pack_frame(frame(0))]
    run_locally(labels.flow(frames, ["a"], 0), store=store, ensure_success=True, log=False)
    run_locally(labels.flow(frames, ["b"], 1), store=store, ensure_success=True, log=False)
    first, second = queries.labels(store)
    assert (first.reused, second.reused) == (False, True)
    assert second.core_hours == 0
    statics = list(store.query({"name": {"$regex": "static"}}))
    assert len(statics) == 1


def test_another_input_set_is_another_level_of_theory():
    levels = [AtomateEngine(maker(steps=s)).level_of_theory(("Al", "Fe")) for s in (1, 2)]
    assert levels[0].fingerprint != levels[1].fingerprint
    assert levels[0] == AtomateEngine(maker(steps=1)).level_of_theory(("Fe", "Al"))


@pytest.mark.parametrize(
    ("task", "kind"), [(None, "crash"), ({"output": {"energy": None, "forces": None}}, "truncated-output")]
)
def test_a_calculation_without_a_result_is_a_failed_label(task, kind):
    label = label_of(AtomateEngine(maker()), task)
    assert label.failure.kind == kind


def test_stress_of_vasp_is_positive_in_compression_and_kbar():
    task = {"output": {"energy": -1.0, "forces": np.zeros((2, 3)), "stress": 10.0 * np.eye(3), "structure": None}}
    label = label_of(AtomateEngine(maker(), kind=LabelKind.NON_MAGNETIC), task)
    np.testing.assert_allclose(label.stress[:3] * 160.21766208, -1.0, rtol=1e-9)
    assert label.magmoms is None
