"""Properties of the exploration that hold for every domain, seed and number of samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magflow.core.prediction import EnsemblePrediction
from magflow.dft.spin_lattice import FE_AL, SpinLatticeModel
from magflow.explore.candidate import Candidate
from magflow.explore.domain import DomainSettings, sample
from magflow.explore.geometry import nearest_distance
from magflow.explore.health import HealthReason
from magflow.explore.md import MdSettings, run_md
from magflow.explore.prototypes import PrototypeSettings, build_prototypes
from magflow.explore.relaxation.moments import relax_moments

MOMENTS = {"Fe": (0.0, 2.8), "Al": (0.0, 0.1)}
PROTOTYPES = {
    p.label: p
    for p in build_prototypes(
        [
            PrototypeSettings(name="B2", builder={"structure": "b2", "species": ["Fe", "Al"], "a": 2.884}),
            PrototypeSettings(
                name="bcc",
                builder={"structure": "bcc", "species": ["Fe"], "a": 2.836},
                orderings=["FM", "AFM", "NM", "DLM"],
            ),
            PrototypeSettings(
                name="long",
                builder={"structure": "b2", "species": ["Fe", "Al"], "a": 2.884},
                supercell=(2, 1, 1),
                orderings=["FM", "AFM"],
            ),
        ],
        ["Al", "Fe"],
        Path(),
        MOMENTS,
    )
}

some_prototypes = st.lists(st.sampled_from(sorted(PROTOTYPES)), min_size=1, max_size=4, unique=True).map(
    lambda labels: [PROTOTYPES[k] for k in labels]
)
seeds = st.integers(0, 2**32 - 1)
counts = st.integers(1, 24)
domains = st.builds(
    DomainSettings,
    volume=st.tuples(st.floats(-0.2, 0.0), st.floats(0.0, 0.2)),
    strain=st.floats(0.0, 0.06),
    displacement=st.floats(0.0, 0.4),
    spin_flip=st.floats(0.0, 1.0),
    disordered=st.floats(0.0, 1.0),
    min_distance=st.one_of(st.none(), st.floats(1.0, 2.3)),
)
ranges = st.fixed_dictionaries(
    {
        "Fe": st.tuples(st.floats(0.0, 1.0), st.floats(1.0, 3.0)),
        "Al": st.sampled_from([(0.0, 0.0), (0.0, 0.1), (0.05, 0.2)]),
    }
)


def prototype_of(candidate):
    return PROTOTYPES[candidate.source.removeprefix("perturbation:")]


@given(some_prototypes, domains, ranges, counts, seeds)
@settings(deadline=None, max_examples=60)
def test_every_sample_lies_in_the_declared_domain(prototypes, domain, moments, n, seed):
    found = sample(prototypes, domain, moments, n, seed)
    assert len(found) == n
    s = domain.strain
    for c in found:
        p = prototype_of(c)
        deformation = np.linalg.solve(p.frame.cell, c.frame.cell)
        assert deformation == pytest.approx(deformation.T, abs=1e-9)
        # cell = volume scaling x (1 + e): scale in its range and every component of e within +-strain
        low, high = np.cbrt(1 + np.array(domain.volume))
        assert (np.diag(deformation) >= low * (1 - s) - 1e-9).all()
        assert (np.diag(deformation) <= high * (1 + s) + 1e-9).all()
        assert np.abs(deformation[~np.eye(3, dtype=bool)]).max() <= high * s + 1e-9
        if s == 0.0:
            v = c.frame.volume / p.frame.volume - 1
            assert domain.volume[0] - 1e-9 <= v <= domain.volume[1] + 1e-9
        shortest = 0.7 * nearest_distance(p.frame) if domain.min_distance is None else domain.min_distance
        assert nearest_distance(c.frame) >= shortest


@given(some_prototypes, domains, ranges, counts, seeds)
@settings(deadline=None, max_examples=60)
def test_moments_lie_in_their_ranges_and_are_neither_lost_nor_invented(prototypes, domain, moments, n, seed):
    for c in sample(prototypes, domain, moments, n, seed):
        p = prototype_of(c)
        if p.ordering == "NM":
            assert c.frame.magmoms is None
            continue
        assert c.frame.magmoms is not None
        assert not c.frame.magmoms[:, :2].any()
        for element, m in zip(c.frame.species, c.frame.magmoms[:, 2], strict=True):
            low, high = moments[element]
            assert low - 1e-12 <= abs(m) <= high + 1e-12


@given(some_prototypes, ranges, counts, seeds)
@settings(deadline=None, max_examples=30)
def test_orderings_are_kept_unless_disturbance_is_asked_for(prototypes, moments, n, seed):
    quiet = DomainSettings(spin_flip=0.0, disordered=0.0)
    for c in sample(prototypes, quiet, moments, n, seed):
        p = prototype_of(c)
        if p.ordering in ("FM", "AFM"):
            pattern = np.array(p.pattern)
            assert (c.frame.magmoms[:, 2] * pattern >= 0)[pattern != 0].all()


@given(some_prototypes, domains, counts, counts, st.integers(0, 500), seeds)
@settings(deadline=None, max_examples=40)
def test_sampling_continues_where_it_stopped(prototypes, domain, first, second, skip, seed):
    whole = sample(prototypes, domain, MOMENTS, first + second, seed, skip=skip)
    parts = [
        *sample(prototypes, domain, MOMENTS, first, seed, skip=skip),
        *sample(prototypes, domain, MOMENTS, second, seed, skip=skip + first),
    ]
    assert [c.frame for c in whole] == [c.frame for c in parts]
    assert [c.source for c in whole] == [c.source for c in parts]


@given(some_prototypes, counts, st.lists(seeds, min_size=2, max_size=3, unique=True))
@settings(deadline=None, max_examples=30)
def test_no_frame_comes_twice_within_a_seed_or_from_two_seeds(prototypes, n, several):
    frames = [c.frame for seed in several for c in sample(prototypes, DomainSettings(), MOMENTS, n, seed)]
    assert len(set(frames)) == len(frames)


class Copies:
    """An ensemble of copies of the model Hamiltonian that differ a little."""

    def __init__(self):
        self.members = tuple(SpinLatticeModel(FE_AL.scaled("repulsion", f)) for f in (0.99, 1.0, 1.01))

    def predict(self, frames):
        return EnsemblePrediction.from_members([m.predict(frames) for m in self.members])


ENSEMBLE = Copies()


def same_order(before, after):
    """Whether the relative signs of the polarised sites are the same."""
    kept = (np.abs(before[:, 2]) >= 0.1) & (np.abs(after[:, 2]) >= 0.1)
    return np.unique(np.sign(before[:, 2] * after[:, 2])[kept]).size <= 1


@given(st.sampled_from(["bcc:FM", "bcc:AFM", "B2:FM", "long:AFM"]), seeds)
@settings(deadline=None, max_examples=20)
def test_relaxation_keeps_the_order_or_says_so_and_is_honest(label, seed):
    domain = DomainSettings(spin_flip=0.0, disordered=0.0)
    (candidate,) = sample([PROTOTYPES[label]], domain, MOMENTS, 1, seed)
    relaxed = relax_moments(candidate.frame, ENSEMBLE, MOMENTS)
    m = relaxed.frame.magmoms
    assert same_order(candidate.frame.magmoms, m) or HealthReason.MOMENT_FLIP in relaxed.health
    high = np.array([MOMENTS[s][1] for s in relaxed.frame.species])
    assert (np.abs(m[:, 2]) <= high).all()
    magnetic = ENSEMBLE.predict([relaxed.frame]).mean.magnetic_forces[:, 2]
    free = np.abs(m[:, 2]) < high
    assert not relaxed.converged or np.abs(magnetic[free]).max(initial=0.0) <= 1e-3
    assert relaxed.energy <= ENSEMBLE.predict([candidate.frame]).mean.energy[0] + 1e-12


@given(seeds)
@settings(deadline=None, max_examples=5)
def test_md_keeps_the_antiferromagnetic_order(seed):
    ideal = PROTOTYPES["bcc:AFM"].frame
    md = MdSettings(steps=15, snapshot_interval=3, temperatures_k=(900.0,))
    outcome = run_md([Candidate(ideal, "prototype:bcc:AFM")], ENSEMBLE, md, MOMENTS, seed)
    assert outcome.candidates
    for c in outcome.candidates:
        assert same_order(ideal.magmoms, c.frame.magmoms) or "moment-flip" in outcome.health
