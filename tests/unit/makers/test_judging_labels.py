"""Wrong numbers of calculations that ended well: named by what they are, or suspected by what the others are."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from maker_documents import CAMPAIGN, frames

from magflow.core.label import Cost, FailureKind, Label
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.makers.documents import LabelDoc
from magflow.makers.judging import SEEN, Sibling, compared, far_from_others, judged
from magflow.makers.label import LabelMaker, collect
from magflow.makers.label_document import label_document
from magflow.makers.packing import pack_frame
from magflow.makers.tries import LOST

FRAMES = frames(14, 3)
ENGINE = SpinLatticeEngine()
LEVEL = ENGINE.level_of_theory(CAMPAIGN.elements)


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> list[Label]:
    return [ENGINE.label(frame, LEVEL, tmp_path_factory.mktemp("label")) for frame in FRAMES]


def array(label: Label, name: str, change) -> Label:
    values = np.array(getattr(label, name), float)
    change(values)
    return replace(label, **{name: values})


FAULTS = {
    "not a number": lambda x: replace(x, energy=float("nan")),
    "infinite": lambda x: replace(x, energy=float("-inf")),
    "absurd energy": lambda x: replace(x, energy=-1e300),
    "zero energy": lambda x: replace(x, energy=0.0),
    "all zero": lambda x: replace(x, energy=0.0, forces=0 * x.forces, stress=0 * x.stress),
    "zero forces": lambda x: replace(x, forces=0 * x.forces),
    "one huge force": lambda x: array(x, "forces", lambda f: f.__setitem__((0, 0), 5e7)),
    "two huge forces": lambda x: array(
        x, "forces", lambda f: (f.__setitem__((0, 0), 5e7), f.__setitem__((1, 0), -5e7))
    ),
    "forces that do not add up": lambda x: array(x, "forces", lambda f: f.__iadd__(0.2)),
    "a force that is lost": lambda x: array(x, "forces", lambda f: f.__setitem__((1, 2), np.nan)),
    "absurd stress": lambda x: array(x, "stress", lambda s: s.__setitem__(0, 9.97e36)),
    "a stress that is lost": lambda x: array(x, "stress", lambda s: s.__setitem__(3, np.inf)),
    "absurd moment": lambda x: array(x, "magmoms", lambda m: m.__setitem__((0, 2), 26.0)),
    "a moment that is lost": lambda x: array(x, "magmoms", lambda m: m.__setitem__((0, 2), np.nan)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_right_is_a_failed_label(labels, fault):
    wrong = judged(FRAMES[0], FAULTS[fault](labels[0]))
    assert wrong.failure.kind == FailureKind.INCONSISTENT, fault
    assert wrong.energy is None
    assert wrong.cost == labels[0].cost


def test_honest_labels_are_left_alone(labels):
    assert all(judged(f, x) is x for f, x in zip(FRAMES, labels, strict=True))
    failed = Label.failed(FRAMES[0], LEVEL, FailureKind.CRASH, "no")
    assert judged(FRAMES[0], failed) is failed


def siblings(labels):
    def counts(frame):
        return {e: frame.species.count(e) for e in set(frame.species)}

    return [Sibling(counts(f), x.energy / len(f)) for f, x in zip(FRAMES, labels, strict=True)]


@pytest.mark.parametrize("off", [48.0, -48.0, 5.0, -5.0])
def test_an_energy_far_from_its_siblings_is_suspect_until_it_comes_again(labels, off):
    known, last = siblings(labels)[:-1], labels[-1]
    wrong = replace(last, energy=last.energy + off)
    found = compared(FRAMES[-1], wrong, known, [])
    assert found.failure.kind == FailureKind.SUSPECT
    assert f"{abs(off) / len(FRAMES[-1]):.1f}"[:2] in found.failure.message
    again = compared(FRAMES[-1], wrong, known, [found.details[SEEN]])
    assert again.ok and SEEN in again.details
    assert not compared(FRAMES[-1], wrong, known, [found.details[SEEN] + 0.1]).ok
    assert compared(FRAMES[-1], last, known, []) is last


def test_a_few_wrong_siblings_make_no_good_label_suspect(labels):
    known = siblings(labels)
    known[:3] = [replace(s, energy=s.energy + 24.0) for s in known[:3]]
    assert [i for i, far in enumerate(far_from_others(known)) if far is not None] == [0, 1, 2]


def test_nobody_knows_with_few_siblings_or_of_a_new_composition(labels):
    known = siblings(labels)
    assert far_from_others([*known[:9], replace(known[9], energy=99.0)]) == [None] * 10
    new = Sibling({"Al": 1, "Ni": 1}, 99.0)
    assert far_from_others([*known, new])[-1] is None


class Doubtful(SpinLatticeEngine):
    """Gives energies that are off by so much."""

    off: ClassVar[float] = 0.0

    def label(self, frame, level_of_theory, workdir):
        found = super().label(frame, level_of_theory, workdir)
        return replace(found, energy=found.energy + self.off)


@pytest.fixture
def store(labels):
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    for n, (frame, label) in enumerate(zip(FRAMES[:-1], labels, strict=False)):
        document = label_document(frame, label, CAMPAIGN, "spin-lattice", "here", 0)
        store.update(
            {"uuid": str(n), "index": 1, "output": document.model_dump(mode="json"), "completed_at": str(n)}, save=True
        )
    return store


def made(store, uuid: str) -> LabelDoc:
    """The last frame's label, by a job."""
    job = LabelMaker(engine=Doubtful(), campaign=CAMPAIGN).make(pack_frame(FRAMES[-1]), "here", 1)
    job.set_uuid(uuid)
    job.config.expose_store = True
    out = run_locally(job, store=store, create_folders=False, ensure_success=True)
    return LabelDoc(**out[uuid][1].output) if isinstance(out[uuid][1].output, dict) else out[uuid][1].output


def test_a_suspect_trains_nothing_and_a_second_calculation_confirms_it(store, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Doubtful, "off", 30.0)
    first = made(store, "a")
    assert (first.state, first.failure) == ("failed", "suspect")
    assert "magflow retry --reason suspect" in first.message
    assert collect.original(CAMPAIGN, [first], 1).output.label_ids == []
    second = made(store, "b")
    assert second.state == "ok"
    assert SEEN in second.details


def test_what_killed_tries_have_cost_counts_as_the_label_s(store, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Doubtful, "off", 0.0)
    token = LOST.set(Cost(cpu_seconds=100.0, wall_seconds=3600.0))
    try:
        label = made(store, "a")
    finally:
        LOST.reset(token)
    assert label.core_hours == pytest.approx(label.cores, rel=0.01)
    assert 100.0 <= label.cpu_seconds < 101.0


def test_a_first_batch_is_held_against_itself(labels):
    wrong = [replace(labels[0], energy=labels[0].energy - 48.0), *labels[1:]]
    documents = [label_document(f, x, CAMPAIGN, "spin-lattice", "here", 0) for f, x in zip(FRAMES, wrong, strict=True)]
    batch = collect.original(CAMPAIGN, documents, 0).output
    assert batch.failed == {documents[0].label_id: "suspect"}
    assert batch.label_ids == [d.label_id for d in documents[1:]]
