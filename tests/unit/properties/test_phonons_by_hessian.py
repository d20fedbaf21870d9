"""Phonons from second derivatives, on a crystal whose energy is of second order: displacements are exact there."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from exact_potentials import ModelPotential, QuadraticMagnet, alone, bcc
from magflow.core.frame import Frame
from magflow.core.hessian import hessian
from magflow.errors import InputError
from magflow.explore.geometry import repeated
from magflow.explore.relaxation.moments import relax_moments_many
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.properties.base import Work
from magflow.properties.measurement import Moments
from magflow.properties.moment_response import COUPLING, DISTANCE, STIFFNESS
from magflow.properties.phonons import ADIABATIC, CLAMPED, ForceConstants, Phonons
from magflow.properties.subject import Subject

STATES = {"FM": (2.2, 2.2), "AFM": (2.2, -2.2)}
SETTINGS = {"supercell": (1, 1, 1), "mesh": 20.0}


@cache
def crystal(state: str) -> Frame:
    frame = bcc(2.84, moment=2.2)
    return repeated(frame.replace(magmoms=np.array(STATES[state])), (2, 2, 2))


def subject(state: str, moments: Moments = Moments.RELAXED, **model: float) -> Subject:
    frame = crystal(state)
    return Subject(alone(QuadraticMagnet(frame, **model)), f"{state}-bcc", frame, moments)


@pytest.mark.parametrize("state", STATES)
def test_algebra_equals_displacements_with_moments_at_rest(state):
    of, h = subject(state), 0.01
    found = hessian(of.ensemble, of.frame)
    displaced = []
    for axis in range(3):
        shift = np.zeros((16, 3))
        shift[0, axis] = h
        displaced += [of.frame.replace(positions=of.frame.positions + s * shift) for s in (1.0, -1.0)]
    relaxed = relax_moments_many(displaced, of.ensemble, of.bounds, tolerance=1e-9)
    assert all(r.converged for r in relaxed)
    forces = of.ensemble.predict([r.frame for r in relaxed]).mean.forces.reshape(3, 2, 48)
    expected = (forces[:, 1] - forces[:, 0]) / (2 * h)
    largest = np.abs(expected).max()
    np.testing.assert_allclose(found.adiabatic()[:3], expected, atol=1e-6 * largest)
    assert np.abs(found.positions[:3] - expected).max() > 0.01 * largest


@pytest.mark.parametrize(("moments", "name"), [(Moments.RELAXED, ADIABATIC), (Moments.RELAXED_ONCE, CLAMPED)])
def test_phonons_equal_those_of_displacements(moments, name, tmp_path):
    of = subject("FM", moments)
    by = {k: Phonons(force_constants=k, **SETTINGS).measure(of, Work(tmp_path)) for k in ForceConstants}
    expected, found = by[ForceConstants.DISPLACEMENTS], by[ForceConstants.HESSIAN]
    for value in expected.values:
        assert found.value(value.name, value.temperature).value == pytest.approx(value.value, rel=2e-4, abs=1e-3)
    assert name in found.remarks
    assert found.settings["force_constants"] == "hessian"


def test_stiffness_and_coupling_are_those_of_the_model(tmp_path):
    for state, direction in (("FM", ""), ("AFM", ", antiparallel")):
        found = Phonons(force_constants="hessian", **SETTINGS).measure(subject(state), Work(tmp_path))
        local = found.value("local spin stiffness", at="Fe")
        assert (local.value, local.unit) == (pytest.approx(0.9), "eV/muB^2")
        assert found.value("least spin stiffness").value == pytest.approx(0.9 - 8 * 0.05)
        nearest = {head: column[0] for head, column in found.curves[f"moments Fe-Fe{direction}"].items()}
        assert nearest[DISTANCE] == pytest.approx(2.84 * np.sqrt(0.75))
        assert nearest[STIFFNESS] == pytest.approx(-0.05)
        assert nearest[COUPLING] == pytest.approx(-0.3)


def test_members_tell_the_spread(tmp_path):
    frame = crystal("FM")
    members = tuple(QuadraticMagnet(frame, spring=k) for k in (2.9, 3.1))
    of = Subject(PotentialEnsemble(members, "quadratic-magnet"), "bcc", frame)
    found = Phonons(force_constants="hessian", **SETTINGS).measure(of, Work(tmp_path))
    assert found.value("highest frequency").spread > 0.01


def test_moments_at_no_minimum_are_told(tmp_path):
    of = subject("FM", exchange=-0.12)  # least stiffness 0.9 - 8 * 0.12
    found = Phonons(force_constants="hessian", **SETTINGS).measure(of, Work(tmp_path))
    assert "moments cannot follow" in found.failure
    assert "-0.06" in found.failure
    clamped = replace(of, moments=Moments.FIXED)
    assert not Phonons(force_constants="hessian", **SETTINGS).measure(clamped, Work(tmp_path)).failure


def test_moments_at_their_bound_are_told(tmp_path):
    of = replace(subject("FM"), max_moment={"Fe": 2.0})
    found = Phonons(force_constants="hessian", **SETTINGS).measure(of, Work(tmp_path))
    assert "bound of its range" in found.failure


def test_a_family_without_second_derivatives_is_refused(tmp_path):
    of = Subject(alone(ModelPotential()), "bcc-Fe", bcc(2.84, moment=2.2))
    with pytest.raises(InputError, match="no second derivatives"):
        Phonons(force_constants="hessian").measure(of, Work(tmp_path))


def test_labels_are_made_of_displacements():
    of = subject("FM")
    assert len(Phonons(force_constants="hessian", **SETTINGS).frames(of)) == 1
    assert len(Phonons(force_constants="hessian", **SETTINGS).for_labels(of)) == 2
