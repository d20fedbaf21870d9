"""Labels: looked up before they are computed, gathered whatever became of them, at one level of theory per engine."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from maker_documents import CAMPAIGN, frames, labelled

from magflow.core.arrays import encode_arrays
from magflow.core.label import Cost, FailureKind, Label, LabelKind
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.makers.documents import CandidatesDoc, Purpose, SelectionDoc
from magflow.makers.label import LabelMaker, collect, find_label, level_of_theory
from magflow.makers.label_document import label_document
from magflow.makers.offered import chosen
from magflow.makers.packing import pack_candidates, pack_frame, unpack_failed, unpack_labelled


class Silent(SpinLatticeEngine):
    """Says nothing of its settings, and counts how often it is asked for its level of theory."""

    asked: ClassVar[list[LabelKind]] = []

    def __repr__(self) -> str:
        return "Silent()"

    def level_of_theory(self, elements):
        self.asked.append(self.kind)
        return super().level_of_theory(elements)


def test_the_level_of_theory_is_kept_by_the_values_of_an_engine_and_the_elements():
    Silent.asked.clear()
    constrained, free = (Silent(kind=k) for k in (LabelKind.CONSTRAINED, LabelKind.SPIN_POLARISED))
    for _ in range(2):
        assert level_of_theory(constrained, ["Al", "Fe"]).kind is LabelKind.CONSTRAINED
        assert level_of_theory(free, ["Al", "Fe"]).kind is LabelKind.SPIN_POLARISED
    assert level_of_theory(Silent(), ["Al", "Fe"]).kind is LabelKind.CONSTRAINED
    assert Silent.asked == [LabelKind.CONSTRAINED, LabelKind.SPIN_POLARISED]
    level_of_theory(Silent(), ["Fe"])
    assert len(Silent.asked) == 3


def document(n: int = 1, seed: int = 0, purpose: Purpose = Purpose.CAMPAIGN, hours: float = 1.0):
    item = labelled(n, seed)[0]
    label = item.label
    cost = Cost(7.0, 3600.0 * hours / 2, 2)
    made = Label(**{**{k: getattr(label, k) for k in label.__dataclass_fields__}, "cost": cost})
    return label_document(item.frame, made, CAMPAIGN, "spin-lattice", "here", 2, purpose)


def failed_document(seed: int, kind: FailureKind = FailureKind.TIME_LIMIT):
    frame = frames(1, seed)[0]
    level = SpinLatticeEngine().level_of_theory(CAMPAIGN.elements)
    label = Label.failed(frame, level, kind, "too slow", cost=Cost(1.0, 1800.0, 2))
    return label_document(frame, label, CAMPAIGN, "spin-lattice", "here", 2)


def test_a_label_sums_itself_up():
    found, item = document(), labelled(1)[0]
    label = item.label
    assert found.energy_per_atom == pytest.approx(label.energy / 2)
    assert found.pressure_gpa == pytest.approx(-label.stress[:3].mean() * 160.21766208)
    assert found.force_max == pytest.approx(max((label.forces**2).sum(axis=1)) ** 0.5)
    assert found.moment_total == pytest.approx(label.magmoms[:, 2].sum())
    assert found.magnetic_force_max == pytest.approx(abs(label.magnetic_forces[:, 2]).max())
    assert (found.core_hours, found.cores, found.cpu_seconds) == (pytest.approx(1.0), 2, 7.0)


def test_a_batch_counts_what_became_of_each_label():
    documents = [document(seed=0), failed_document(5), document(seed=1, hours=3.0), None]
    documents[2] = documents[2].model_copy(update={"reused": True})
    response = collect.original(CAMPAIGN, documents, 2)
    batch = response.output
    assert batch.label_ids == [documents[0].label_id, documents[2].label_id]
    assert batch.failed == {documents[1].label_id: "time-limit"}
    assert batch.core_hours == pytest.approx(1.0 + 1.0 + 3.0), "failed labels cost as well"
    assert (batch.cpu_seconds, batch.reused, batch.retried) == (15.0, 1, False)
    assert [f.frame_id for f in unpack_failed(batch.arrays)] == [documents[1].frame_id]
    assert [i.label_id for i in unpack_labelled(batch.arrays)] == batch.label_ids
    assert not response.stop_children


def test_a_batch_without_a_usable_label_ends_the_campaign_and_tells_of_lost_ones():
    response = collect.original(CAMPAIGN, [failed_document(5), None, None], 2)
    assert response.stop_children
    ((ending, _),) = response.addition.iterflow()
    outcome = ending.function(*ending.function_args, **ending.function_kwargs)
    assert "1 time-limit, 2 worker-lost" in outcome.explanation and "too slow" in outcome.explanation
    assert outcome.iteration == 2
    assert not collect.original(CAMPAIGN, [], 2).stop_children


def test_only_usable_labels_are_found_again_and_they_cost_nothing():
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    good, bad = document(), failed_document(5)
    for n, d in enumerate((good, bad)):
        entry = {"uuid": f"{n}", "index": 1, "output": d.model_dump(mode="json")}
        store.update(entry, key=["uuid", "index"], save={"data": ["arrays"]})
    found = find_label(store, good.label_id, Purpose.TEST)
    assert found.reused and found.purpose is Purpose.TEST
    assert (found.core_hours, found.cpu_seconds, found.wall_seconds) == (0.0, 0.0, 0.0)
    assert unpack_labelled(found.arrays)[0].label.energy == good.energy
    assert find_label(store, bad.label_id) is None
    assert find_label(None, good.label_id) is None


@pytest.fixture
def offered():
    """Five candidates, of which the fourth and the second were selected."""
    pool = frames(5)
    common = {"campaign": CAMPAIGN.id, "iteration": 1, "wall_seconds": 0.0, "cpu_seconds": 0.0}
    candidates = CandidatesDoc(
        offered=5, sources={}, health={}, arrays=pack_candidates(pool, [f"place {i}" for i in range(5)]), **common
    )
    selection = SelectionDoc(
        offered=5,
        selected=[pool[3].frame_id, pool[1].frame_id],
        rows=[3, 1],
        sources=["place 3", "place 1"],
        reasons={},
        strata={},
        exhausted=False,
        arrays=encode_arrays({}),
        **common,
    )
    return candidates, selection, pool


@pytest.mark.parametrize("rows", [[3, 1], []], ids=["rows", "as magflow 0.1 wrote it"])
def test_the_selected_frames_are_taken_from_the_candidates(offered, rows):
    candidates, selection, pool = offered
    found, sources = chosen(candidates, selection.model_copy(update={"rows": rows}))
    assert [f.frame_id for f in found] == [pool[3].frame_id, pool[1].frame_id]
    assert sources == ["place 3", "place 1"]


def test_a_batch_that_the_first_release_has_queued_is_labelled(offered, tmp_path, monkeypatch):
    """Its job knows the selection alone; the candidates are found by the uuid of the exploration."""
    from magflow.makers import roles
    from magflow.makers.base import prepare

    monkeypatch.chdir(tmp_path)
    candidates, selection, pool = offered
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    for role, made in ((roles.explore(1, dynamics=True), candidates), (roles.select(1), selection)):
        entry = {"uuid": role.uuid(CAMPAIGN.id), "index": 1, "output": made}
        store.update(entry, key=["uuid", "index"], save={"data": ["arrays"]})
    maker = LabelMaker(engine=SpinLatticeEngine(), campaign=CAMPAIGN)
    queued = maker.batch(selection.sources, roles.select(1).uuid(CAMPAIGN.id), 1)
    prepare(queued, CAMPAIGN, roles.batch(1))
    run_locally(queued, store=store, ensure_success=True, log=False, allow_external_references=True)
    labels = list(store.query({"output.doc_type": "label"}))
    assert {d["output"]["frame_id"] for d in labels} == {pool[3].frame_id, pool[1].frame_id}
    assert {d["uuid"] for d in labels} == {roles.label(1, k, Purpose.CAMPAIGN).uuid(CAMPAIGN.id) for k in (0, 1)}
    assert store.query_one({"output.doc_type": "batch"})["output"]["label_ids"]


def test_an_empty_directory_is_not_left_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    maker = LabelMaker(engine=SpinLatticeEngine(), campaign=CAMPAIGN)
    maker.make.original(maker, pack_frame(frames(1)[0]), "here", 0)
    assert not list(Path(tmp_path).iterdir())
