"""Lattice thermal conductivity: phono3py's own example of silicon, a cell that is not cubic, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones

from exact_potentials import AsePotential, ModelPotential, alone, bcc, fcc
from magflow.core.frame import Frame
from magflow.core.moments import collinear
from magflow.core.prediction import Prediction
from magflow.errors import InputError
from magflow.properties import thermal_conductivity
from magflow.properties.base import Work, usual
from magflow.properties.harmonic import phonopy_atoms
from magflow.properties.measurement import Moments
from magflow.properties.modes import Mode
from magflow.properties.phonons import Phonons
from magflow.properties.subject import Subject
from magflow.properties.thermal_conductivity import (
    AGAINST_TEMPERATURE,
    BELOW,
    BY_FREQUENCY,
    CONDUCTIVITY,
    KAPPA,
    ThermalConductivity,
)

pytest.importorskip("phono3py")

SILICON = Path(os.environ.get("MAGFLOW_REFERENCE_DATA", "../shared/data")) / "phono3py/Si-PBEsol"
SMALL = {"cutoffs": 1.0, "mesh": 12.0, "phonons": Phonons(supercell=(2, 2, 2), mesh=12.0)}
IRON = Subject(alone(ModelPotential()), "bcc-Fe", bcc(2.84, moment=2.2))
RELAXED, CLAMPED = Moments.RELAXED, Moments.RELAXED_ONCE


def argon() -> LennardJones:
    """Smooth up to its end, as differences of third order want it."""
    return LennardJones(epsilon=0.0104, sigma=3.4, rc=7.0, ro=5.0, smooth=True)


ARGON = Subject(alone(AsePotential(argon, ["Ar"], 7.0)), "fcc-Ar", fcc(5.3, "Ar"))


def forces_of_vasp(path: Path) -> np.ndarray:
    """(N, 3) eV/A."""
    from ase.io import read

    return read(path, format="vasp-xml").get_forces()


@pytest.mark.slow
@pytest.mark.skipif(not SILICON.is_dir(), reason=f"no reference data in {SILICON}")
def test_silicon_of_phono3py():
    """Its README says 107.9 W/(m K) at 300 K with supercells of 64 and 512 atoms and a mesh of 11 x 11 x 11."""
    import phono3py
    from ase.io import read

    atoms = read(SILICON / "POSCAR-unitcell", format="vasp")
    rest = Frame(tuple(atoms.get_chemical_symbols()), atoms.cell.array, atoms.positions)
    subject = Subject(alone(AsePotential(lambda: None, ["Si"], 5.0)), "Si", rest)
    example = phono3py.load(SILICON / "phono3py_disp_dimfc2.yaml", produce_fc=False, log_level=0)
    wide, moved = example.phonon_supercell, example.phonon_dataset["first_atoms"][0]
    perfect = Frame(tuple(wide.symbols), wide.cell, wide.positions)
    shift = np.zeros((len(perfect), 3))
    shift[moved["number"]] = moved["displacement"]
    asked = ThermalConductivity(supercell=(2, 2, 2), mesh=34.0, phonons=Phonons(supercell=(4, 4, 4), mesh=20.0))
    made = thermal_conductivity.phono3py_of(rest, (2, 2, 2), (4, 4, 4))
    pairs = thermal_conductivity.displaced_pairs(made, rest, 0.03, None)
    frames = [rest, perfect, perfect.replace(positions=perfect.positions + shift), *pairs]
    third = np.loadtxt(SILICON / "FORCES_FC3").reshape(len(pairs) - 1, len(pairs[0]), 3)
    forces = [np.zeros((8, 3)), 0.0 * shift, forces_of_vasp(SILICON / "vasprun-fc2.xml"), np.zeros((64, 3)), *third]
    counts = np.array([len(f) for f in frames])
    points = Prediction(counts, np.zeros(len(frames)), np.concatenate(forces), np.zeros((len(frames), 6)))
    found = asked.read(subject, frames, points)
    (value,) = found.values
    assert value.value == pytest.approx(107.9, rel=0.005)
    carried, curve = found.curves[BY_FREQUENCY][BELOW], found.curves[AGAINST_TEMPERATURE][KAPPA]
    assert carried[-1] == pytest.approx(value.value, rel=1e-6)
    assert np.all(np.diff(carried) >= 0.0) and np.all(np.diff(curve) < 0.0)


def test_argon_by_hand(tmp_path):
    """Forces of the calculator itself, in the order of phono3py, which makes second order of a wider supercell, too."""
    from ase import Atoms
    from phono3py import Phono3py

    asked = ThermalConductivity(**SMALL | {"phonons": Phonons(supercell=(3, 3, 3), mesh=12.0)})
    found = asked.measure(ARGON, Work(tmp_path))
    assert not found.failure
    rest = ARGON.at_rest(finer=100.0)
    made = Phono3py(phonopy_atoms(rest), (2, 2, 2), "F", (3, 3, 3), log_level=0)
    made.generate_fc2_displacements(distance=0.01)
    made.generate_displacements(distance=0.03)

    def forces(cells):
        for cell in cells:
            atoms = Atoms(cell.symbols, cell=cell.cell, positions=cell.positions, pbc=True, calculator=argon())
            yield atoms.get_forces()

    made.forces = list(forces(made.supercells_with_displacements))
    made.phonon_forces = list(forces(made.phonon_supercells_with_displacements))
    made.produce_fc3()
    made.symmetrize_fc3()
    made.produce_fc2()
    made.symmetrize_fc2()
    made.mesh_numbers = 12.0
    made.init_phph_interaction(average_degenerate_weights=True)
    made.run_thermal_conductivity(temperatures=[300.0])
    assert found.value(CONDUCTIVITY, 300.0).value == pytest.approx(made.thermal_conductivity.kappa[0, 0, 0], rel=1e-6)


def test_at_high_temperature_it_falls_as_one_over_temperature(tmp_path):
    found = ThermalConductivity(**SMALL, temperatures=(500.0, 1000.0, 2000.0)).measure(ARGON, Work(tmp_path))
    half, one, two = (t * found.value(CONDUCTIVITY, t).value for t in (500.0, 1000.0, 2000.0))
    assert half == pytest.approx(one, rel=0.02)
    assert two == pytest.approx(one, rel=0.005)


def test_atoms_far_apart_need_not_be_displaced_together(tmp_path):
    near, every = (ThermalConductivity(**SMALL, pairs=pairs) for pairs in (4.0, None))
    assert len(near.frames(ARGON)) < len(every.frames(ARGON))
    values = [asked.measure(ARGON, Work(tmp_path)).value(CONDUCTIVITY, 300.0).value for asked in (near, every)]
    assert values[0] == pytest.approx(values[1], rel=0.2)


def test_a_hexagonal_crystal_conducts_differently_along_its_axis(tmp_path):
    """The mean is that of the three axes; the two in the plane are alike."""
    made = bulk("Ar", "hcp", a=3.73, c=6.09)
    crystal = Frame(("Ar", "Ar"), made.cell.array, made.positions)
    asked = ThermalConductivity(supercell=(3, 3, 2), pairs=4.0, mesh=12.0, phonons=Phonons(supercell=(3, 3, 2)))
    found = asked.measure(Subject(ARGON.ensemble, "hcp-Ar", crystal), Work(tmp_path))
    assert not found.failure
    x, y, z = (found.value(CONDUCTIVITY, 300.0, axis).value for axis in ("xx", "yy", "zz"))
    assert x == pytest.approx(y, rel=1e-3)
    assert z != pytest.approx(x, rel=0.02)
    assert found.value(CONDUCTIVITY, 300.0).value == pytest.approx((x + y + z) / 3.0)


def test_waves_of_a_layered_magnet_are_those_of_its_magnetic_cell():
    """Two atoms, and no more symmetry than the supercell has."""
    cubic = fcc(3.6, "Fe")
    layers = Frame(cubic.species, cubic.cell, cubic.positions, np.where(cubic.positions[:, 2] > 0.1, -2.0, 2.0))
    made = thermal_conductivity.phono3py_of(layers, (2, 2, 2), (3, 3, 3))
    assert len(made.primitive) == 2
    operations = [len(s.pointgroup_operations) for s in (made.primitive_symmetry, made.symmetry)]
    assert operations == [16, 16]
    perfect = thermal_conductivity.displaced_pairs(made, layers, 0.03, 3.0)[0]
    np.testing.assert_allclose(collinear(perfect.magmoms), made.supercell.magnetic_moments)


def test_moments_that_follow_give_another_answer(tmp_path):
    iron = IRON.ensemble, "bcc-Fe", IRON.frame
    found = [ThermalConductivity(**SMALL).measure(Subject(*iron, m), Work(tmp_path)) for m in (RELAXED, CLAMPED)]
    assert [f.remarks[0].split(":")[0] for f in found] == ["moments relaxed", "moments clamped"]
    relaxed, clamped = (f.value(CONDUCTIVITY, 300.0).value for f in found)
    assert relaxed != pytest.approx(clamped, rel=1e-3)


def test_imaginary_modes_carry_no_heat(tmp_path):
    simple = Frame(("Fe",), 2.4 * np.eye(3), np.zeros((1, 3)), [2.2])
    asked = ThermalConductivity(**SMALL | {"supercell": (3, 3, 3), "phonons": Phonons(supercell=(3, 3, 3), mesh=20.0)})
    found = asked.measure(Subject(IRON.ensemble, "sc-Fe", simple, CLAMPED), Work(tmp_path))
    assert "imaginary modes carry no heat" in found.failure and "at q = (" in found.failure


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temperatures": (0.0,)}, "temperatures are above 0 K"),
        ({"supercell": (1, 1, 1)}, r"supercell is 2\.84 A wide, less than the cutoff"),
        ({"phonons": Phonons(mode=Mode.ADIABATIC)}, "clamped and relaxed"),
    ],
)
def test_refuses(settings, said, tmp_path):
    with pytest.raises(InputError, match=said):
        ThermalConductivity(**settings).measure(IRON, Work(tmp_path))


def test_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("magflow.properties.third_order.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"phono3py is not installed: pip install 'magflow\[conductivity\]'"):
        ThermalConductivity().measure(IRON, Work(tmp_path))


def test_is_measured_only_where_it_is_named():
    assert "thermal-conductivity" not in usual()
    assert "phonons" in usual()
