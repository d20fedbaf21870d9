"""Labels to start from: whose they are, and how moments along another axis are turned."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.errors import InputError
from magflow.io.extxyz import write_extxyz
from magflow.io.importing.content import content_digest
from magflow.io.importing.warm_start import along_z, differences, take_in, title, together
from magflow.io.sources import Wish

OWN = LevelOfTheory("code", "1", LabelKind.CONSTRAINED, "PBE", {"Fe": "a"}, {"ecut_ha": 20.0})
OTHER = LevelOfTheory("code", "1", LabelKind.CONSTRAINED, "PBE", {"Fe": "a"}, {"ecut_ha": 30.0})


def item(moments, level: LevelOfTheory = OWN, x: float = 0.0, forces: bool = True) -> LabeledFrame:
    frame = Frame(("Fe", "Fe"), 2.9 * np.eye(3), [[x, 0, 0], [1.4, 1.4, 1.4]], moments)
    found = None if moments is None else frame.magmoms
    magnetic = -0.1 * found if forces and found is not None else None
    label = Label(
        frame.frame_id,
        level,
        frame.orientation,
        energy=-1.0,
        forces=np.zeros((2, 3)),
        magmoms=found,
        magnetic_forces=magnetic,
    )
    return LabeledFrame(frame, label)


unit = st.tuples(*[st.floats(-1, 1)] * 3).map(np.array).filter(lambda v: np.linalg.norm(v) > 0.1)


@settings(max_examples=50, deadline=None)
@given(unit, st.tuples(st.floats(0.5, 3), st.floats(-3, 3)))
def test_moments_along_one_axis_are_turned_to_z_with_their_forces(axis, sizes):
    axis = axis / np.linalg.norm(axis)
    before = item(np.outer(sizes, axis))
    after = along_z(before)
    assert after is not None
    moments = after.label.magmoms
    np.testing.assert_allclose(np.abs(moments[:, 2]), np.abs(sizes), atol=1e-9)
    np.testing.assert_allclose(after.label.magnetic_forces, -0.1 * moments, atol=1e-9)
    np.testing.assert_allclose(moments @ moments.T, before.label.magmoms @ before.label.magmoms.T, atol=1e-8)
    assert (moments[:, :2] == 0).all() and after.frame.frame_id == after.label.frame_id


def test_moments_along_no_common_axis_are_not_turned():
    assert along_z(item([[1.0, 0, 0], [0, 1.0, 0]])) is None
    along = item([1.0, -1.0])
    assert along_z(along) is along
    assert along_z(plain := item(None)) is plain


def take(path, items, foreign=False, wish=None, elements=("Fe",)):
    write_extxyz(path, items)
    return take_in(path, wish or Wish(), OWN, elements, foreign=foreign)


def test_labels_of_the_own_level_come_back_as_they_are(tmp_path):
    items = [item([2.0, -2.0], x=x) for x in (0.0, 0.1)]
    found = take(tmp_path / "own.extxyz", items)
    assert [i.label_id for i in found.items] == [i.label_id for i in items]
    assert (found.turned, found.left_out) == (0, 0)


def test_labels_that_can_not_be_turned_are_counted(tmp_path):
    items = [item(m, OTHER) for m in ([[2.0, 0, 0], [2.0, 0, 0]], [[1.0, 0, 0], [0, 1.0, 0]], [1.0, 1.0])]
    found = take(tmp_path / "other.extxyz", items, foreign=True)
    assert (len(found.items), found.turned, found.left_out) == (2, 1, 1)


@pytest.mark.parametrize(
    ("items", "foreign", "elements", "message"),
    [
        ([item([1.0, 1.0], OTHER)], False, ("Fe",), "of another level of theory"),
        ([item([1.0, 1.0])], True, ("Fe",), "of the campaign's own level"),
        ([item([1.0, 1.0])], False, ("Al",), "an element that the campaign has not"),
        ([item([1.0, 1.0], forces=False)], False, ("Fe",), "constrained labels have magnetic forces"),
        ([item(None)], False, ("Fe",), "have the moments they ended with"),
    ],
)
def test_what_the_campaign_can_not_use_is_refused(tmp_path, items, foreign, elements, message):
    with pytest.raises(InputError, match=message):
        take(tmp_path / "labels.extxyz", items, foreign=foreign, elements=elements)


def test_two_other_levels_are_refused(tmp_path):
    third = LevelOfTheory("third", "1", LabelKind.CONSTRAINED, "PBE")
    given_ = [
        take(tmp_path / f"{n}.extxyz", [item([1.0, 1.0], level)], foreign=True)
        for n, level in enumerate((OTHER, third))
    ]
    with pytest.raises(InputError, match="several other levels"):
        together(given_)
    assert len(together(given_[:1])) == 1


def test_levels_are_told_apart_by_what_differs():
    assert differences(OTHER, OWN) == "ecut_ha 30.0, not 20.0"
    assert differences(OWN, OWN) == ""
    assert title(OWN) == "code 1 PBE constrained"


def test_a_digest_is_of_content_and_names_within_a_folder(tmp_path):
    for folder, name in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("1")
    a, b, c = (content_digest(tmp_path / folder) for folder in "abc")
    assert a == b != c
    assert content_digest(tmp_path / "a" / "x") == content_digest(tmp_path / "c" / "y")
    with pytest.raises(InputError, match="no such file"):
        content_digest(tmp_path / "absent")
