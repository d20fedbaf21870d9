"""Phonons: phonopy's own examples, and force constants that are known."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exact_potentials import AsePotential, ModelPotential, alone, bcc, fcc
from magflow.core.frame import Frame
from magflow.core.prediction import Prediction
from magflow.errors import InputError
from magflow.explore.geometry import repeated
from magflow.properties.base import Work
from magflow.properties.harmonic import (
    DOS,
    FREQUENCY,
    STATES,
    TEMPERATURE,
    THERMODYNAMICS,
    phonopy_of,
    thermal_displacements,
    thermodynamics_of,
)
from magflow.properties.measurement import Moments
from magflow.properties.phonons import Phonons, solved
from magflow.properties.subject import Subject

EXAMPLES = Path(os.environ.get("MAGFLOW_REFERENCE_DATA", "../shared/data")) / "phonopy"
PER_KELVIN = 0.020836619
"""THz."""
IRON = Subject(alone(ModelPotential()), "bcc-Fe", bcc(2.84, moment=2.2))


def example(name: str) -> tuple[list[Frame], Prediction, int]:
    """Perfect and displaced supercells of an example, their forces, and the atoms of its primitive cell."""
    import phonopy

    p = phonopy.load(
        EXAMPLES / name / "phonopy_disp.yaml",
        force_sets_filename=EXAMPLES / name / "FORCE_SETS",
        is_nac=False,
        log_level=0,
    )
    s = p.supercell
    frames = [Frame(tuple(s.symbols), s.cell, s.positions, s.magnetic_moments)]
    forces = [np.zeros((len(s), 3))]
    for first in p.dataset["first_atoms"]:
        positions = s.positions.copy()
        positions[first["number"]] += first["displacement"]
        frames.append(frames[0].replace(positions=positions))
        forces.append(first["forces"])
    n = len(frames)
    return (
        frames,
        Prediction(np.full(n, len(s)), np.zeros(n), np.concatenate(forces), np.zeros((n, 6))),
        len(p.primitive),
    )


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason=f"no reference data in {EXAMPLES}")
@pytest.mark.parametrize(
    ("name", "entropy", "capacity", "highest"),
    [("Cr", 22.1231, 21.9162, 511.78), ("NaCl", 75.0821, 48.0497, None), ("MgB2", 35.8347, 49.1185, 1165.20)],
)
def test_examples_of_phonopy(name, entropy, capacity, highest):
    """Entropy and heat capacity at 300 K, J/(K mol) of primitive cells, and the top of the spectrum, K."""
    frames, points, atoms = example(name)
    subject = Subject(alone(AsePotential(lambda: None, sorted(set(frames[0].species)), 5.0)), name, frames[0])
    read = {v.name: v.value for v in Phonons(mesh=60.0).read(subject, frames, points).values}
    assert read["vibrational entropy"] * atoms == pytest.approx(entropy, rel=1e-3)
    assert read["vibrational heat capacity"] * atoms == pytest.approx(capacity, rel=1e-3)
    if highest is not None:
        assert read["highest frequency"] / PER_KELVIN == pytest.approx(highest, rel=1e-3)
    assert read["lowest frequency"] == pytest.approx(0.0, abs=1e-4)


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason=f"no reference data in {EXAMPLES}")
def test_the_top_of_the_spectrum_of_sodium_chloride_depends_on_where_one_looks():
    """299.55 K is the highest frequency of the waves that the supercell holds (L); between Gamma and L it is 301.80 K.

    Force constants decide the former alone, and phonopy interpolates the latter: no correction for polar crystals, no
    mass, no version of phonopy is between the two.
    """
    import phonopy
    from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

    place = EXAMPLES / "NaCl"
    p = phonopy.load(place / "phonopy_disp.yaml", force_sets_filename=place / "FORCE_SETS", is_nac=False, log_level=0)
    held = get_commensurate_points(np.rint(np.linalg.inv(p.primitive_matrix) @ p.supercell_matrix).astype(int))
    assert p.run_qpoints(held).frequencies.max() / PER_KELVIN == pytest.approx(299.55, rel=1e-4)
    between = np.linspace(0.0, 0.5, 201)[:, None] * [1.0, 0.0, 0.0]
    found = p.run_qpoints(between).frequencies.max(axis=1) / PER_KELVIN
    assert found[-1] == pytest.approx(299.55, rel=1e-4)
    assert found.max() == pytest.approx(301.80, rel=1e-4)
    assert between[found.argmax(), 0] == pytest.approx(0.393, abs=0.01)


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason=f"no reference data in {EXAMPLES}")
def test_thermal_displacements_of_chromium():
    """Against sums over the modes of meshes five times as fine, without Gamma, extrapolated to no mesh at all."""
    frames, points, _ = example("Cr")
    subject = Subject(alone(AsePotential(lambda: None, ["Cr"], 5.0)), "Cr", frames[0])
    p = solved(subject, frames, points)
    found = thermal_displacements(p, np.array([0.0, 300.0]))["Cr"]
    hbar_over_mass = 1.054571817e-34 / (51.9961 * 1.66053907e-27) * 1e20  # A^2/s
    sums = []
    for n in (20, 40):
        mesh = p.run_mesh([n] * 3)
        w = 2e12 * np.pi * np.asarray(mesh.frequencies)
        share = np.asarray(mesh.weights)[:, None] / np.sum(mesh.weights) / 3.0
        occupied = np.array([0.0 * w, 1.0 / np.expm1(1.054571817e-34 * w / (1.380649e-23 * 300.0))])
        sums.append((share * hbar_over_mass / w * (0.5 + occupied)).sum(axis=(1, 2)))
    np.testing.assert_allclose(found, 2.0 * sums[1] - sums[0], rtol=1e-3)


def spring_constant(subject: Subject, along: np.ndarray) -> float:
    """Of the zone-boundary mode H of bcc: the two atoms against each other, eV/A^2."""
    h, rest = 0.01, subject.at_rest(finer=100.0)
    moved = [rest.replace(positions=rest.positions + s * h * np.outer([1.0, -1.0], along)) for s in (-1, 1)]
    low, high = subject.ensemble.predict(subject.with_moments_at_rest(moved, tolerance=1e-5)).mean.forces[[0, 2], 0]
    return float((low - high) / (2.0 * h))


@pytest.mark.parametrize("moments", [Moments.RELAXED, Moments.RELAXED_ONCE])
def test_zone_boundary_of_iron(moments, tmp_path):
    """At H the two sublattices of bcc move against each other: M w^2 = k, commensurate with every cubic supercell."""
    subject = Subject(IRON.ensemble, "bcc-Fe", IRON.frame, moments)
    found = Phonons(supercell=(2, 2, 2), mesh=20.0).measure(subject, Work(tmp_path))
    bands = found.curves["bands 1: G-H"]
    expected = np.sqrt(spring_constant(subject, np.array([1.0, 0.0, 0.0])) / 55.845) * 15.633302
    assert [bands[f"branch {k} (THz)"][-1] for k in (1, 2, 3)] == pytest.approx([expected] * 3, rel=2e-3)
    states = found.curves[DOS]
    assert np.trapezoid(states[STATES], states[FREQUENCY]) == pytest.approx(3.0, rel=0.02)
    assert found.atoms == 16


def test_layers_up_and_down_on_an_fcc_lattice_are_tetragonal():
    """The lattice of translations that reverse the moments is cubic; the waves are not: thermodynamics tell."""
    cubic = fcc(3.6, "Fe")
    signs = np.where(cubic.positions[:, 2] > 0.1, -2.0, 2.0)
    layers = Frame(cubic.species, cubic.cell, cubic.positions, signs)
    subject = Subject(IRON.ensemble, "fcc-Fe", layers, Moments.FIXED)
    frames = Phonons(supercell=(2, 2, 2)).displaced(subject, layers)
    p = solved(subject, frames, subject.ensemble.predict(frames).mean)
    found = []
    for symmetric in (True, False):
        p.run_mesh(30.0, is_mesh_symmetry=symmetric)
        found.append(thermodynamics_of(p, np.array([300.0])))
    for head, column in found[0].items():
        np.testing.assert_allclose(column, found[1][head], rtol=1e-9)
    assert len(p.primitive) == 2


def test_sublattices_up_and_down_of_bcc_are_one_atom():
    """Of B2 order the cell of the translations that reverse the moments is as symmetric, and half as large."""
    opposite = Frame(("Fe", "Fe"), IRON.frame.cell, IRON.frame.positions, [2.2, -2.2])
    assert len(phonopy_of(repeated(opposite, (3, 3, 2))).primitive) == 1


def test_relaxed_moments_soften(tmp_path):
    kept = Subject(IRON.ensemble, "bcc-Fe", IRON.frame, Moments.RELAXED_ONCE)
    along = np.array([1.0, 0.0, 0.0])
    assert spring_constant(IRON, along) < spring_constant(kept, along) - 1e-4


def test_classical_limit(tmp_path):
    found = Phonons(supercell=(2, 2, 2), mesh=20.0, temperatures=(3000.0,)).measure(IRON, Work(tmp_path))
    assert found.value("vibrational heat capacity", 3000.0).value == pytest.approx(3 * 8.314462, rel=2e-3)
    curve = found.curves[THERMODYNAMICS]
    assert curve[TEMPERATURE][0] == 0.0
    assert curve["entropy (J/(K mol))"][0] == 0.0


def test_imaginary_modes_are_named(tmp_path):
    simple = Frame(("Fe",), 2.4 * np.eye(3), np.zeros((1, 3)), [2.2])
    found = Phonons(supercell=(3, 3, 3), mesh=20.0).measure(Subject(IRON.ensemble, "sc-Fe", simple), Work(tmp_path))
    assert found.value("lowest frequency").value < -1.0
    assert "imaginary modes" in found.remarks[0]
    assert THERMODYNAMICS not in found.curves
    assert [v.name for v in found.values] == ["highest frequency", "lowest frequency"]


def test_forces_left_on_the_perfect_crystal_do_not_count():
    prop = Phonons(supercell=(2, 2, 2), mesh=20.0)
    frames = prop.frames(IRON)
    points = IRON.ensemble.predict(frames).mean
    left = np.tile(np.random.default_rng(0).normal(0, 0.01, (16, 3)), (len(frames), 1))
    clean, shifted = (prop.read(IRON, frames, p) for p in (points, replace(points, forces=points.forces + left)))
    assert [v.value for v in shifted.values] == pytest.approx([v.value for v in clean.values], abs=1e-6)


def test_default_supercell_is_as_wide_as_asked():
    assert Phonons().repeats(IRON) == (4, 4, 4)
    assert Phonons().quick().repeats(IRON) == (3, 3, 3)


def test_refuses_a_supercell_in_which_an_atom_sees_itself(tmp_path):
    with pytest.raises(InputError, match=r"supercell is 2\.84 A wide, less than the cutoff of 5 A"):
        Phonons(supercell=(1, 2, 2)).measure(IRON, Work(tmp_path))


def test_two_displaced_atoms_are_refused():
    moved = IRON.frame.positions + np.array([[0.01, 0, 0], [0, 0.01, 0]])
    frames = [IRON.frame, IRON.frame.replace(positions=moved)]
    points = IRON.ensemble.predict(frames).mean
    with pytest.raises(InputError, match="one atom of each supercell is displaced"):
        Phonons().read(IRON, frames, points)
