"""Force constants from labels of which some failed, crystals that are not at rest, and what a budget pays for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from maker_documents import CAMPAIGN, batch_of
from scipy.optimize import brentq

from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.explore.geometry import repeated
from magflow.makers import phonons
from magflow.makers.packing import pack_frame
from magflow.makers.phonons import PhononMaker, force_constants_of
from magflow.makers.purse import Purse
from magflow.properties.displaced import displaced_frames, of_displacements

ENGINE = SpinLatticeEngine()
LEVEL = ENGINE.level_of_theory(CAMPAIGN.elements)
MAKER = PhononMaker(engine=ENGINE, campaign=CAMPAIGN, crystals=[], displacement=0.01)


@cache
def rest() -> float:
    """Lattice constant without stress, A."""
    return float(brentq(lambda a: ENGINE.label(b2(a), LEVEL, Path()).stress[0], 2.6, 3.4))


def b2(a: float | None = None) -> Frame:
    a = a or rest()
    return repeated(Frame(("Fe", "Al"), a * np.eye(3), [[0, 0, 0], [a / 2] * 3], [2.0, 0.0]), (1, 1, 2))


def labelled(frames: Collection[Frame]) -> list[LabeledFrame]:
    return [LabeledFrame(f, ENGINE.label(f, LEVEL, Path())) for f in frames]


def crystal(frame: Frame) -> dict:
    displaced = [pack_frame(f) for f in displaced_frames(frame, 0.01)]
    return {"name": "B2", "crystal": "c", "reason": "", "frame": pack_frame(frame), "displaced": displaced}


def gathered(frame: Frame, perfect: list[LabeledFrame], displaced: list[LabeledFrame], failed: dict[str, str]):
    asked = crystal(frame), batch_of(perfect), batch_of(displaced, failed), 0
    return MAKER.gather.original(MAKER, *asked)


def test_rows_need_all_displacements_of_their_atom():
    frame = b2()
    perfect, moved = labelled([frame]), labelled(displaced_frames(frame, 0.01))
    (whole,) = of_displacements([*perfect, *moved])
    found = force_constants_of(gathered(frame, perfect, moved, {}))
    np.testing.assert_allclose(found.array, whole.array, atol=1e-12)
    assert found.label_id == whole.label_id
    lost, *others = moved
    part = gathered(frame, perfect, others, {lost.label_id: "scf-unconverged"})
    assert part.failed == {lost.label_id: "scf-unconverged"}
    assert (part.state, len(part.rows)) == ("ok", len(whole.atoms) - 1)
    known = force_constants_of(part)
    np.testing.assert_allclose(known.array, whole.array[[a in known.atoms for a in whole.atoms]], atol=1e-12)
    none = gathered(frame, perfect, [], {})
    assert none.state == "refused" and "all its displacements" in none.reason
    assert set(none.failed.values()) == {"worker-lost"}


def test_a_label_of_reversed_moments_serves_as_well():
    frame = b2()
    turned = [LabeledFrame(f, ENGINE.label(f, LEVEL, Path())) for f in (frame, *displaced_frames(frame, 0.01))]
    turned = [LabeledFrame(t.frame.replace(magmoms=-t.frame.magmoms), t.label) for t in turned]
    asked = gathered(frame, turned[:1], turned[1:], {})
    assert asked.state == "ok"


class Still:
    """An ensemble whose labels carry the stress of a fixed cutoff."""

    def __init__(self, offset_gpa: float) -> None:
        self.offset = offset_gpa / 160.21766208

    def label_stress_offset(self, frames):
        return np.full((len(frames), 6), self.offset) * [1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("frame", "offset", "said"),
    [
        (b2(), 0.0, ""),
        (b2(0.97 * rest()), 0.0, "a residual stress of"),
        (b2(), 30.0, "a residual stress of 30 GPa"),
        (b2().replace(positions=b2().positions + 0.05 * np.eye(4, 3)), 0.0, "a residual force of"),
    ],
)
def test_what_is_not_at_rest_is_not_displaced(monkeypatch, frame, offset, said):
    monkeypatch.setattr(phonons, "stored_ensemble", lambda models, calibration: Still(offset))
    found = MAKER.displace.original(MAKER, [crystal(frame)], batch_of(labelled([frame])), [], {})
    (entry,) = found["crystals"]
    assert said in entry["reason"] and bool(entry["reason"]) == bool(said)
    assert bool(found["frames"]) == (not said) and len(found["sources"]) == len(found["frames"])
    lost = MAKER.displace.original(MAKER, [crystal(frame)], batch_of([]), [], {})
    assert lost["frames"] == [] and "perfect supercell failed" in lost["crystals"][0]["reason"]


def test_a_question_is_the_same_after_a_queue_that_knows_no_tuples():
    """jobflow-remote makes lists of them: asked again, all would be labelled again."""
    packed = pack_frame(b2(2.9))
    asked, came = (replace(MAKER, crystals=[kind(("B2", packed, [1, 1, 2]))]) for kind in (tuple, list))
    assert (asked.which, asked.sources, asked._key(0)) == (came.which, came.sources, came._key(0))
    assert asked.uuids(0) == came.uuids(0)


def test_a_purse_pays_each_label_once():
    purse = Purse({"a", "b"}, 0.5, 4, 1.0)
    assert purse.pay(["a", "c"]) == ""
    assert purse.pay(["c", "d", "e"]) == "3 of stop.labels: 4 are spent, and it takes 2 more"
    assert purse.pay(["d"]) == "" and purse.pay(["a", "b", "c", "d"]) == ""
    assert Purse(set(), 1.0, None, 1.0).pay(["a"]) == "1.00 of phonons.core_hours: 1 are spent"
    assert Purse(set(), 9.0, None, None).pay(["a"]) == ""


def test_a_purse_counts_batches_where_no_store_is_reached():
    """Failed labels of the loop are spent, too; core-hours are those beside it."""
    loop = batch_of(labelled([b2()]), {"lost": "worker-lost"}, core_hours=7.0)
    beside = batch_of(labelled([b2(2.9)]), core_hours=0.25)
    purse = Purse(set(), 0.0, 3, None)
    purse.count([loop], [beside])
    assert purse.known == {*loop.label_ids, "lost", *beside.label_ids} and purse.core_hours == 0.25
    assert purse.pay(["new"]) == "3 of stop.labels: 3 are spent, and it takes 1 more"
