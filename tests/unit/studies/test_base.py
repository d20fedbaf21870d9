"""What every registered study keeps to, and how results of other versions are told."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from magflow import __version__
from magflow.core.versions import Mark, NewerFormatError
from magflow.errors import InputError
from magflow.studies.base import Traces, read_result, registered, results_left_in

STUDIES = pytest.mark.parametrize("study", registered(), ids=lambda study: study.name)


@dataclass(frozen=True)
class Answer:
    """Test double: a result whose form has changed once."""

    value: int

    form: ClassVar[Mark] = Mark("answer", "magflow-answer", (lambda d: {**d, "value": d["number"]},))

    def as_dict(self) -> dict[str, Any]:
        return {**self.form.stamp, "value": self.value}

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Answer:
        return cls(cls.form.upgraded(d)["value"])


def test_the_studies_of_the_house_are_found():
    assert {"compare", "transfer"} <= {study.name for study in registered()}


@STUDIES
def test_a_study_has_a_frozen_task_and_a_result_with_a_form(study):
    assert dataclasses.is_dataclass(study.task) and study.task.__dataclass_params__.frozen
    assert callable(study.task.run)
    form = study.result.form
    assert form.stamp["format"] == f"{form.name}-{form.layout.number}"
    assert form.stamp["magflow"] == __version__


@STUDIES
def test_results_of_a_newer_magflow_are_told_by_name(study):
    form = study.result.form
    newer = {"format": f"{form.name}-{form.layout.number + 1}", "magflow": "9.8"}
    with pytest.raises(NewerFormatError, match=r"written by magflow 9\.8") as caught:
        study.result.from_dict(newer)
    assert "upgrade magflow" in str(caught.value)
    with pytest.raises(InputError, match="this is no"):
        study.result.from_dict({"format": "magflow-cake-1"})


@STUDIES
def test_a_campaign_without_traces_has_nothing_to_show(study, tmp_path):
    assert study.left_in(Traces(tmp_path, lambda doc_type: [])) is None
    assert results_left_in(Traces(tmp_path, lambda doc_type: [])) == {}


def test_older_results_are_brought_up_to_date():
    assert Answer.from_dict({"format": "magflow-answer-1", "number": 42}) == Answer(42)
    assert Answer.from_dict(Answer(7).as_dict()) == Answer(7)


def test_results_that_cannot_be_read_name_their_file(tmp_path: Path):
    path = tmp_path / "results.json"
    assert read_result(path, Answer) is None
    path.write_text(json.dumps(Answer(3).as_dict()))
    assert read_result(path, Answer) == Answer(3)
    damaged = ("{", "[]", "{}", '{"format": "magflow-answer-x"}', '{"format": "magflow-answer-2"}')
    for text in (*damaged, '{"format": "magflow-answer-3"}'):
        path.write_text(text)
        with pytest.raises((InputError, NewerFormatError)) as caught:
            read_result(path, Answer)
        assert str(path) in str(caught.value)
