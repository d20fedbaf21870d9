"""A non-magnetic MTP written as an mMTP, and fits that start from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mmtp_models import RANGES, random_frame, random_potential
from mmtp_toy import TOY, toy_labels
from numpy.polynomial import chebyshev
from scipy.sparse import csr_array

from magflow.core.label import LabeledFrame, LabelKind, ignoring_moments
from magflow.errors import InputError
from magflow.potentials.mmtp import MmtpFamily
from magflow.potentials.mmtp.model import Form
from magflow.potentials.mmtp.objective import Prior
from magflow.potentials.mmtp.promote import Hold, PromotionSettings, hold, moment_free, promote

FORMS = [(Form.EVEN, 3), (Form.EVEN, 5), (Form.PAPER, 2), (Form.PAPER, 4)]
QUICK = {"level": 6, "cutoff": 4.5, "n_radial": 5, "max_iterations": 8}


@pytest.fixture
def plain():
    return random_potential(n_psi=1, seed=3)


@pytest.mark.parametrize(("form", "n_psi"), FORMS)
def test_promotion_keeps_energy_forces_and_stress_at_any_moments(plain, form, n_psi):
    magnetic = promote(plain, form, n_psi, RANGES)
    frames = [random_frame(seed) for seed in range(6)]
    # beyond the fitted range of moments too, where psi follows its tangent
    frames += [f.replace(magmoms=4.0 * f.magmoms) for f in frames]
    before, after = plain.predict([f.non_magnetic() for f in frames]), magnetic.predict(frames)
    assert magnetic.magnetic and not plain.magnetic
    for name in ("energy", "forces", "stress"):
        scale = np.abs(getattr(before, name)).max()
        assert np.abs(getattr(after, name) - getattr(before, name)).max() < 1e-13 * max(scale, 1.0), name
    assert not after.magnetic_forces.any()


@pytest.mark.parametrize(("form", "n_psi"), FORMS)
def test_derivatives_of_a_promoted_potential_that_was_moved(plain, form, n_psi):
    magnetic = promote(plain, form, n_psi, RANGES)
    rng = np.random.default_rng(0)
    magnetic.model.parameters[:] += 1e-3 * rng.normal(size=len(magnetic.model.parameters))
    frame = random_frame(1)
    p = magnetic.predict([frame])
    for name, exact in (("positions", p.forces), ("magmoms", p.magnetic_forces)):
        direction = rng.normal(size=(len(frame), 3)) * (1.0 if name == "positions" else np.array([0.0, 0.0, 1.0]))
        h = 1e-5
        ends = [frame.replace(**{name: getattr(frame, name) + s * h * direction}) for s in (1, -1)]
        slope = -np.diff(magnetic.predict(ends).energy)[0] / (2 * h)
        assert slope == pytest.approx(-(exact * direction).sum(), rel=1e-6, abs=1e-6), name


def test_what_cannot_be_promoted_is_refused(plain):
    with pytest.raises(InputError, match="already"):
        promote(random_potential(), Form.EVEN, 3, RANGES)
    with pytest.raises(InputError, match="would not read"):
        promote(plain, Form.EVEN, 1, RANGES)
    with pytest.raises(InputError, match="no range"):
        promote(plain, Form.EVEN, 3, {"Fe": 2.0})
    with pytest.raises(InputError, match="not usable"):
        promote(plain, Form.EVEN, 3, [1.0, 0.0])


def test_the_prior_is_centred_on_what_was_taken_over(plain):
    model = promote(plain, Form.EVEN, 3, RANGES).model
    n = len(model.parameters) + len(model.pulay)
    fresh = Prior(np.full(n, 2.0), np.zeros(n))
    linear = slice(model.n_radial, model.n_radial + model.basis.n_scalar)
    held = hold(fresh, model, PromotionSettings(linear=Hold.FREE, strength=7.0))
    own = np.flatnonzero(moment_free(model))
    assert len(own) == plain.model.n_radial
    assert np.array_equal(held.centre[own], plain.model.parameters[: plain.model.n_radial])
    assert (held.precision[own] == 14.0).all()
    magnetic = np.flatnonzero(~moment_free(model))
    assert not held.centre[magnetic].any() and (held.precision[magnetic] == 2.0).all()
    assert not held.centre[linear].any() and (held.precision[linear] == 2.0).all()
    assert np.array_equal(held.centre[linear.stop : -2], model.parameters[linear.stop :])
    frozen = hold(fresh, model, PromotionSettings(radial=Hold.FROZEN))
    assert (frozen.precision[own] > 1e10).all() and not (fresh.centre.any() or (fresh.precision != 2.0).any())


@pytest.mark.parametrize("form", list(Form))
def test_a_magnetic_fit_starts_from_a_non_magnetic_potential(form):
    family = MmtpFamily(form=form, **QUICK)
    plain, _ = family.fit(toy_labels(30, 1, magnetic=False), elements=("Al", "Fe"), seed=1)
    assert not plain.magnetic
    few = toy_labels(6, 2)
    tuned, report = family.fit(few, elements=("Al", "Fe"), seed=1, start=plain)
    assert tuned.magnetic and tuned.model.form is form and tuned.active is not None
    assert report.iterations > 0
    test = toy_labels(30, 3)
    scratch, _ = family.fit(few, elements=("Al", "Fe"), seed=1)

    def error(potential):
        predicted = potential.predict([i.configuration for i in test]).forces
        return np.sqrt(((predicted - np.concatenate([i.label.forces for i in test])) ** 2).mean())

    assert error(tuned) < 0.7 * error(scratch)


def test_frozen_coefficients_stay_and_held_ones_stay_near():
    family = MmtpFamily(**QUICK)
    plain, _ = family.fit(toy_labels(20, 1, magnetic=False), elements=("Al", "Fe"), seed=1)
    moved = {}
    settings = {
        "frozen": PromotionSettings(radial=Hold.FROZEN, linear=Hold.FROZEN),
        "tight": PromotionSettings(strength=1e4),
        "held": PromotionSettings(),
    }
    for name, promotion in settings.items():
        changed = family.model_copy(update={"promotion": promotion})
        model = changed.fit(toy_labels(12, 2), elements=("Al", "Fe"), seed=1, start=plain)[0].model
        at_zero = chebyshev.chebvander(np.zeros(1), model.n_psi - 1)[0][model.pairs].prod(axis=1)
        kept = model.parameters[: model.n_radial].reshape(-1, len(model.pairs)) @ at_zero
        size = np.abs(plain.model.parameters[: plain.model.n_radial]).max()
        moved[name] = np.abs(kept - plain.model.parameters[: plain.model.n_radial]).max() / size
    assert moved["frozen"] < 1e-6 < moved["tight"] < moved["held"]


@pytest.mark.parametrize("form", list(Form))
def test_the_surface_at_zero_moments_stays_where_it_is_frozen(form):
    """But for the energies of free atoms: so it would not if the coefficients of the pair (0, 0) were held."""
    frozen = PromotionSettings(radial=Hold.FROZEN, linear=Hold.FROZEN)
    family = MmtpFamily(form=form, n_psi=4, promotion=frozen, **QUICK)
    plain, _ = family.fit(toy_labels(20, 1, magnetic=False), elements=("Al", "Fe"), seed=1)
    tuned, _ = family.fit(toy_labels(12, 2), elements=("Al", "Fe"), seed=1, start=plain)
    frames = [item.frame for item in toy_labels(6, 3)]
    zero = [frame.replace(magmoms=np.zeros((2, 3))) for frame in frames]
    before, after, there = plain.predict(frames), tuned.predict(zero), tuned.predict(frames)
    atoms = tuned.model.parameters[-2:] - plain.model.parameters[-2:]
    moved = [sum(atoms[("Al", "Fe").index(s)] for s in frame.species) for frame in frames]
    assert np.abs(after.energy - before.energy - moved).max() < 3e-5
    assert np.abs(after.forces - before.forces).max() < 1e-4 and np.abs(after.stress - before.stress).max() < 1e-5
    assert np.abs(there.forces - before.forces).max() > 0.1, "the magnetic part has learnt"


def test_the_penalty_of_a_prior_in_another_basis_and_its_derivatives():
    basis = np.array([[1.0, -1.0, 0.5], [0.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    prior = Prior(np.array([3.0, 2.0, 1.0]), np.array([0.1, 0.2, 0.3]), csr_array(basis))
    p, h = np.array([0.7, -0.4, 1.1]), 1e-6
    off = basis @ p - prior.centre
    assert prior.penalty(p) == pytest.approx((prior.precision * off**2).sum())
    slopes = [(prior.penalty(p + h * e) - prior.penalty(p - h * e)) / (2 * h) for e in np.eye(3)]
    assert prior.gradient(p) == pytest.approx(slopes, rel=1e-7)
    bends = [(prior.gradient(p + e) - prior.gradient(p - e)) / 4 for e in np.eye(3)]
    assert prior.matrix == pytest.approx(np.array(bends), rel=1e-12)


def with_free_moments(n: int, seed: int) -> list[LabeledFrame]:
    """Labels whose moments nobody held, of the atoms alone; the energy is that of the moments they have."""
    level = replace(TOY, kind=LabelKind.SPIN_POLARISED)
    items = [replace(i, label=replace(i.label, level_of_theory=level)) for i in toy_labels(n, seed)]
    return [ignoring_moments(item) for item in items]


def test_a_fit_without_moments_keeps_what_other_labels_taught_its_start():
    """Held coefficients stay near those of the start, not near zero; frozen ones stay."""
    family = MmtpFamily(**QUICK, n_psi=1)
    assert not family.magnetic
    plain, _ = family.fit(toy_labels(20, 1, magnetic=False), elements=("Al", "Fe"), seed=1)
    assert plain.model.learnt == (TOY.fingerprint,)
    before = plain.model.parameters[: plain.model.n_radial]
    few, moved = with_free_moments(4, 2), {}
    settings = {
        "frozen": PromotionSettings(radial=Hold.FROZEN, linear=Hold.FROZEN),
        "tight": PromotionSettings(strength=1e4),
        "held": PromotionSettings(),
        "free": PromotionSettings(radial=Hold.FREE, linear=Hold.FREE),
    }
    for name, promotion in settings.items():
        changed = family.model_copy(update={"promotion": promotion})
        model = changed.fit(few, elements=("Al", "Fe"), seed=1, start=plain)[0].model
        moved[name] = np.linalg.norm(model.parameters[: model.n_radial] - before) / np.linalg.norm(before)
        assert model.learnt == (few[0].label.level_of_theory.fingerprint,)
    assert moved["frozen"] < 1e-6 < moved["tight"] < moved["held"] < moved["free"]


def test_a_fit_to_the_labels_of_its_start_is_not_held_there():
    """Neither is one from a model of an older file, which does not say what it learnt from."""
    family = MmtpFamily(**QUICK, n_psi=1)
    labels = toy_labels(20, 1, magnetic=False)
    plain, _ = family.fit(labels[:10], elements=("Al", "Fe"), seed=1)
    tight = family.model_copy(update={"promotion": PromotionSettings(strength=1e6)})
    old = replace(plain, model=replace(plain.model, learnt=()))
    here, there = with_free_moments(4, 2), labels
    for start, items in ((plain, there), (old, here)):
        mine, free = (f.fit(items, elements=("Al", "Fe"), seed=1, start=start)[0].model for f in (tight, family))
        assert np.array_equal(mine.parameters, free.parameters)


def test_a_start_of_other_elements_or_another_level_is_refused():
    family = MmtpFamily(**QUICK)
    plain, _ = family.fit(toy_labels(10, 1, magnetic=False), elements=("Al", "Fe"), seed=1)
    with pytest.raises(InputError, match="differs in species"):
        family.fit(toy_labels(6, 2), elements=("Al", "Cr", "Fe"), seed=1, start=plain)
    with pytest.raises(InputError, match="differs in level"):
        MmtpFamily(**{**QUICK, "level": 8}).fit(toy_labels(6, 2), elements=("Al", "Fe"), seed=1, start=plain)
