"""Energies of magnetic states above the lowest one."""

from __future__ import annotations

import pytest

from magflow.properties.measurement import Group, Measurement, Moments, Value
from magflow.properties.state_energies import EnergyDifference, energy_differences
from magflow.studies.validate.result import Validation
from magflow.studies.validate.section import section, state_table


def state(name, energy, structure="bcc-Fe", spread=None, **facts):
    values = () if energy is None else (Value("energy", "eV/atom", energy, spread=spread),)
    facts = {"property": "equation-of-state", **facts}
    return Measurement(
        group=Group.STATIC, structure=structure, formula="Fe", space_group=229, magnetic_state=name,
        moments=Moments.RELAXED, values=values, **facts,
    )  # fmt: skip


def test_states_stand_above_the_lowest_of_their_structure():
    found = energy_differences(
        [
            state("NM", -8.0, spread=0.003),
            state("FM", -8.5, spread=0.004),
            state("AFM", -8.4),
            state("FM", -8.3, "fcc-Fe"),
            state("AFM", -8.35, "fcc-Fe"),
        ]
    )
    assert [(d.structure, d.state, d.lowest) for d in found] == [
        ("bcc-Fe", "AFM", "FM"),
        ("bcc-Fe", "NM", "FM"),
        ("fcc-Fe", "FM", "AFM"),
    ]
    assert [d.energy for d in found] == pytest.approx([100.0, 500.0, 50.0])
    assert found[0].spread is None
    assert found[1].spread == pytest.approx(5.0)


def test_the_lowest_pattern_of_an_order_counts():
    (found,) = energy_differences([state("AFM", -8.4), state("AFM", -8.3), state("FM", -8.5)])
    assert found.energy == pytest.approx(100.0)


def test_they_are_a_table_of_the_validation():
    found = (("one", state("FM", -8.5)), ("one", state("NM", -8.4)), ("two", state("NM", -8.4)))
    assert state_table(Validation(found)).rows == [["bcc-Fe", "NM above FM", "one", "100"]]
    tables = [t.title for t in section(Validation(found)).tables]
    assert "Magnetic states" in tables
    assert "Magnetic states" not in [t.title for t in section(Validation(found[1:])).tables]


def test_what_failed_or_is_another_property_or_stands_alone_is_left_out():
    failed = state("NM", None, failure="no minimum")
    other = state("AFM", -9.0, property="phonons")
    assert energy_differences([state("FM", -8.5), failed, other]) == []
    assert energy_differences([state("FM", -8.5), state("NM", -8.4)]) == [
        EnergyDifference("bcc-Fe", "NM", "FM", pytest.approx(100.0), None)
    ]
