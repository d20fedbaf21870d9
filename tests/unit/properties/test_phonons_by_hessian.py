"""Phonons from second derivatives, on a crystal whose energy is of second order: displacements are exact there."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from exact_potentials import HarmonicCrystal, ModelPotential, QuadraticMagnet, alone, bcc
from magflow.core.frame import Frame
from magflow.core.hessian import hessian, hessian_by_differences
from magflow.errors import InputError
from magflow.explore.geometry import repeated
from magflow.explore.relaxation.moments import relax_moments_many
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.properties.base import Work
from magflow.properties.measurement import Moments
from magflow.properties.modes import Mode
from magflow.properties.moment_response import COUPLING, DISTANCE, STIFFNESS
from magflow.properties.phonons import ForceConstants, Phonons
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


@pytest.mark.parametrize(
    ("moments", "modes"),
    [
        (Moments.RELAXED, {"displacements": Mode.RELAXED, "hessian": Mode.ADIABATIC}),
        (Moments.RELAXED_ONCE, dict.fromkeys(ForceConstants, Mode.CLAMPED)),
    ],
)
def test_phonons_equal_those_of_displacements(moments, modes, tmp_path):
    of = subject("FM", moments)
    by = {k: Phonons(force_constants=k, **SETTINGS).measure(of, Work(tmp_path)) for k in ForceConstants}
    expected, found = by[ForceConstants.DISPLACEMENTS], by[ForceConstants.HESSIAN]
    for value in expected.values:
        assert found.value(value.name, value.temperature, value.at).value == pytest.approx(
            value.value, rel=2e-4, abs=1e-3
        )
    for kind, mode in modes.items():
        assert mode.told in by[kind].remarks
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


class OnlyFirst:
    """A potential that keeps its second derivatives to itself."""

    def __init__(self, of) -> None:
        self.of, self.family, self.magnetic, self.cutoff = of, of.family, True, of.cutoff
        self.species, self.max_moment = of.species, of.max_moment

    def predict(self, frames):
        return self.of.predict(frames)

    def to_bytes(self) -> bytes:
        return self.of.to_bytes()


def test_a_mode_is_named_and_needs_no_analytic_hessian(tmp_path):
    analytic = subject("AFM")
    plain = replace(analytic, ensemble=alone(OnlyFirst(QuadraticMagnet(crystal("AFM")))))
    found, expected, clamped = (
        Phonons(mode=mode, **SETTINGS).measure(of, Work(tmp_path))
        for of, mode in ((plain, "adiabatic"), (analytic, "adiabatic"), (analytic, "clamped"))
    )
    assert Mode.ADIABATIC.told in found.remarks and Mode.ADIABATIC.told in expected.remarks
    assert any("by central differences, 0.01 A or muB" in remark for remark in found.remarks)
    for value in expected.values:
        same = found.value(value.name, value.temperature, at=value.at)
        assert same.value == pytest.approx(value.value, rel=1e-6, abs=1e-6)
    assert set(found.curves) == set(expected.curves) and any(name.startswith("moments") for name in found.curves)
    assert Mode.CLAMPED.told in clamped.remarks
    entropy = [one.value("vibrational entropy", 300.0).value for one in (clamped, expected)]
    assert entropy[1] > entropy[0] + 0.01


def test_differences_equal_relaxed_displacements_of_a_model_that_is_not_quadratic():
    """To 1e-6: moments at rest to 1e-10, displacements extrapolated as the derivatives are."""
    of = Subject(alone(ModelPotential()), "bcc-Fe", bcc(2.84, moment=2.2))
    (rest,) = (r.frame for r in relax_moments_many([of.frame], of.ensemble, of.bounds, tolerance=1e-10))
    found, change = hessian_by_differences(of.ensemble.members[0].predict, rest)
    assert 0.0 < change < 0.01

    def slope(h: float) -> np.ndarray:
        moved = np.zeros((2, 3))
        moved[0, 0] = h
        sides = [rest.replace(positions=rest.positions + s * moved) for s in (1.0, -1.0)]
        relaxed = relax_moments_many(sides, of.ensemble, of.bounds, tolerance=1e-10)
        assert all(r.converged for r in relaxed)
        forces = of.ensemble.predict([r.frame for r in relaxed]).mean.forces.reshape(2, 6)
        return (forces[1] - forces[0]) / (2 * h)

    expected = (4.0 * slope(0.01) - slope(0.02)) / 3.0
    largest = np.abs(expected).max()
    np.testing.assert_allclose(found.adiabatic()[0], expected, atol=1e-6 * largest)


def test_moments_that_no_atom_may_change_follow_nothing():
    found = hessian(subject("FM").ensemble, crystal("FM"))
    none = np.zeros(16, dtype=bool)
    np.testing.assert_array_equal(found.adiabatic(none), found.positions)
    some = np.arange(16) < 8
    e_mm, e_rm = found.stiffness[:8, :8], found.coupling[:, :8]
    expected = found.positions - e_rm @ np.linalg.solve(e_mm, e_rm.T)
    np.testing.assert_allclose(found.adiabatic(some), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "moments", "said"),
    [
        ({"mode": "adiabatic"}, Moments.FIXED, "cannot follow the atoms"),
        ({"mode": "relaxed"}, Moments.RELAXED_ONCE, "at rest in every configuration"),
        ({"mode": "relaxed", "force_constants": "hessian"}, Moments.RELAXED, "takes displacements"),
    ],
)
def test_modes_that_cannot_be_had_are_refused(settings, moments, said, tmp_path):
    with pytest.raises(InputError, match=said):
        Phonons(**SETTINGS, **settings).measure(subject("FM", moments), Work(tmp_path))


def test_families_without_moments_have_no_adiabatic_mode(tmp_path):
    frame = crystal("FM").non_magnetic()
    of = Subject(alone(HarmonicCrystal(frame)), "bcc-Fe", frame)
    with pytest.raises(InputError, match="read no moments"):
        Phonons(mode="adiabatic", **SETTINGS).measure(of, Work(tmp_path))


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
