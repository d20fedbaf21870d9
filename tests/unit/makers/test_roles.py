"""The uuids of a campaign never change; what a job is stands in its metadata, once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magflow.makers import roles
from magflow.makers.documents import Purpose
from magflow.makers.roles import Category, Phase, Tag

MOMENT = "2026-01-02T03:04:05+00:00"
CAMPAIGN, BESIDE, TEST = Purpose.CAMPAIGN, Purpose.PRETRAINING, Purpose.TEST

OF_FIRST_RELEASE = [
    (roles.explore(2, dynamics=True), "explore 2", "3859793d-0d88-5ac2-bf2f-61d6ed467bfd"),
    (roles.explore(2, dynamics=False), "explore 2", "3859793d-0d88-5ac2-bf2f-61d6ed467bfd"),
    (roles.select(2), "select 2", "bc92cb0d-28f8-578f-b67e-30ce3acbe70d"),
    (roles.batch(2), "label batch 2", "3db50feb-ecb0-5853-a583-9f9c17a43d7a"),
    (roles.batch_beside(BESIDE), "label batch pre-training", "b0c5e748-ad2f-50b3-b2b5-13ccc3a7bc57"),
    (roles.batch_beside(TEST), "label batch test", "b58fc433-4205-5454-905a-25ca9fb6b011"),
    (roles.draw(TEST), "draw test", "f3e36935-2bd2-5755-bba3-505e539400d4"),
    (roles.label(2, 5, CAMPAIGN), "label 2", "fb05cfe2-6aef-5e3b-b1e4-4a4f1fe3140f"),
    (roles.label(0, 5, BESIDE), "label 0", "65c9facd-68f8-5b73-b9fb-a30f63687999"),
    (roles.label(2, 5, CAMPAIGN, 17), "label 2", "06d5a57e-3c02-509a-86fd-9c8209956c88"),
    (roles.collect(2, CAMPAIGN), "collect 2", "4e36a404-320e-572e-ae6c-8f609a15ef4c"),
    (roles.collect(0, TEST), "collect 0", "12acefff-ecb1-5688-b5ad-f8497e22252a"),
    (roles.collect(2, CAMPAIGN, 17), "collect 2", "1a4330bb-ac2f-51a8-b5f7-bbbc3583ffee"),
    (roles.stop(2, MOMENT), "stop", "837e19fd-e101-5004-a372-eb845f09000f"),
    (roles.member(Phase.TRAIN, 2, 1), "train 2.1", "5914db29-cc66-592e-b822-d77c59c7adc7"),
    (roles.member(Phase.PRETRAIN, 0, 1), "pretrain 0.1", "04f80848-a5c6-538c-b799-65f05cee7250"),
    (roles.member(Phase.CONTROL, 2, 1), "control 2.1", "35ffd7ce-5a24-500a-a0c8-2729de483e4d"),
    (roles.assess(2), "assess 2", "9f09a27c-2b11-59a6-ab42-e1c49442f64e"),
    (roles.compare(2), "compare 2", "e806d080-0651-5671-bd3e-1a9598818413"),
    (roles.advance(2), "advance 2", "209b2ca6-2033-5730-9d45-0917722bb8d0"),
    (roles.advance(2, "abcd"), "advance 2", "b92822a8-c8f4-523f-98ba-a6d2d08162d5"),
    (roles.static(2, "f00d", CAMPAIGN), "label 2", "5b0bbc7e-ce0f-5977-a17c-c2ae25daf2ce"),
    (roles.static(2, "f00d", TEST), "label 2", "60da7f35-21cf-50f8-80e5-5d1697f21320"),
    (roles.to_label(2, "f00d", CAMPAIGN), "label 2", "40a96824-2363-58cb-990a-a7c8be975822"),
    (roles.to_label(2, "f00d", TEST), "label 2", "b2bfb703-432f-5da1-8046-98eaf20e3119"),
]
"""Names and uuids that magflow 0.1 gave the jobs of the campaign c0ffee: a campaign it has queued goes on with them."""


@pytest.mark.parametrize(("role", "name", "uuid"), OF_FIRST_RELEASE, ids=lambda x: x if isinstance(x, str) else "")
def test_names_and_uuids_are_those_of_the_first_release(role, name, uuid):
    assert (role.title, role.uuid("c0ffee")) == (name, uuid)
    assert role.uuid("c0ffe0") != uuid


@given(
    st.builds(
        Tag,
        st.sampled_from(Phase),
        st.sampled_from(Category),
        st.integers(0, 10**6),
        st.none() | st.integers(0, 63),
        st.none() | st.sampled_from(Purpose),
    )
)
def test_a_tag_comes_back_from_the_metadata_whatever_the_name(tag):
    assert Tag.read(tag.as_metadata() | {"campaign": "c0ffee"}, "train 7.7") == tag


@pytest.mark.parametrize(("role", "name"), [row[:2] for row in OF_FIRST_RELEASE], ids=lambda x: str(x)[:20])
def test_a_job_of_the_first_release_is_known_by_its_name(role, name):
    found = Tag.read({"category": str(role.tag.category)}, name)
    expected = role.tag
    assert (found.phase, found.category, found.member) == (expected.phase, expected.category, expected.member)
    assert found.iteration == (0 if name == "stop" else expected.iteration)


@pytest.mark.parametrize("name", ["add", "label", "static 3 extra", "draw nothing", "train 1.x", "", "relabel 3"])
def test_a_job_of_somebody_else_has_no_tag(name):
    assert Tag.read({}, name) is None
