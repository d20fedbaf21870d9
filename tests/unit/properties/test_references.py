"""Reference values: the right one is found, a file that says nonsense is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from magflow.errors import InputError
from magflow.properties.known import known_names
from magflow.properties.measurement import Group, Measurement, Moments, Value
from magflow.properties.references import Reference, read_references, references_of

WORKFLOWS = Path(__file__).parents[3] / "workflows" / "references"
A0 = Value("a0", "A", 2.84)
IRON = Measurement("equation-of-state", Group.STATIC, "bcc-Fe", "Fe", 229, "FM", Moments.RELAXED, (A0,))


def reference(**changes):
    given = {"property": "equation-of-state", "name": "a0", "of": {"formula": "Fe", "space_group": 229}, "unit": "A"}
    return Reference(**(given | {"kind": "DFT", "source": "a journal"} | changes))


def test_what_labels_say_comes_first_and_others_do_not_count():
    known = [
        reference(value=2.831),
        reference(value=2.866, kind="experiment"),
        reference(value=3.6, of={"formula": "Fe", "space_group": 225}),
        reference(value=2.75, of={"formula": "Fe", "magnetic_state": "NM"}),
        reference(value=283.1, unit="pm"),
        reference(value=1.0, name="c/a"),
        reference(value=2.9, temperature=300.0),
    ]
    assert [number for _, number in references_of(IRON, A0, known)] == [2.831, 2.866]


def test_table_between_its_temperatures():
    eta = reference(property="viscosity", name="viscosity", unit="mPa s", table=[[1800, 6.0], [1900, 5.0]])
    assert eta.number(1850.0) == pytest.approx(5.5)
    assert eta.number(1700.0) is None
    assert eta.number(None) is None


def test_at_rest_is_not_at_a_temperature():
    assert reference(value=2.83).number(300.0) is None
    assert reference(value=2.87, temperature=300.0).number(300.5) == 2.87
    assert reference(value=2.87, temperature=300.0).number(None) is None


@pytest.mark.parametrize(
    "changes",
    [{}, {"value": 1.0, "table": [[1, 2]]}, {"table": [[2, 1], [1, 1]]}, {"value": 1, "kind": "hearsay"},
     {"value": 1, "source": ""}, {"table": [[1, 2]], "temperature": 3}],
)  # fmt: skip
def test_unusable(changes):
    with pytest.raises(ValidationError):
        reference(**changes)


def test_a_file(tmp_path):
    path = tmp_path / "fe.yaml"
    path.write_text(
        "magflow_references: 1\nreferences:\n- {property: equation-of-state, name: a0, of: {formula: Fe}, value: 2.831,"
        " unit: A, kind: DFT, source: a journal}\n"
    )
    assert read_references([path])[0].value == 2.831


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("magflow_references: 2\nreferences: []\n", "magflow_references"),
        ("references: []\n", "magflow_references"),
        ("magflow_references: 1\nreferences:\n- {property: x}\n", "references.0"),
        ("a: [\n", "cannot be read"),
        ("!!python/object/apply:os.system ['true']\n", "cannot be read"),
    ],
)
def test_a_file_that_says_nonsense(tmp_path, text, said):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_references([path])
    assert str(path) in str(error.value)
    assert said in str(error.value)


def test_no_file():
    with pytest.raises(InputError, match="cannot be read"):
        read_references([Path("no/such/file.yaml")])


def test_another_state_is_not_covered():
    of_ferromagnets = reference(value=2.83, of={"formula": "Fe", "magnetic_state": "FM"})
    assert references_of(IRON, A0, [of_ferromagnets])
    assert not references_of(replace(IRON, magnetic_state="AFM"), A0, [of_ferromagnets])


def test_those_that_come_with_magflow_are_called_by_name(tmp_path):
    assert known_names() == ["feal_own_dft", "iron"]
    for name in known_names():
        assert read_references([tmp_path / name]) == read_references([WORKFLOWS / f"{name}.yaml"])
    with pytest.raises(InputError, match="feal_own_dft, iron"):
        read_references([tmp_path / "gold"])
