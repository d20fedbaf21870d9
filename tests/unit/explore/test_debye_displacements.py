"""Melting points, Debye temperatures and displacements, against measured ones."""

from __future__ import annotations

import pytest

from magflow.errors import InputError
from magflow.explore.thermal import debye_displacement, debye_temperature, melting_point


@pytest.mark.parametrize(("element", "kelvin"), [("Cu", 1358), ("Ti", 1941), ("W", 3695)])
def test_melting_points(element, kelvin):
    assert melting_point(element) == pytest.approx(kelvin, abs=2)


@pytest.mark.parametrize(("element", "kelvin"), [("Cu", 343), ("Ti", 420), ("Al", 428), ("Fe", 470), ("W", 400)])
def test_debye_temperatures_are_near_those_of_calorimetry(element, kelvin):
    """C. Kittel, Introduction to Solid State Physics, 8th edition, chapter 5, table 1."""
    assert debye_temperature(element) == pytest.approx(kelvin, rel=0.06)


def test_displacement_of_copper_at_room_temperature():
    """The Debye-Waller factor B = 8 pi^2 <u^2>/3 of copper is 0.55 A^2 at 295 K; its Debye temperature there 320 K."""
    mean_square = debye_displacement("Cu", 295.0, 320.0) ** 2
    assert 8.0 * 9.8696 * mean_square / 3.0 == pytest.approx(0.55, rel=0.1)


def test_displacement_grows_with_the_root_of_the_temperature():
    assert debye_displacement("Mo", 900.0, 400.0) == pytest.approx(3.0 * debye_displacement("Mo", 100.0, 400.0))


def test_what_is_not_known_is_asked_for_by_name():
    with pytest.raises(InputError, match="no elastic constants are known of Tc") as caught:
        debye_temperature("Tc")
    assert "--debye Tc=" in str(caught.value)


def test_an_element_without_a_melting_point_is_asked_for():
    with pytest.raises(InputError, match="no melting point is known of Og"):
        melting_point("Og")
