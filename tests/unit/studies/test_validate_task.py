"""A validation: each piece is measured once, failures are results, what makes no sense is told and stops nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from exact_potentials import ModelPotential, alone, bcc
from magflow.errors import InputError
from magflow.properties.equation_of_state import EquationOfState
from magflow.properties.measurement import Group, Value
from magflow.properties.references import Reference
from magflow.studies.validate.files import FILES, write_validation
from magflow.studies.validate.judgement import by_group
from magflow.studies.validate.overview import idle_references
from magflow.studies.validate.result import Validation
from magflow.studies.validate.section import columns, section
from magflow.studies.validate.task import MEASUREMENT, Structure, ValidationTask
from magflow.studies.validate.words import crystal

IRON = Structure("bcc-Fe", bcc(2.84, moment=2.2))
A0 = Reference(
    property="equation-of-state", name="a0", of={"formula": "Fe"}, value=2.8, unit="A", kind="own DFT", source="a test"
)


def task(out, **changes):
    given = {
        "potentials": {"model": alone(ModelPotential())},
        "structures": [IRON],
        "properties": [EquationOfState(points=5)],
        "references": [A0],
    }
    return ValidationTask(**(given | changes), out=out)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("validation")
    return task(out), task(out).run()


def test_value_beside_its_reference(done):
    _, found = done
    (judgement,) = found.judgements
    assert judgement.expected == 2.8
    assert judgement.relative == pytest.approx(judgement.value.value / 2.8 - 1.0)
    table = section(found).tables[0].table
    row = next(r for r in table.rows if r[1].startswith("a0"))
    assert row[2] == "2.8 (own DFT)"
    assert row[4].endswith("%")


def test_finished_pieces_are_kept(done, monkeypatch):
    asked, found = done

    def again(*_):
        raise AssertionError("measured twice")

    monkeypatch.setattr(EquationOfState, "measure", again)
    assert asked.run().as_dict() == found.as_dict()


def test_another_question_is_another_answer(done, tmp_path):
    task(tmp_path).run()
    moved = task(tmp_path, structures=[Structure("bcc-Fe", bcc(2.86, moment=2.2))])
    narrow = task(tmp_path, properties=[EquationOfState(points=5, width=0.03)])
    assert len({p.question for t in (task(tmp_path), moved, narrow) for p in t.pieces()}) == 3
    ((_, found),) = narrow.run().found
    assert found.settings["width"] == 0.03


def test_a_directory_in_use_needs_resume(done, tmp_path):
    asked, _ = done
    asked.check_directory(resume=True)
    with pytest.raises(InputError, match="--resume"):
        asked.check_directory(resume=False)
    with pytest.raises(InputError, match="no measurements"):
        task(tmp_path).check_directory(resume=True)


def test_bad_input_is_told_and_stops_nothing(tmp_path):
    bare = Structure("bare", IRON.frame.non_magnetic())
    found = task(tmp_path, structures=[bare, IRON]).run()
    assert len(found.found) == 1
    assert "magmoms" in found.skipped[0].reason
    assert any("was not measured" in text for _, text in section(found).remarks)


def test_the_main_numbers_come_first_and_all_of_them_are_folded_away(done):
    _, found = done
    shown = section(found)
    (first,) = shown.lead
    assert first.table.columns[1:] == [crystal(found.found[0][1])]
    assert [row[0] for row in first.table.rows][:2] == ["a0 (A)", "volume (A^3/atom)"]
    assert "%" in first.table.rows[0][1]  # what it is off its reference
    assert all(t.folded for t in shown.tables)


@pytest.mark.parametrize(
    ("change", "told"), [({"name": "edge"}, "the values are a0, "), ({"unit": "nm"}, "it is in nm, the value in A")]
)
def test_a_reference_that_no_value_answers_to_is_told(done, change, told):
    _, found = done
    right = found.references[0]
    assert not idle_references(found)
    wrong = replace(found, references=(right.model_copy(update=change),))
    assert any(about == "references" and told in text for about, text in section(wrong).remarks)


def test_elements_a_potential_does_not_know_are_left_out(tmp_path):
    foreign = Structure("bcc-Cr", bcc(2.9, "Cr", 1.0))
    assert not list(task(tmp_path, structures=[foreign]).pieces())


def test_it_survives_its_file(done):
    _, found = done
    again = Validation.from_dict(json.loads(json.dumps(found.as_dict())))
    assert again.as_dict() == found.as_dict()
    assert again.judgements[0].difference == found.judgements[0].difference


def test_files(done, tmp_path):
    _, found = done
    write_validation(found, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == set(FILES)
    page = (tmp_path / "validation.html").read_text()
    assert "What the potential is good for" in page
    assert "<svg" in page
    table = columns(found)
    assert len({len(column) for column in table.values()}) == 1
    assert "a0" in table["value"]


def test_a_damaged_measurement_is_told(tmp_path):
    task(tmp_path).run()
    (piece,) = task(tmp_path).pieces()
    (piece.directory / MEASUREMENT).write_text("{")
    with pytest.raises(InputError, match=r"measurement\.json"):
        task(tmp_path).run()


def with_values(found, *values):
    ((_, m),) = found.found
    return replace(found, found=(("model", replace(m, values=values)),))


def test_a_difference_below_its_error_bar_is_called_that(done):
    _, found = done
    loose = with_values(found, Value("a0", "A", 2.84, error=0.03, spread=0.04)).judgements[0]
    tight = with_values(found, Value("a0", "A", 2.84, error=0.003, spread=0.004)).judgements[0]
    assert loose.uncertainty == pytest.approx(0.05)
    assert not loose.significant
    assert tight.significant
    assert "(+1.4 %)" in str(section(with_values(found, loose.value)).tables[0].table.rows)


def test_errors_by_group(done):
    _, found = done
    values = [Value("a0", "A", x, temperature=t) for t, x in ((100.0, 2.8), (200.0, 2.828), (300.0, 2.94))]
    known = [A0.model_copy(update={"temperature": v.temperature}) for v in values]
    (errors,) = by_group(replace(with_values(found, *values), references=tuple(known)).judgements)
    assert errors.group is Group.STATIC
    assert errors.median == pytest.approx(0.01)
    assert errors.worst.value.temperature == 300.0
    assert np.isclose(max(errors.relative), 0.05)
