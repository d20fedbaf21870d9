"""Surfaces of crystals whose bonds can be counted, of copper against ASE, and of iron with its moments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.build import fcc100, fcc110
from ase.calculators.emt import EMT
from ase.calculators.morse import MorsePotential
from ase.optimize import BFGS

from exact_potentials import AsePotential, ModelPotential, alone, bcc, fcc
from magflow.core.frame import Frame
from magflow.core.units import EV_PER_A2_IN_J_PER_M2
from magflow.errors import InputError
from magflow.properties.base import Work, property_of
from magflow.properties.measurement import Moments, Value
from magflow.properties.slabs import cuts, depths
from magflow.properties.subject import Subject
from magflow.properties.surfaces import DEPTH, ENERGY, MOMENT, PROFILE, THICKNESS, Surfaces
from mmtp_iron import iron_ensemble

BOND, LENGTH = 0.3, 2.5
"""eV and A, of each bond between nearest neighbours; there are no others."""
REACH = 1.15


def bonds() -> Subject:
    """A potential of nothing but bonds: all of one length at rest, in the crystal as at its surface."""

    def make() -> MorsePotential:
        return MorsePotential(epsilon=BOND, r0=LENGTH, rho0=6.0, rcut1=0.5 * (1.0 + REACH), rcut2=REACH)

    return Subject(alone(AsePotential(make, ["Cu"], REACH * LENGTH)), "crystal", fcc(np.sqrt(2) * LENGTH, "Cu"))


@pytest.mark.parametrize(
    ("lattice", "plane", "cut", "area"),
    [
        (fcc, (1, 0, 0), 4, 0.5),
        (fcc, (1, 1, 0), 6, np.sqrt(0.5)),
        (fcc, (1, 1, 1), 3, np.sqrt(3) / 4),
        (bcc, (1, 0, 0), 4, 1.0),
        (bcc, (1, 1, 0), 2, np.sqrt(0.5)),
    ],
)
def test_broken_bonds_are_counted(lattice, plane, cut, area, tmp_path):
    """`cut` bonds of each atom in an `area` (a^2) of the plane are broken; each face has half of them."""
    a = LENGTH * (np.sqrt(2) if lattice is fcc else 2 / np.sqrt(3))
    asked = Surfaces(planes=(plane,), thicknesses=(4.0, 6.0), vacuum=4.0)
    found = asked.measure(replace(bonds(), frame=lattice(a, "Cu")), Work(tmp_path))
    expected = 0.5 * cut * BOND / (area * a**2) * EV_PER_A2_IN_J_PER_M2
    at = f"({''.join(map(str, plane))})"
    assert found.value("surface energy", at=at).value == pytest.approx(expected, abs=1e-6)
    assert found.curves[at][ENERGY] == pytest.approx(expected, abs=1e-6)  # thick or thin


@pytest.mark.parametrize(("plane", "build"), [((1, 0, 0), fcc100), ((1, 1, 0), fcc110)])
def test_copper_agrees_with_ase(plane, build, tmp_path):
    asked = Surfaces(planes=(plane,), thicknesses=(8.0, 12.0), vacuum=8.0)
    subject = Subject(alone(AsePotential(EMT, ["Cu"], 6.0)), "fcc-Cu", fcc(3.6, "Cu"))
    found = asked.measure(subject, Work(tmp_path))
    (at,) = found.curves
    rest = subject.at_rest()
    layers = (
        round(found.curves[at][THICKNESS][-1] / (rest.cell[0, 0] / (2 if plane == (1, 0, 0) else 2 * np.sqrt(2)))) + 1
    )
    slab = build("Cu", (1, 1, layers), a=rest.cell[0, 0], vacuum=5.0)
    slab.pbc, slab.calc = True, EMT()
    BFGS(slab, logfile=None).run(fmax=1e-3)
    crystal = subject.ensemble.predict([rest]).mean.energy_per_atom[0]
    excess = (slab.get_potential_energy() - len(slab) * crystal) / (2 * np.linalg.det(slab.cell[:2, :2]))
    assert found.value("surface energy", at=at).value == pytest.approx(excess * EV_PER_A2_IN_J_PER_M2, abs=1e-4)
    assert "surface energy changes by" in found.remarks[0]


def test_cell_and_orientation_do_not_matter(tmp_path):
    a = 2 * LENGTH / np.sqrt(3)
    turn = np.linalg.qr(np.array([[1.0, 2, 3], [0, 1, 4], [5, 6, 0]]))[0]
    turn *= np.sign(np.linalg.det(turn))
    primitive = Frame(("Cu",), a / 2 * np.array([[-1.0, 1, 1], [1, -1, 1], [1, 1, -1]]) @ turn.T, [[0, 0, 0]])
    asked = Surfaces(thicknesses=(4.0, 6.0), vacuum=4.0)
    one, two = (asked.measure(replace(bonds(), frame=f), Work(tmp_path)) for f in (bcc(a, "Cu"), primitive))
    assert [v.value for v in one.values] == pytest.approx([v.value for v in two.values], abs=1e-6)
    for at in ("(100)", "(110)"):
        assert one.curves[at][THICKNESS] == pytest.approx(two.curves[at][THICKNESS])


def test_moments_at_the_surface_are_at_rest(tmp_path):
    iron = alone(ModelPotential())
    asked = Surfaces(planes=((1, 0, 0),), thicknesses=(6.0, 10.0), vacuum=6.0)
    subject = Subject(iron, "bcc-Fe", bcc(2.84, moment=2.2))
    slab = asked.frames(subject)[-1]
    assert np.abs(iron.predict([slab]).mean.magnetic_forces).max() < 1e-3
    found = asked.measure(subject, Work(tmp_path))
    outer = np.abs(slab.magmoms[depths(slab) < 0.5, 2])
    assert len(outer) == 2
    surface = found.value("moment of the surface layer", at="(100)").value
    assert surface == pytest.approx(outer.mean())
    profile = found.curves[PROFILE + "(100)"]
    assert profile[MOMENT][0] == pytest.approx(surface)
    assert abs(surface - profile[MOMENT][np.argmax(profile[DEPTH])]) > 0.05
    once = asked.frames(Subject(iron, "bcc-Fe", bcc(2.84, moment=2.2), Moments.RELAXED_ONCE))
    assert np.ptp(once[-1].magmoms[:, 2]) < 1e-12


def test_antiparallel_layers_stay_antiparallel():
    layers = Frame(("Fe", "Fe"), 2.84 * np.eye(3), [[0, 0, 0], [1.42] * 3], [2.2, -2.2])
    (slab,) = cuts(layers, (1, 0, 0), 10.0, 8.0)
    order = np.argsort(slab.positions[:, 2])
    assert np.abs(np.diff(np.sign(slab.magmoms[order, 2]))).min() == 2.0


def test_a_compound_keeps_its_composition_and_its_cheapest_cut():
    d03 = 2.9 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])
    crystal = Frame(("Al", "Fe", "Fe", "Fe"), d03, np.array([[0.0] * 3, [0.5] * 3, [0.25] * 3, [0.75] * 3]) @ d03)
    for slab in cuts(crystal, (1, 1, 1), 12.0, 8.0):
        assert slab.species.count("Fe") == 3 * slab.species.count("Al")


def test_a_potential_of_crystals_is_not_trusted(tmp_path):
    """Fitted on crystals alone: its members do not agree on a surface."""
    subject = Subject(iron_ensemble(2), "bcc-Fe", bcc(2.84, moment=2.2), max_moment={"Fe": 3.0})
    found = Surfaces(planes=((1, 1, 0),), thicknesses=(6.0, 8.0), vacuum=6.0).measure(subject, Work(tmp_path))
    energy = found.value("surface energy", at="(110)")
    assert energy.spread > 0.1 * abs(energy.value)
    assert found.remarks[-1] == f"(110): untrusted, the members differ by {energy.spread:.2g} J/m^2"


def test_slabs_outside_the_domain_are_named():
    asked = Surfaces(thicknesses=(4.0, 6.0), vacuum=4.0)
    frames = asked.frames(bonds())
    sure = [Value("surface energy", "J/m^2", 1.0, spread=0.05, at=at) for at in ("(100)", "(110)")]
    assert asked.doubts(frames, np.array([False, False, False, True, True]), sure) == (
        "(110): untrusted, 2 of 2 slabs lie outside the training domain",
    )
    assert asked.doubts(frames, None, sure) == ()


def test_thin_slabs_and_strange_planes_are_refused(tmp_path):
    with pytest.raises(InputError, match="a slab of 2 A is thinner than the cutoff"):
        Surfaces(thicknesses=(2.0, 6.0)).measure(bonds(), Work(tmp_path))
    with pytest.raises(InputError, match="a vacuum of 1 A"):
        Surfaces(vacuum=1.0).measure(bonds(), Work(tmp_path))
    for settings in ({"planes": [[0, 0, 0]]}, {"thicknesses": [8.0, 6.0]}):
        with pytest.raises(InputError, match="setting of a property"):
            property_of("surfaces", settings)
