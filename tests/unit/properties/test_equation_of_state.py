"""Equation of state on potentials whose answer is known otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from ase.calculators.emt import EMT

from exact_potentials import AsePotential, ModelPotential, alone, bcc, fcc
from magflow.core.units import EV_PER_A3_IN_GPA
from magflow.properties.base import Work
from magflow.properties.equation_of_state import EquationOfState
from magflow.properties.measurement import Moments
from magflow.properties.subject import Subject

COPPER = alone(AsePotential(EMT, ["Cu"], 6.0))


def measured(subject, tmp_path, **settings):
    return EquationOfState(**settings).measure(subject, Work(tmp_path))


def test_bulk_modulus_is_the_slope_of_the_pressure(tmp_path):
    found = measured(Subject(COPPER, "fcc-Cu", fcc(3.6, "Cu")), tmp_path, width=0.03, points=11)
    a0 = found.value("a0").value
    volumes = a0**3 * np.array([0.999, 1.0, 1.001])
    low, at, high = -COPPER.predict([fcc(v ** (1 / 3), "Cu") for v in volumes]).mean.stress[:, :3].mean(axis=1)
    assert abs(at) * EV_PER_A3_IN_GPA < 0.05
    slope = -volumes[1] * (high - low) / (volumes[2] - volumes[0]) * EV_PER_A3_IN_GPA
    assert found.value("bulk modulus").value == pytest.approx(slope, rel=0.02)
    assert found.moments is Moments.NOT_READ
    assert found.space_group == 225


def test_the_moments_of_the_structure_are_no_answer_of_one_that_reads_none(tmp_path):
    found = measured(Subject(COPPER, "fcc-Cu", fcc(3.6, "Cu").replace(magmoms=[0.5] * 4)), tmp_path, points=5)
    assert all(v.name != "moment" for v in found.values)
    assert "mean |m| (muB)" not in found.curves["energy"]


def test_moments_are_at_rest_at_every_volume(tmp_path):
    subject = Subject(alone(ModelPotential()), "bcc-Fe", bcc(2.84, moment=2.0))
    prop = EquationOfState(points=5)
    frames = prop.frames(subject)
    points = subject.ensemble.predict(frames).mean
    assert np.abs(points.magnetic_forces).max() < 1e-3
    moments = measured(subject, tmp_path, points=5).curves["energy"]["mean |m| (muB)"]
    assert np.all(np.diff(moments) > 0.0)


def test_fixed_moments_stay(tmp_path):
    subject = Subject(alone(ModelPotential()), "bcc-Fe", bcc(2.84, moment=2.0), Moments.FIXED)
    assert np.allclose(measured(subject, tmp_path).curves["energy"]["mean |m| (muB)"], 2.0)
    free = Subject(subject.ensemble, "bcc-Fe", subject.frame)
    assert measured(free, tmp_path).value("energy").value < measured(subject, tmp_path).value("energy").value


def test_no_minimum_is_a_result(tmp_path):
    class Rising(EMT):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            volume = self.atoms.get_volume()
            self.results["energy"] = self.results["free_energy"] = volume
            self.results["stress"] = np.zeros(6)

    found = measured(Subject(alone(AsePotential(Rising, ["Cu"], 6.0)), "fcc-Cu", fcc(3.6, "Cu")), tmp_path)
    assert "no minimum" in found.failure
    assert found.values == ()
