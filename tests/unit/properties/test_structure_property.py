"""Pair distribution, displacements and diffusion where they are known."""

from __future__ import annotations

import numpy as np
import pytest

from exact_potentials import HarmonicCrystal, alone, bcc, fcc
from magflow.core.frame import Frame
from magflow.core.units import KB
from magflow.errors import InputError
from magflow.explore.geometry import repeated
from magflow.properties.base import Work
from magflow.properties.diffusion import diffusion, first_peak, mean_square_displacement, pair_distribution
from magflow.properties.structure import Structure
from magflow.properties.subject import Subject
from mmtp_iron import iron_ensemble

EDGES = np.arange(0.0, 6.01, 0.1)
CRYSTAL = repeated(bcc(2.86), (3, 3, 3))


def gas(rng, n, edge=12.0, species=("Fe",)):
    return Frame(tuple(species) * (n // len(species)), edge * np.eye(3), rng.uniform(0, edge, (n, 3)))


def walk(rng, steps, atoms, d=0.7, interval=0.02):
    """Brownian motion of diffusion coefficient `d`."""
    return np.cumsum(rng.normal(0.0, np.sqrt(2.0 * d * interval), (steps, atoms, 3)), axis=0)


class TestPairs:
    def test_an_ideal_gas_has_none(self):
        rng = np.random.default_rng(0)
        frames = [gas(rng, 300) for _ in range(20)]
        g = pair_distribution(frames, EDGES, ("Fe", "Fe"))
        assert g[20:] == pytest.approx(1.0 - 1.0 / 300, abs=0.05)
        assert np.average(g, weights=np.diff(EDGES**3)) == pytest.approx(1.0 - 1.0 / 300, abs=0.005)

    def test_a_mixture_by_elements(self):
        rng = np.random.default_rng(1)
        frames = [gas(rng, 300, species=("Fe", "Fe", "Al")) for _ in range(20)]
        for pair in (("Al", "Al"), ("Al", "Fe"), ("Fe", "Al")):
            g = pair_distribution(frames, EDGES, pair)
            assert np.average(g, weights=np.diff(EDGES**3)) == pytest.approx(1.0, abs=0.03)

    def test_shells_of_a_crystal(self):
        """Neighbours of fcc: 12, 6, 24, 12 at a/sqrt 2, a, a sqrt(3/2), a sqrt 2; images of one cell count, too."""
        crystal = fcc(4.0, "Al")
        g = pair_distribution([crystal], EDGES, ("Al", "Al"))
        counts = g * 4.0 / 3.0 * np.pi * np.diff(EDGES**3) * len(crystal) / crystal.volume
        found = {round(float(EDGES[k]), 1): round(float(counts[k])) for k in np.flatnonzero(counts)}
        assert found == {2.8: 12, 4.0: 6, 4.8: 24, 5.6: 12}

    def test_first_peak(self):
        r = np.arange(0.025, 7.0, 0.05)
        g = 2.5 * np.exp(-((r - 2.478) ** 2) / 0.08) + 3.0 * np.exp(-((r - 4.0) ** 2) / 0.08)
        assert first_peak(r, g) == pytest.approx(2.478, abs=2e-3)


class TestDisplacements:
    def test_all_pairs_of_samples(self):
        x = np.random.default_rng(2).normal(size=(40, 5, 3)).cumsum(axis=0) + 1e3
        direct = [((x[t:] - x[: 40 - t]) ** 2).sum(axis=2).mean() for t in range(40)]
        assert mean_square_displacement(x) == pytest.approx(direct, rel=1e-9, abs=1e-9)

    def test_brownian_motion(self):
        rng = np.random.default_rng(3)
        found = diffusion([walk(rng, 800, 100) for _ in range(3)], 0.02)
        assert found.value == pytest.approx(0.7, abs=3.5 * found.error)
        assert 0.0 < found.error < 0.05
        assert found.seen
        assert found.bound == pytest.approx(0.7, rel=0.1)

    def test_the_error_is_that_of_many_repetitions(self):
        rng = np.random.default_rng(4)
        found = [diffusion([walk(rng, 200, 20)], 0.02) for _ in range(150)]
        values = np.array([f.value for f in found])
        assert values.mean() == pytest.approx(0.7, rel=0.04)
        assert np.sqrt(np.mean([f.error**2 for f in found])) == pytest.approx(values.std(), rel=0.25)

    def test_atoms_that_rattle_do_not_diffuse(self):
        x = np.random.default_rng(5).normal(0.0, 0.1, (400, 50, 3))
        found = diffusion([x], 0.02)
        assert not found.seen
        assert found.bound == pytest.approx(6.0 * 0.1**2 / 6.0 / (0.5 * 100 * 0.02), rel=0.05)


@pytest.fixture(scope="module")
def harmonic(tmp_path_factory):
    subject = Subject(alone(HarmonicCrystal(CRYSTAL)), "bcc-Fe", CRYSTAL)
    asked = Structure(
        atoms=54, timestep=6.0, runs=2, equilibration=1.5, picoseconds=3.0, temperatures=(600.0,), look_every=5
    )
    return asked, asked.measure(subject, Work(tmp_path_factory.mktemp("structure")))


def test_displacements_of_a_harmonic_crystal(harmonic):
    """3 k T / k, less the share of the centre of mass; springs soften with the volume."""
    _, found = harmonic
    v0 = CRYSTAL.volume / 54
    volume = 0.5 * (v0 + np.sqrt(v0**2 + 24.0 * KB * 600.0 * v0))
    expected = 3.0 * KB * 600.0 / (6.0 * (volume / v0) ** -4.0) * 53 / 54
    value = found.value("mean square displacement from the sites", 600.0)
    assert value.value == pytest.approx(expected, rel=0.12)
    assert "diffusion coefficient" not in {v.name for v in found.values}
    assert any("no diffusion of Fe was seen" in r for r in found.remarks)
    peak = found.value("first peak of g(r)", 600.0)
    assert peak.value == pytest.approx(np.sqrt(0.75) * (2.0 * volume) ** (1 / 3), abs=0.1)
    assert not found.failure


def test_figures(harmonic):
    asked, found = harmonic
    files = [p.file for p in asked.plots([("one", found), ("two", found)])]
    assert files == ["pairs-bcc-Fe-600K.csv", "displacement-bcc-Fe-600K.csv"]


def test_an_explosion_is_a_result(tmp_path):
    subject = Subject(iron_ensemble(2), "bcc-Fe", bcc(2.84, moment=2.2), max_moment={"Fe": 3.0})
    found = Structure(atoms=54, runs=1, equilibration=0.2, temperatures=(40000.0,)).measure(subject, Work(tmp_path))
    assert "unstable at 40000 K after 0." in found.failure
    assert len(found.frames) == 1


def test_too_few_looks(tmp_path):
    subject = Subject(alone(HarmonicCrystal(CRYSTAL)), "bcc-Fe", CRYSTAL)
    with pytest.raises(InputError, match="10 looks at the atoms are too few, 40 are needed"):
        Structure(atoms=54, picoseconds=0.2).measure(subject, Work(tmp_path))
