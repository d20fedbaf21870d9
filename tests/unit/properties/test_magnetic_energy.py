"""E(m) on the Landau polynomial of the model Hamiltonian, whose minimum is known in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from exact_potentials import AsePotential, ModelPotential, alone, bcc
from magflow.core.frame import Frame
from magflow.core.prediction import Prediction
from magflow.errors import InputError
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.properties.base import Work
from magflow.properties.magnetic_energy import AT_REST, DEPTH, ENERGY, MOMENT, REST, MagneticEnergy
from magflow.properties.measurement import SPREAD, Moments
from magflow.properties.subject import Subject

IRON = Subject(alone(ModelPotential()), "bcc-Fe", bcc(2.84, moment=2.0))
QUARTIC = 0.02174
"""eV/muB^4, of iron in the model."""


def quadratic(frame: Frame) -> float:
    """A of E(m) - E(0) = A m^2 + b m^4 per atom of FM iron."""
    one = frame.replace(magmoms=np.tile([0.0, 0.0, 1.0], (len(frame), 1)))
    energies = IRON.ensemble.predict([one, one.replace(magmoms=0.0 * one.magmoms)]).mean.energy_per_atom
    return float(energies[0] - energies[1] - QUARTIC)


def test_minimum_of_a_landau_polynomial(tmp_path):
    prop = MagneticEnergy(volumes=(0.95, 1.0), points=15)
    found = prop.measure(IRON, Work(tmp_path))
    for k, at in enumerate(("0.95 V0", "")):
        a = quadratic(prop.frames(IRON)[15 * k])
        moment = np.sqrt(-a / (2.0 * QUARTIC))
        assert found.value("equilibrium moment", at=at).value == pytest.approx(moment, rel=1e-4)
        assert found.value("energy of magnetism", at=at).value == pytest.approx(-250.0 * a * a / QUARTIC, rel=1e-4)
        assert found.value("Landau curvature", at=at).value == pytest.approx(-4.0 * a, rel=1e-3)
    assert found.curves["1 V0"][MOMENT][-1] == pytest.approx(3.0)
    assert found.curves[AT_REST][REST][0] < found.curves[AT_REST][REST][1]


def test_energies_alone_say_the_same(tmp_path):
    prop = MagneticEnergy(volumes=(1.0,), points=21)
    frames = prop.frames(IRON)
    points = IRON.ensemble.predict(frames).mean
    fields = points.magnetic_forces.copy()
    fields[:, 2] = np.nan  # as on atoms that were not constrained
    told = prop.read(IRON, frames, points).values
    for blind in (replace(points, magnetic_forces=fields), replace(points, magnetic_forces=None)):
        for x, y in zip(prop.read(IRON, frames, blind).values, told, strict=True):
            assert x.value == pytest.approx(y.value, rel=5e-3), x.name


def test_the_pattern_of_an_antiferromagnet_is_scaled(tmp_path):
    start = bcc(2.84).replace(magmoms=[1.5, -1.5])
    prop = MagneticEnergy(volumes=(1.0,), points=5, max_moment=2.0)
    frames = prop.frames(Subject(IRON.ensemble, "AFM-Fe", start))
    assert np.allclose([f.magmoms[:, 2] for f in frames], [[m, -m] for m in np.linspace(0, 2, 5)])


def test_a_moment_beyond_the_scan_is_a_result(tmp_path):
    found = MagneticEnergy(volumes=(1.0,), points=5, max_moment=1.0).measure(IRON, Work(tmp_path))
    assert "falls up to the largest moment" in found.failure


def test_no_moment_at_rest_is_one_of_zero(tmp_path):
    fixed = Subject(IRON.ensemble, "bcc-Fe", bcc(2.84, moment=1.0), Moments.FIXED)
    prop = MagneticEnergy(volumes=(1.0,), points=9)
    frames = prop.frames(fixed)
    m2 = np.array([f.magmoms[0, 2] ** 2 for f in frames])
    counts = np.full(9, 2)
    rising = Prediction(counts, 2 * 0.1 * m2, np.zeros((18, 3)), np.zeros((9, 6)))
    read = prop.read(fixed, frames, rising)
    assert [v.value for v in read.values] == pytest.approx([0.0, 0.0, 0.2], abs=1e-9)
    assert read.curves[AT_REST][DEPTH] == [0.0]


def test_members_make_the_band(tmp_path):
    class Weaker(ModelPotential):
        def predict(self, frames):
            said = super().predict(frames)
            return replace(said, energy=0.9 * said.energy, magnetic_forces=0.9 * said.magnetic_forces)

    pair = PotentialEnsemble((ModelPotential(), Weaker()), "spin-lattice")
    found = MagneticEnergy(volumes=(1.0,), points=9).measure(Subject(pair, "bcc-Fe", IRON.frame), Work(tmp_path))
    scan = found.curves["1 V0"]
    assert scan[SPREAD + ENERGY] == pytest.approx(np.abs(scan[ENERGY]) * 0.1 / 0.95 / np.sqrt(2), abs=1e-9)
    assert SPREAD + MOMENT not in scan
    assert found.value("energy of magnetism").spread > 0.0


@pytest.mark.parametrize(
    ("ensemble", "frame", "why"),
    [
        (alone(AsePotential(lambda: None, ["Fe"], 5.0)), bcc(2.84), "reads no moments"),
        (IRON.ensemble, bcc(2.84, moment=0.0), "carries no moments"),
    ],
)
def test_refuses_what_has_no_moments(ensemble, frame, why, tmp_path):
    with pytest.raises(InputError, match=why):
        MagneticEnergy().measure(Subject(ensemble, "bcc-Fe", frame), Work(tmp_path))
