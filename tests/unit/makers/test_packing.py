from __future__ import annotations

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.core.label import Cost, Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.errors import StoreError
from magflow.makers.packing import (
    pack_batch,
    pack_frame,
    pack_labelled,
    unpack_failed,
    unpack_frame,
    unpack_labelled,
)

PBE = LevelOfTheory("code", "1", LabelKind.CONSTRAINED, "PBE", {"Fe": "ab"}, {"ecut_ha": 10.0, "kpoints": [4, 4, 4]})
OTHER = LevelOfTheory("code", "2", LabelKind.CONSTRAINED, "PBE")


def frame(n: int = 2, seed: int = 0, magmoms: bool = True) -> Frame:
    rng = np.random.default_rng(seed)
    return Frame(
        ("Fe",) * n, 3 * np.eye(3) + rng.normal(0, 0.1, (3, 3)), rng.normal(0, 1, (n, 3)),
        rng.normal(0, 2, n) if magmoms else None,
    )  # fmt: skip


def labelled(f: Frame, level: LevelOfTheory = PBE, **kw: object) -> LabeledFrame:
    rng = np.random.default_rng(7)
    values = {
        "energy": -3.25, "forces": rng.normal(size=(len(f), 3)), "stress": rng.normal(size=6),
        "magmoms": f.magmoms, "magnetic_forces": np.array([[0, 0, np.nan]] * len(f)), "cost": Cost(2.5, 3.5, 2),
        "attempts": 3,
    }  # fmt: skip
    return LabeledFrame(f, Label(f.frame_id, level, f.orientation, **(values | kw)))


def test_frames_come_back_with_every_digit():
    for f in (frame(), frame(5, 3), frame(1, 2, magmoms=False)):
        back = unpack_frame(pack_frame(f))
        assert back.frame_id == f.frame_id
        np.testing.assert_array_equal(back.positions, f.positions)
        assert (back.magmoms is None) == (f.magmoms is None)


def test_labels_come_back_with_levels_cost_and_absences():
    items = [
        labelled(frame(2, 1)),
        labelled(frame(3, 2).time_reversed(), OTHER),
        labelled(frame(1, 3, magmoms=False), stress=None, magmoms=None, magnetic_forces=None),
    ]
    back = unpack_labelled(pack_labelled(items))
    assert [b.label_id for b in back] == [i.label_id for i in items]
    for a, b in zip(items, back, strict=True):
        assert b.label.energy == a.label.energy
        assert b.label.cost == a.label.cost
        assert b.label.attempts == a.label.attempts
        assert b.label.level_of_theory == a.label.level_of_theory
        for name in ("forces", "stress", "magmoms", "magnetic_forces"):
            x, y = getattr(a.label, name), getattr(b.label, name)
            assert (x is None) == (y is None)
            if x is not None:
                np.testing.assert_array_equal(x, y)


def test_a_batch_holds_its_failed_frames_apart():
    good, bad = labelled(frame(2, 1)), frame(2, 9)
    text = pack_batch([good], [bad])
    assert [i.label_id for i in unpack_labelled(text)] == [good.label_id]
    assert unpack_failed(text) == [bad]
    assert unpack_labelled(pack_batch([], [bad])) == []


@pytest.mark.parametrize("damage", [lambda t: t[:-20], lambda t: "!" + t, lambda t: t[:40] + "AAAA" + t[44:]])
def test_a_damaged_blob_is_refused(damage):
    with pytest.raises(StoreError, match="damaged"):
        unpack_labelled(damage(pack_labelled([labelled(frame())])))
