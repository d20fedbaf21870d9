"""What is kept of a training, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from magflow.core.versions import NewerFormatError
from magflow.errors import InputError
from magflow.io.importing.magnetic_states import MagneticStates
from magflow.studies.train.result import FittedMember, TrainResult
from magflow.studies.train.section import section
from magflow.studies.train.task import _over_all

ERRORS = {"energy": {"n": 4, "rmse": 0.002, "mae": 0.001, "max": 0.004}}
PART = {
    "labels": 4,
    "errors": ERRORS,
    "strata": {"ordering": {"FM": {"labels": 3, "errors": ERRORS}, "NM": {"labels": 1, "errors": {}}}},
    "worst": {"energy": [{"formula": "Fe2", "label_id": "abc", "rmse": 0.004}]},
}
MEMBERS = (FittedMember(True, 5, 1.5, {"train": {"energy": 0.002}}, {}), FittedMember(False, 9, 2.0, {}, {"loss": 1.0}))
RESULT = TrainResult("mmtp", ("Al", "Fe"), {"train": PART}, MEMBERS, 3.5)


def test_a_result_survives_json():
    told = json.loads(json.dumps(RESULT.as_dict()))
    assert told["format"] == "magflow-training-1"
    assert TrainResult.from_dict(told) == RESULT


def test_what_magflow_0_1_wrote_has_no_stamp():
    told = {k: v for k, v in RESULT.as_dict().items() if k not in ("format", "magflow")}
    assert TrainResult.from_dict(told) == RESULT


def test_another_kind_and_a_newer_form_are_told_by_name():
    with pytest.raises(InputError, match="magflow-comparison-1"):
        TrainResult.from_dict(RESULT.as_dict() | {"format": "magflow-comparison-1"})
    with pytest.raises(NewerFormatError, match=r"written by magflow 9\.9"):
        TrainResult.from_dict(RESULT.as_dict() | {"format": "magflow-training-2", "magflow": "9.9"})


def test_the_section_names_strata_the_worst_and_what_did_not_converge():
    said = section(RESULT)
    (titled,) = said.tables
    assert titled.table.columns == ["labels", "number", "Energy (meV/atom)"]
    assert titled.table.rows == [["train", 4, "2"], ["  FM", 3, "2"], ["  NM", 1, "–"]]
    assert list(said.remarks) == [
        ("energy is worst for Fe2 abc", "4 meV/atom"),
        ("stopped at the last iteration, not converged", "member 1"),
    ]


def test_what_cannot_be_learnt_without_moments_is_said_where_none_are_read():
    states = MagneticStates(100, 0.05, 0.04, 0.001, 80.0)
    deaf, aware = (replace(RESULT, magnetic=reads, magnetic_states=states) for reads in (False, True))
    assert TrainResult.from_dict(json.loads(json.dumps(deaf.as_dict()))) == deaf
    assert deaf.as_dict()["magnetic_states"]["floor"] == pytest.approx(0.04, rel=1e-3)
    said = dict(section(deaf).remarks)["these potentials read no moments"]
    assert "40 of the 50 meV/atom" in said
    assert not any("moments" in about for about, _ in section(aware).remarks)


def test_progress_of_members_side_by_side_is_that_of_all():
    told = []
    tell = _over_all(lambda fraction, text, *, milestone=False: told.append((fraction, text, milestone)), 2)
    for member, fraction in ((0, 0.5), (1, 0.5), (1, 1.0), (0, 1.0)):
        tell(member, fraction, "fitting")
    assert told == [
        (0.25, "member 0: fitting", False),
        (0.5, "member 1: fitting", False),
        (0.75, "member 1: fitting", True),
        (1.0, "member 0: fitting", True),
    ]


def test_what_a_notebook_shows_is_the_section_by_itself():
    assert repr(RESULT) == "<TrainResult of 2 mmtp: Al, Fe; 4 train labels>"
    part = PART | {"worst": {"energy": [{"formula": "<script>", "label_id": "abc", "rmse": 0.004}]}}
    page = TrainResult("mmtp", ("Al",), {"train": part}, MEMBERS, 3.5)._repr_html_()
    assert "The ensemble and its labels" in page and "&lt;script&gt;" in page and "<script" not in page
    assert "<html" not in page and "--blue:" in page
