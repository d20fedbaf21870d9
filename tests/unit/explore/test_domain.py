"""Sampling of the declared domain: even, stratified, reproducible, continuing, fast."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import kstest, norm

from magflow.core.frame import unique_frames
from magflow.core.moments import Ordering
from magflow.errors import InputError
from magflow.explore.domain import DomainSettings, draw, sample
from magflow.explore.geometry import nearest_distance

PLAIN = DomainSettings(spin_flip=0.0, disordered=0.0)


def displacements(candidates, prototype):
    """(n, N, 3) displacement from the ideal sites of the deformed cell, A."""
    fractional = np.linalg.solve(prototype.frame.cell.T, prototype.frame.positions.T).T
    return np.array([c.frame.positions - fractional @ c.frame.cell for c in candidates])


def moments_of(candidates):
    return np.array([c.frame.magmoms[:, 2] for c in candidates])


class TestCoordinates:
    def test_volume_is_uniform_in_its_range(self, build, b2_feal, moments):
        (p,) = build(b2_feal())
        found = sample([p], DomainSettings(strain=0.0), moments, 512, 1)
        v = np.array([c.frame.volume for c in found]) / p.frame.volume - 1
        assert kstest((v + 0.09) / 0.18, "uniform").statistic < 0.01
        assert -0.09 <= v.min() < -0.085 < 0.085 < v.max() <= 0.09

    def test_each_strain_component_is_uniform_and_no_rotation_is_added(self, build, b2_feal, moments):
        (p,) = build(b2_feal())
        found = sample([p], DomainSettings(volume=(0.0, 0.0)), moments, 512, 1)
        e = np.array([c.frame.cell / 2.884 - np.eye(3) for c in found])
        assert e == pytest.approx(e.transpose(0, 2, 1))
        for i, k in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
            assert kstest((e[:, i, k] + 0.03) / 0.06, "uniform").statistic < 0.01

    def test_displacements_are_gaussian_of_the_declared_rms(self, build, b2_feal, moments):
        (p,) = build(b2_feal())
        u = displacements(sample([p], PLAIN, moments, 1024, 1), p)
        assert np.sqrt((u**2).sum(axis=2).mean()) == pytest.approx(0.1, rel=0.02)
        assert kstest(u[:, 1, 2] / (0.1 / np.sqrt(3)), norm.cdf).statistic < 0.02
        independent = np.corrcoef(u.reshape(1024, 6).T) - np.eye(6)
        assert abs(independent).max() < 0.1

    def test_a_range_of_displacements_is_covered_evenly(self, build, b2_feal, moments):
        (p,) = build(b2_feal(supercell=[2, 2, 2]))
        ranged = PLAIN.model_copy(update={"displacement": (0.02, 0.18)})
        u = displacements(sample([p], ranged, moments, 512, 1), p)
        rms = np.sqrt((u**2).sum(axis=2).mean(axis=1))  # of 16 atoms: within a tenth of its frame's amplitude
        assert kstest((rms - 0.02) / 0.16, "uniform").statistic < 0.06
        assert (rms < 0.04).sum() > 40

    def test_a_prototype_has_displacements_of_its_own(self, build, b2_feal, moments):
        still, near, plain = (
            displacements(sample(build(b2_feal(**own)), PLAIN, moments, 64, 1), build(b2_feal())[0])
            for own in ({"displacement": 0.0}, {"displacement": [0.0, 0.02]}, {})
        )
        assert abs(still).max() < 1e-12, "the strained crystal itself"
        assert 0.0 < np.sqrt((near**2).sum(axis=2).mean()) < 0.02
        assert np.sqrt((plain**2).sum(axis=2).mean()) == pytest.approx(0.1, rel=0.15)

    def test_moments_are_uniform_in_their_ranges_and_induced_ones_take_either_sign(self, build, b2_feal, moments):
        (p,) = build(b2_feal())
        fe, al = moments_of(sample([p], PLAIN, moments, 512, 1)).T
        assert kstest(fe / 2.8, "uniform").statistic < 0.01
        assert kstest((al + 0.1) / 0.2, "uniform").statistic < 0.01

    def test_a_lower_end_above_zero_is_kept(self, build, bcc_fe):
        (p,) = build(bcc_fe(orderings=["AFM"]))
        m = moments_of(sample([p], PLAIN, {"Fe": (1.0, 2.0)}, 64, 1))
        assert (m[:, 0] >= 1.0).all()
        assert (m[:, 1] <= -1.0).all()

    def test_an_element_without_range_carries_no_moment(self, build, b2_feal):
        (p,) = build(b2_feal(), moments={"Fe": (0.0, 2.8)})
        assert not moments_of(sample([p], PLAIN, {"Fe": (0.0, 2.8)}, 16, 1))[:, 1].any()

    def test_pairs_of_coordinates_are_covered_evenly(self, build, bcc_fe, moments):
        (p,) = build(bcc_fe(orderings=["AFM"]))
        m = abs(moments_of(sample([p], PLAIN, moments, 1024, 1))) / 2.8
        cells = np.histogram2d(m[:, 0], m[:, 1], bins=8, range=[[0, 1], [0, 1]])[0]
        # 16 per cell; independent random numbers would leave a standard deviation of 4
        assert cells.std() < 2.5


class TestSigns:
    def test_orderings_are_kept_when_nothing_is_to_disturb_them(self, quick, moments):
        for c in sample(quick, PLAIN, moments, 300, 1):
            signs = np.sign(c.frame.magmoms[:, 2])
            if c.source.endswith("bcc-Fe:AFM"):
                assert signs[0] == -signs[1]
            if c.source.endswith("bcc-Fe:FM"):
                assert signs[0] == signs[1]

    def test_spin_flip_reverses_one_moment_in_that_fraction(self, build, bcc_fe, moments):
        (p,) = build(bcc_fe(supercell=(2, 1, 1)))
        m = moments_of(sample([p], DomainSettings(spin_flip=0.25, disordered=0.0), moments, 400, 1))
        reversed_ = (m < 0).sum(axis=1)
        assert set(reversed_) == {0, 1}
        assert (reversed_ == 1).mean() == pytest.approx(0.25, abs=0.02)
        assert {int(i) for i in np.argmin(m[reversed_ == 1], axis=1)} == {0, 1, 2, 3}

    def test_disordered_fraction(self, build, bcc_fe, moments):
        (p,) = build(bcc_fe(supercell=(2, 2, 1)))
        m = moments_of(sample([p], DomainSettings(spin_flip=0.0, disordered=0.5), moments, 400, 1))
        assert (m < 0).any(axis=1).mean() == pytest.approx(0.5, abs=0.04)

    def test_dlm_has_random_signs(self, build, bcc_fe, moments):
        (p,) = build(bcc_fe(orderings=["DLM"], supercell=(2, 1, 1)))
        signs = np.sign(moments_of(sample([p], PLAIN, moments, 512, 1)))
        assert abs(signs.mean(axis=0)).max() < 0.05
        assert len(np.unique(signs, axis=0)) == 16

    def test_non_magnetic_frames_get_no_moments(self, build, bcc_fe, moments):
        for c in sample(build(bcc_fe(orderings=["NM"])), DomainSettings(disordered=1.0), moments, 20, 1):
            assert c.frame.magmoms is None

    def test_both_signs_of_the_quick_campaign(self, quick, moments):
        orderings = Counter(c.frame.ordering for c in sample(quick, PLAIN, moments, 400, 1) if "bcc" in c.source)
        assert orderings[Ordering.FM] > 80
        assert orderings[Ordering.AFM] + orderings[Ordering.FIM] > 80


class TestSequence:
    def test_structures_share_the_samples_evenly_and_orderings_share_their_structure(self, quick, moments):
        for n in (12, 100, 1000):
            count = Counter(c.source for c in sample(quick, PLAIN, moments, n, 1))
            assert abs(count["perturbation:B2-FeAl:FM"] - n / 2) <= 2
            assert abs(count["perturbation:bcc-Fe:FM"] - n / 4) <= 2
            assert abs(count["perturbation:bcc-Fe:AFM"] - n / 4) <= 2

    def test_weights(self, build, b2_feal, bcc_fe, moments):
        count = Counter(c.source for c in sample(build(b2_feal(weight=3.0), bcc_fe()), PLAIN, moments, 400, 1))
        assert abs(count["perturbation:B2-FeAl:FM"] - 300) <= 2

    def test_one_at_a_time_is_the_same_as_all_at_once(self, quick, moments):
        whole = sample(quick, PLAIN, moments, 12, 5)
        single = [sample(quick, PLAIN, moments, 1, 5, skip=k)[0] for k in range(12)]
        assert [c.frame for c in whole] == [c.frame for c in single]
        assert [c.source for c in whole] == [c.source for c in single]

    def test_adding_an_ordering_does_not_move_the_samples_of_the_others(self, build, bcc_fe, moments):
        fm = sample(build(bcc_fe()), PLAIN, moments, 50, 1)
        both = sample(build(bcc_fe(orderings=["FM", "AFM"])), PLAIN, moments, 50, 1)
        assert {c.frame for c in both if c.source.endswith(":FM")} <= {c.frame for c in fm}

    def test_nothing_asked_is_nothing_given(self, quick, moments):
        assert sample(quick, PLAIN, moments, 0, 1) == []

    def test_no_prototypes(self, moments):
        with pytest.raises(InputError, match="no prototypes"):
            sample([], PLAIN, moments, 1, 1)


class TestMinDistance:
    def test_no_sample_is_below_it(self, quick, moments):
        domain = DomainSettings(displacement=0.8, min_distance=2.0)
        assert min(nearest_distance(c.frame) for c in sample(quick, domain, moments, 200, 1)) >= 2.0

    def test_samples_pulled_in_are_counted(self, quick, moments):
        assert draw(quick, DomainSettings(displacement=0.8, min_distance=2.0), moments, 200, 1).pulled_in > 50
        assert draw(quick, DomainSettings(), moments, 200, 1).pulled_in == 0

    def test_default_follows_the_prototype(self, quick, moments):
        domain = DomainSettings(displacement=0.8)
        shortest = [nearest_distance(c.frame) for c in sample(quick, domain, moments, 200, 1)]
        assert 0.7 * 2.45 < min(shortest) < 2.0

    def test_impossible_distance_is_an_error(self, quick, moments):
        with pytest.raises(InputError, match=r"min_distance.*2.49"):
            sample(quick, DomainSettings(min_distance=2.5), moments, 1, 1)

    def test_one_atom_per_cell(self, build, moments):
        from magflow.explore.prototypes import PrototypeSettings

        builder = {"structure": "bcc", "species": ["Fe"], "a": 2.836, "cubic": False}
        (p,) = build(PrototypeSettings(name="x", builder=builder))
        assert nearest_distance(p.frame) == pytest.approx(2.836 * 3**0.5 / 2)
        assert len(sample([p], PLAIN, moments, 8, 1)) == 8


@pytest.mark.parametrize(
    "bad",
    [
        {"volume": (0.1, -0.1)},
        {"volume": (-1.5, 0.1)},
        {"strain": -0.1},
        {"displacement": -0.1},
        {"displacement": (0.2, 0.1)},
        {"displacement": (-0.1, 0.1)},
        {"spin_flip": 1.5},
        {"min_distance": 0.0},
        {"strains": 0.1},
        {"volume": (float("nan"), 0.1)},
    ],
)
def test_settings_that_make_no_sense_are_refused(bad):
    with pytest.raises(ValidationError):
        DomainSettings.model_validate(bad)


def test_a_hundred_thousand_frames_take_seconds(quick, moments):
    begin = time.perf_counter()
    found = sample(quick, DomainSettings(), moments, 20_000, 1)
    assert time.perf_counter() - begin < 12.0  # a fifth of a minute for a fifth of 100 000
    assert len(found) == 20_000
    assert len(unique_frames(c.frame for c in found[::10])) == 2_000
