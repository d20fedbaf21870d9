"""The Gaussian process on an mMTP's descriptors: its algebra against the kernel, its variances against draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import psutil
import pytest
from mmtp_toy import label, random_frames
from scipy.linalg import solve_triangular

from magflow.core.dynamics import Integration, Motion
from magflow.core.label import LabeledFrame
from magflow.core.uncertainty import Uncertainty
from magflow.errors import InputError
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.evidence import FLAT, Moments, _cost, most_evident
from magflow.potentials.mmtp import MmtpFamily
from magflow.potentials.mmtp.potential import MmtpPotential
from magflow.potentials.sgp import SgpFamily, SgpPotential
from magflow.potentials.sgp.features import with_products, without_products
from magflow.potentials.sgp.fit import memory_needed

ELEMENTS = ("Al", "Fe")
FAMILY = SgpFamily(mmtp={"level": 6, "cutoff": 4.5, "n_radial": 5, "max_iterations": 8, "starts": 1})


def labels(n: int, seed: int) -> list[LabeledFrame]:
    return [label(frame) for frame in random_frames(n, seed)]


@pytest.fixture(scope="module")
def known() -> list[LabeledFrame]:
    return labels(30, seed=0)


@pytest.fixture(scope="module")
def fitted(known):
    return FAMILY.fit(known, elements=ELEMENTS, seed=1)


def energies_alone(item: LabeledFrame) -> LabeledFrame:
    return LabeledFrame(item.frame, replace(item.label, forces=None, stress=None, magnetic_forces=None))


def test_products_of_basis_functions_change_nothing_until_they_have_coefficients(fitted, known):
    base = fitted[0].start
    longer = with_products(base.model)
    frames = [item.configuration for item in known[:5]]
    one, two = base.predict(frames), MmtpPotential(longer).predict(frames)
    np.testing.assert_allclose(two.energy, one.energy, rtol=1e-13)
    np.testing.assert_allclose(two.forces, one.forces, atol=1e-12)
    geometry, n = base.geometry(frames), base.model.basis.n_scalar
    values = base.basis_values(geometry)
    first, second = np.triu_indices(n)
    found = MmtpPotential(longer).basis_values(geometry)
    np.testing.assert_allclose(found, np.hstack([values, values[:, first] * values[:, second]]), rtol=1e-10, atol=1e-14)
    back = without_products(longer, base.model.parameters)
    assert back.basis.n_scalar == n
    assert np.array_equal(MmtpPotential(back).predict(frames).energy, one.energy)


def test_mean_and_variance_are_those_of_the_kernel(known):
    """The textbook formulas with k(i, j) = s^2 (c^2 + d_i . d_j)^2 summed over atoms, and a flat prior per species."""
    family = FAMILY.model_copy(update={"constant": 1.5})
    potential, report = family.fit([energies_alone(i) for i in known], elements=ELEMENTS, seed=1)
    scaling, base = potential.process.scaling, potential.start
    frames = [i.configuration for i in (*known, *labels(6, seed=9))]
    geometry = base.geometry(frames)
    d = (base.basis_values(geometry) - scaling.centre) * scaling.weight
    of_frame = (geometry.frame == np.arange(len(frames))[:, None]).astype(float)
    counts = of_frame @ (geometry.type[:, None] == np.arange(len(ELEMENTS)))
    signal, noise = report.details["signal_ev"], report.details["noise"]["energy_ev_per_atom"]
    # The constant of the kernel lies in the span of the flat prior; so does a constant per species.
    kernel = signal**2 * (2.0 * 1.5**2 * d @ d.T + (d @ d.T) ** 2)
    prior = of_frame @ kernel @ of_frame.T + counts @ counts.T / FLAT
    n, size = len(known), geometry.counts
    energies = np.array([i.label.energy for i in known])
    reference = np.linalg.lstsq(counts[:n], energies, rcond=None)[0]
    gain = np.linalg.solve(prior[:n, :n] + np.diag((noise * size[:n]) ** 2), prior[:n, n:]).T
    mean = counts[n:] @ reference + gain @ (energies - counts[:n] @ reference)
    variance = np.diag(prior[n:, n:] - gain @ prior[:n, n:])
    np.testing.assert_allclose(potential.predict(frames[n:]).energy, mean, atol=1e-5)
    np.testing.assert_allclose(potential.deviations(frames[n:]).energy, np.sqrt(variance), rtol=1e-3)


def test_deviations_are_the_scatter_of_draws(fitted):
    potential = fitted[0]
    frames = [item.configuration for item in labels(3, seed=5)]
    model, process = potential.model, potential.process
    rng, types, draws = np.random.default_rng(0), len(ELEMENTS), []
    for _ in range(400):
        off = solve_triangular(process.root, rng.normal(size=len(process.root)), lower=True, trans="T")
        raw = process.scaling.matrix @ off[types:-types]
        change = np.concatenate([np.zeros(model.n_radial), raw[1:], off[:types] + raw[0]])
        draws.append(MmtpPotential(replace(model, parameters=model.parameters + change)).predict(frames))
    told = potential.deviations(frames)
    for name in ("energy", "forces", "stress", "magnetic_forces"):
        scatter = np.std([getattr(draw, name) for draw in draws], axis=0)
        np.testing.assert_allclose(getattr(told, name), scatter, rtol=0.2, atol=1e-9, err_msg=name)


def test_an_ensemble_of_one_has_its_deviation_also_in_dynamics(fitted, known):
    potential, frame = fitted[0], known[0].configuration
    one = PotentialEnsemble((potential,), "sgp", uncertainty=Uncertainty.LAPLACE)
    exact = potential.deviations([frame])
    assert np.array_equal(one.predict([frame]).deviation.forces, exact.forces)
    seen = one.dynamics([Motion(frame, np.zeros((2, 3)), Integration(0.1))]).observe(0)
    assert seen.forces_deviation == pytest.approx(np.linalg.norm(exact.forces, axis=1).max(), rel=0.6)
    assert seen.energy == pytest.approx(potential.predict([frame]).energy[0], abs=1e-6)


def test_what_labels_say_lowers_the_variance_and_strange_frames_have_more(fitted, known):
    potential, frames = fitted[0], [item.configuration for item in labels(10, seed=7)]
    more, _ = FAMILY.fit([*known, *labels(60, seed=3)], elements=ELEMENTS, seed=1, start=potential)
    for name in ("energy", "forces"):
        before, after = (np.square(getattr(p.deviations(frames), name)).mean() for p in (potential, more))
        assert after < before
    strange = [f.replace(cell=0.85 * f.cell, positions=0.85 * f.positions) for f in frames]
    assert (potential.grades(strange) > 1.5 * potential.grades(frames)).all()


def test_evidence_is_the_likelihood_of_the_labels():
    rng = np.random.default_rng(0)
    features, flat = rng.normal(size=(12, 5)), np.array([True, False, False, False, False])
    values, kinds = rng.normal(size=12), np.repeat([0, 1, 3], 4)
    moments = Moments.none(5)
    for q in (0, 1, 3):
        moments.add(q, features[kinds == q], values[kinds == q])

    def likelihood(x: np.ndarray) -> float:
        noise = np.exp(2.0 * x[1:])[np.searchsorted([0, 1, 3], kinds)]
        prior = np.where(flat, 1.0 / FLAT, np.exp(2.0 * x[0]))
        covariance = features * prior @ features.T + np.diag(noise)
        return -0.5 * (values @ np.linalg.solve(covariance, values) + np.linalg.slogdet(covariance)[1])

    held, a, b = np.array([0, 1, 3]), np.array([0.3, -0.5, 0.2, 0.1]), np.array([-0.2, 0.4, -0.6, 0.5])
    costs = [_cost(moments, flat, held, x)[0] for x in (a, b)]
    assert costs[0] - costs[1] == pytest.approx(likelihood(b) - likelihood(a), rel=1e-6)
    step = 1e-5 * np.eye(4)
    slope = [(_cost(moments, flat, held, a + s)[0] - _cost(moments, flat, held, a - s)[0]) / 2e-5 for s in step]
    np.testing.assert_allclose(_cost(moments, flat, held, a)[1], slope, rtol=1e-6)


def test_noise_and_signal_are_found():
    rng = np.random.default_rng(1)
    features, truth = rng.normal(size=(2000, 20)), 0.7 * rng.normal(size=20)
    moments = Moments.none(20)
    moments.add(0, features[:1000], features[:1000] @ truth + 0.05 * rng.normal(size=1000))
    moments.add(1, features[1000:], features[1000:] @ truth + 0.3 * rng.normal(size=1000))
    found = most_evident(moments, np.zeros(20, dtype=bool))
    np.testing.assert_allclose(found.noise[:2], [0.05, 0.3], rtol=0.05)
    assert np.isnan(found.noise[2:]).all()
    assert found.signal == pytest.approx(np.sqrt((truth**2).mean()), rel=0.05)


def test_what_is_not_finite_is_an_error():
    moments = Moments.none(3)
    moments.add(0, np.full((4, 3), np.nan), np.ones(4))
    with pytest.raises(InputError, match="not finite at its largest evidence"):
        most_evident(moments, np.zeros(3, dtype=bool))


def test_too_little_memory_is_told_before_anything_is_fitted(known, monkeypatch):
    family = SgpFamily(mmtp={"level": 10})
    needed = memory_needed(family, 2, 15 * len(known))
    assert 8 * 156**2 < needed < memory_needed(family, 2, 10**6) < 2**30
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Free", (), {"available": needed - 1})())
    with pytest.raises(InputError, match=r"would not fit into the memory.*GiB for level 10, 2 species and 450 numbers"):
        family.fit(known, elements=ELEMENTS, seed=1)


def test_files_are_small_and_those_of_another_family_are_refused(fitted):
    data = fitted[0].to_bytes()
    assert len(data) < 50_000
    loaded = SgpFamily().load(data)
    frames = [item.configuration for item in labels(4, seed=2)]
    assert np.array_equal(loaded.deviations(frames).forces, fitted[0].deviations(frames).forces)
    with pytest.raises(InputError):
        MmtpFamily().load(data)
    with pytest.raises(InputError):
        SgpFamily().load(fitted[0].start.to_bytes())


def test_it_learns_without_moments_and_goes_on_from_its_own(known):
    bare = [label(frame) for frame in random_frames(20, 0, magnetic=False)]
    potential, _ = FAMILY.fit(bare, elements=ELEMENTS, seed=1)
    assert not potential.magnetic
    assert potential.deviations([bare[0].frame]).magnetic_forces is None
    with pytest.raises(InputError, match="another family"):
        FAMILY.fit(known, elements=ELEMENTS, seed=1, start=potential.start)


def test_a_constant_of_labelled_stresses_is_found_and_no_part_of_the_energy(fitted, known):
    """As plane-wave stresses have one."""
    shift, shifted = 0.3, []
    for item in known:
        stress = item.label.stress.copy()
        stress[:3] += shift * len(item.frame) / item.frame.volume
        shifted.append(LabeledFrame(item.frame, replace(item.label, stress=stress)))
    potential, _ = FAMILY.fit(shifted, elements=ELEMENTS, seed=1)
    frame = known[0].configuration
    before, after = (p.label_stress_offset([frame])[0] * frame.volume / 2.0 for p in (fitted[0], potential))
    np.testing.assert_allclose(after - before, [shift] * 3 + [0.0] * 3, atol=1e-3)
    np.testing.assert_allclose(potential.predict([frame]).stress, fitted[0].predict([frame]).stress, atol=1e-4)


def test_a_process_is_no_ensemble_of_mmtp_but_shares_its_neighbour_lists(fitted):
    potential = fitted[0]
    assert isinstance(potential, SgpPotential) and potential.family == "sgp"
    assert potential.shares_geometry(potential.start)


def test_a_search_for_noises_does_not_end_where_it_began():
    """The first step of L-BFGS, as long as the gradient, leads to where the precision is not positive definite."""
    rng, none = np.random.default_rng(2), np.zeros(40, dtype=bool)
    features, truth = 0.1 * rng.normal(size=(6000, 20)) @ rng.normal(size=(20, 40)), 20.0 * rng.normal(size=40)
    moments = Moments.none(40)
    moments.add(0, features[:9], features[:9] @ truth)
    moments.add(1, features[9:], features[9:] @ truth + 0.1 * rng.normal(size=5991))
    found = most_evident(moments, none)
    assert found.noise[1] == pytest.approx(0.1, rel=0.05) and found.signal == pytest.approx(20.0, rel=0.3)
    slope = _cost(moments, none, np.array([0, 1]), np.log([found.signal, *found.noise[:2]]))[1]
    assert np.abs(slope).max() < 6.0
