"""Moment relaxation on the ensemble mean: right where the answer is known, honest where it fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from magflow.core.prediction import EnsemblePrediction
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.errors import InputError
from magflow.explore.health import HealthReason
from magflow.explore.relaxation.moments import relax_moments, relax_moments_many


@pytest.fixture
def exact(ensemble):
    """An ensemble that is the model Hamiltonian itself."""
    from magflow.dft.spin_lattice import SpinLatticeModel

    ensemble.members = (SpinLatticeModel(),)
    return ensemble


def test_agrees_with_the_spin_polarised_label(quick, exact, moments, tmp_path):
    engine = SpinLatticeEngine(kind="spin-polarised")
    for p in quick:
        relaxed = relax_moments(p.frame, exact, moments, tolerance=1e-5)
        label = engine.label(p.frame, engine.level_of_theory(["Fe", "Al"]), tmp_path)
        assert relaxed.converged
        assert relaxed.magnetic_force_max <= 1e-5
        assert relaxed.energy == pytest.approx(label.energy, abs=1e-8)
        assert relaxed.frame.magmoms == pytest.approx(label.magmoms, abs=1e-3)
        assert relaxed.health == ()


def test_only_moments_change(quick, ensemble, moments):
    relaxed = relax_moments(quick[0].frame, ensemble, moments).frame
    assert np.array_equal(relaxed.positions, quick[0].frame.positions)
    assert np.array_equal(relaxed.cell, quick[0].frame.cell)


def test_antiferromagnetic_order_is_kept(quick, ensemble, moments):
    m = relax_moments(quick[2].frame, ensemble, moments).frame.magmoms[:, 2]
    assert m[0] > 1.0
    assert m[1] == pytest.approx(-m[0], abs=1e-3)


def test_a_bound_is_kept_and_reported(quick, ensemble):
    relaxed = relax_moments(quick[1].frame, ensemble, {"Fe": (0.0, 1.0)})
    assert relaxed.frame.magmoms[:, 2] == pytest.approx([1.0, 1.0])
    assert relaxed.converged
    assert HealthReason.MOMENT_AT_BOUND in relaxed.health


def test_an_element_without_range_is_held_at_zero(quick, ensemble):
    relaxed = relax_moments(quick[0].frame, ensemble, {"Fe": (0.0, 2.8)})
    assert relaxed.frame.magmoms[1, 2] == 0.0
    assert HealthReason.MOMENT_AT_BOUND not in relaxed.health


def test_giving_up_is_not_called_converged(quick, ensemble, moments):
    relaxed = relax_moments(quick[0].frame, ensemble, moments, max_evaluations=2)
    assert not relaxed.converged
    assert relaxed.magnetic_force_max > 1e-3


class Spoiled:
    """An ensemble with one array of its mean replaced."""

    def __init__(self, ensemble, name, value):
        self.members, self.ensemble, self.name, self.value = ensemble.members, ensemble, name, value

    def predict(self, frames):
        p = self.ensemble.predict(frames)
        old = getattr(p.mean, self.name)
        new = None if self.value is None else np.full_like(old, self.value)
        return EnsemblePrediction(replace(p.mean, **{self.name: new}), p.deviation)


def test_not_finite_is_not_called_converged(quick, ensemble, moments):
    assert not relax_moments(quick[0].frame, Spoiled(ensemble, "energy", np.nan), moments).converged
    assert not relax_moments(quick[0].frame, Spoiled(ensemble, "magnetic_forces", np.nan), moments).converged


def test_what_cannot_be_relaxed_is_an_error(quick, ensemble, moments):
    frame = quick[0].frame
    with pytest.raises(InputError, match="knows no moments"):
        relax_moments(frame, Spoiled(ensemble, "magnetic_forces", None), moments)
    with pytest.raises(InputError, match="none to relax"):
        relax_moments(frame.non_magnetic(), ensemble, moments)
    with pytest.raises(InputError, match="non-collinear"):
        relax_moments(frame.replace(magmoms=[[1.0, 0, 0], [0, 0, 0]]), ensemble, moments)


def test_collapse_is_reported(build, b2_feal, ensemble, moments):
    frame = build(b2_feal())[0].frame
    squeezed = frame.replace(cell=frame.cell * 0.95, positions=frame.positions * 0.95)
    relaxed = relax_moments(squeezed, ensemble, moments)
    assert relaxed.converged
    assert HealthReason.MOMENT_COLLAPSE in relaxed.health


def test_many_frames_share_each_prediction_call(quick, exact, moments):
    calls = []

    class Watched:
        members = exact.members

        def predict(self, frames):
            calls.append(len(frames))
            return exact.predict(frames)

    frames = [p.frame for p in quick] * 2
    together = relax_moments_many(frames, Watched(), moments)
    assert len(calls) == max(r.evaluations for r in together)
    assert sum(calls) == sum(r.evaluations for r in together)
    assert calls == sorted(calls, reverse=True)  # those that are converged are not asked again
    for frame, r in zip(frames, together, strict=True):
        assert r.frame == relax_moments(frame, exact, moments).frame


def test_frames_near_equilibrium_take_few_predictions(quick, ensemble, moments):
    """As MD asks for it every few steps."""
    start = relax_moments(quick[1].frame, ensemble, moments).frame
    moved = start.replace(positions=start.positions + np.random.default_rng(0).normal(0, 0.02, (2, 3)))
    again = relax_moments(moved, ensemble, moments)
    assert again.converged
    assert again.evaluations <= 6
