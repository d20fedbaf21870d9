"""Labels through every pair of formats: the same label ids come back, or what was lost has been named before."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from magflow.io.ase_atoms import from_atoms, to_atoms
from magflow.io.export import FORMATS, Target, losses, write_records
from magflow.io.findings import Findings
from magflow.io.gather import gather
from magflow.io.records import Record, as_record
from magflow.io.sources import Wish
from strategies import ELEMENTS, frames, labeled_frames

relaxed = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = {"extxyz": "labels.extxyz", "mlip-cfg": "labels.cfg", "deepmd": "npy"}
MOMENTS = ("target moments", "which atoms were constrained", "unknown magnetic forces")
extras = st.dictionaries(
    st.sampled_from(["config_type", "note", "weight"]), st.sampled_from(["k444", "two words", 2.5, 7])
)


def only_along_x(item) -> bool:
    magmoms = item.configuration.magmoms
    return magmoms is not None and bool(magmoms.any()) and not magmoms[:, 1:].any()


def unique(items) -> list[Record]:
    return [as_record(item) for item in {item.label_id: item for item in items}.values()]


def through(folder: Path, form: str, records: list[Record]) -> list[Record]:
    """`records` written in a format and read again."""
    folder.mkdir()
    numbered = form != "extxyz"
    target = Target(folder / NAMES[form], form, ELEMENTS if numbered else None)
    write_records(target, records)
    sign = 1 if form == "mlip-cfg" else None
    elements = ELEMENTS if form == "mlip-cfg" else None
    return gather([target.path], Wish(elements=elements, en_der_sign=sign), Findings())


def by_energy(records: list[Record]) -> list[Record]:
    return sorted(records, key=lambda r: (r.label.energy, r.frame.formula, r.frame.positions.tolist()))


@pytest.mark.parametrize(("first", "second"), list(product(FORMATS, repeat=2)))
@relaxed
@given(items=st.lists(labeled_frames().filter(lambda item: not only_along_x(item)), min_size=1, max_size=3))
def test_labels_come_back_from_every_pair_of_formats(tmp_path_factory, first, second, items):
    records = unique(items)
    told = [line for form in (first, second) for line in losses(records, form).lines()]
    root = tmp_path_factory.mktemp("pair")
    back = through(root / "b", second, through(root / "a", first, records))
    assert len(back) == len(records)
    for old, new in zip(by_energy(records), by_energy(back), strict=True):
        assert new.label.level_of_theory == old.label.level_of_theory
        assert np.array_equal(new.configuration.positions, old.configuration.positions)
        moments = (new.configuration.magmoms, old.configuration.magmoms)
        assert moments[0] is moments[1] is None or np.array_equal(*moments)
        for name in ("forces", "magnetic_forces"):
            a, b = getattr(new.label, name), getattr(old.label, name)
            assert (a is None) == (b is None)
            assert a is None or np.array_equal(np.nan_to_num(a), np.nan_to_num(b))
        lost = any(word in line for line in told for word in MOMENTS)
        assert new.label.label_id == old.label.label_id or lost


@pytest.mark.parametrize("form", FORMATS)
@relaxed
@given(item=labeled_frames(magnetic=True).filter(lambda item: not only_along_x(item)), info=extras)
def test_what_is_not_named_as_lost_is_there(tmp_path_factory, form, item, info):
    """Extra keys, targets, costs and details: in the file or in the list."""
    record = Record(item.frame, item.label, info)
    named = " ".join(losses([record], form).lines())
    (back,) = through(tmp_path_factory.mktemp("kept") / "a", form, [record])
    for key, value in info.items():
        assert back.info.get(key) == value or f"the key {key}" in named
    assert back.frame.frame_id == item.frame.frame_id or any(word in named for word in MOMENTS)
    assert back.label.cost == item.label.cost or "cost" in named
    assert dict(back.label.details) == dict(item.label.details) or "details" in named


@relaxed
@given(item=labeled_frames(), info=extras)
def test_ase_atoms_keep_everything(item, info):
    back = from_atoms(to_atoms(Record(item.frame, item.label, info)), item.label.level_of_theory)
    assert back.label.label_id == item.label_id and dict(back.info) == info


@pytest.mark.parametrize("form", FORMATS)
@relaxed
@given(frame=frames())
def test_frames_without_a_label_stay_without(tmp_path_factory, form, frame):
    if form != "extxyz" and frame.magmoms is not None and not frame.magmoms[:, 1:].any():
        return
    (back,) = through(tmp_path_factory.mktemp("bare") / "a", form, [Record(frame)])
    assert back.label is None
    assert back.frame.frame_id == frame.frame_id or frame.constrained is not None
