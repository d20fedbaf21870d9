"""What users of other programs have reported, rewritten small; the number and title are those of the collection.

The rule behind all of them: what stands in a file is read, or named as left out with a count, or refused.
"""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import write as ase_write
from foreign import FORCES, VOLUME, cfg, convert, convert_text, deepmd, xyz
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from typer.testing import CliRunner

from magflow.cli.app import app
from magflow.core.label import LabelKind
from magflow.errors import InputError
from magflow.io.configuration import read_configuration
from magflow.io.structure import from_structure

MOMENTS = ("0 0 2.3", "0 0 -2.1")
WITH_FORCES = (FORCES[0], FORCES[1])


def both(*columns: tuple[str, str]) -> tuple[str, str]:
    return tuple(" ".join(words) for words in zip(*columns, strict=True))


def train(path, *options):
    result = CliRunner().invoke(app, ["train", str(path), "-o", str(path.parent / "pot"), "--members", "1", *options])
    return result.exit_code, " ".join(result.output.split())


def test_01_nep_spin_columns(tmp_path):
    text = xyz(columns=":spin:R:3:force:R:3:mforce:R:3", rows=both(MOMENTS, FORCES, ("0 0 0.1", "0 0 0.2")))
    outcome = convert_text(tmp_path, text)
    label = outcome.label
    assert label.magmoms[:, 2].tolist() == [2.3, -2.1]
    assert label.magnetic_forces[:, 2].tolist() == [0.1, 0.2]
    assert label.level_of_theory.kind is LabelKind.CONSTRAINED
    assert outcome.says("spin", "mforce", "1 frame")


def test_02_magmom_column(tmp_path):
    outcome = convert_text(tmp_path, xyz(columns=":magmom:R:1:forces:R:3", rows=both(("2.3", "-2.1"), FORCES)))
    assert outcome.label.magmoms[:, 2].tolist() == [2.3, -2.1]
    assert outcome.says("magmoms from the column magmom")


def test_03_ref_keys(tmp_path):
    stress = "0.01 0 0 0 0.01 0 0 0 0.01"
    text = xyz(f'REF_energy=-16.5 REF_stress="{stress}"', ":REF_forces:R:3", FORCES)
    label = convert_text(tmp_path, text).label
    assert label.energy == -16.5 and label.forces[0, 2] == 0.3 and label.stress[0] == 0.01


def test_03_a_key_nobody_knows_is_named_with_the_way_to_tell_it(tmp_path):
    outcome = convert_text(tmp_path, xyz("my_total_e=-16.5"))
    assert outcome.code == 2 and outcome.says("--keys energy=NAME", "my_total_e")
    assert not outcome.says("magflow status")
    assert convert_text(tmp_path, xyz("my_total_e=-16.5"), "--keys", "energy=my_total_e").label.energy == -16.5


def test_04_foreign_force_key(tmp_path):
    path = tmp_path / "dft.xyz"
    path.write_text(xyz('energy=-16.5 virials="-0.2 0 0 0 -0.2 0 0 0 -0.2"', ":dft_forces:R:3", FORCES))
    code, told = train(path)
    assert code == 2 and "dft_forces" in told and "virials" in told and "--virial-sign" in told
    label = convert(path, "--virial-sign", -1).label
    assert label.forces[0, 0] == 0.1 and label.stress[0] == pytest.approx(0.2 / VOLUME)


@pytest.mark.parametrize("sign", [-1, 1])
def test_05_virial_sign_cli(tmp_path, sign):
    text = xyz('energy=-16.5 virial="-0.2 0 0 0 -0.2 0 0 0 -0.2"')
    assert convert_text(tmp_path, text).code == 2
    assert convert_text(tmp_path, text, "--virial-sign", sign).label.stress[0] == pytest.approx(-sign * 0.2 / VOLUME)


def test_06_stress_virial_disagree(tmp_path):
    stress, virial = 'stress="0.01 0 0 0 0.01 0 0 0 0.01"', 'virial="{0} 0 0 0 {0} 0 0 0 {0}"'
    outcome = convert_text(tmp_path, xyz(f"energy=-16.5 {stress} {virial.format(0.9)}"))
    assert outcome.code == 2 and outcome.says("virial", "contradict")
    agreeing = xyz(f"energy=-16.5 {stress} {virial.format(-0.01 * VOLUME)}")
    assert convert_text(tmp_path, agreeing).label.stress[0] == 0.01
    chosen = convert_text(tmp_path, xyz(f"energy=-16.5 {stress} {virial.format(0.9)}"), "--keys", "virial=none")
    assert chosen.label.stress[0] == 0.01 and chosen.says("left out", "virial")


def test_07_stress_voigt6(tmp_path):
    label = convert_text(tmp_path, xyz('energy=-16.5 stress="1 2 3 4 5 6"')).label
    assert label.stress.tolist() == [1, 2, 3, 4, 5, 6]


def test_09_isolated_atom(tmp_path):
    keys = 'energy=-3.1 config_type=IsolatedAtom pbc="F F F"'
    atom = f"1\nProperties=species:S:1:pos:R:3:forces:R:3 {keys}\nFe 0 0 0 0 0 0\n"
    outcome = convert_text(tmp_path, atom + xyz())
    assert outcome.label.energy == -16.5 and outcome.says("left out", "not periodic", "1 frame")
    alone = convert_text(tmp_path, atom)
    assert alone.code == 2 and alone.says("not periodic")


def test_11_lattice_new_style(tmp_path):
    """Rows of the matrix are the cell vectors."""
    outcome = convert_text(tmp_path, xyz(cell="Lattice=[[2.9,0.1,0],[0,2.9,0],[0,0,2.9]]"))
    assert outcome.records[0].frame.cell[0].tolist() == [2.9, 0.1, 0]


def test_12_ase_constraints(tmp_path):
    atoms = bulk("Fe", "bcc", a=2.87, cubic=True)
    atoms.set_constraint(FixAtoms([0]))
    atoms.set_initial_magnetic_moments([3.0, 3.0])
    forces = np.array([[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]])
    atoms.calc = SinglePointCalculator(
        atoms, energy=-16.5, free_energy=-16.6, forces=forces, magmoms=np.array([2.2, 2.1])
    )
    ase_write(tmp_path / "a.extxyz", atoms)
    label = convert(tmp_path / "a.extxyz").label
    assert label.energy == -16.6 and label.magmoms[:, 2].tolist() == [2.2, 2.1]
    np.testing.assert_allclose(label.forces, forces)


def test_13_same_geometry_other_energy(tmp_path):
    text = xyz("energy=-16.5 config_type=k444") + xyz("energy=-12.0 config_type=k666")
    outcome = convert_text(tmp_path, text)
    assert [r.label.energy for r in outcome.records] == [-16.5, -12.0]
    assert outcome.says("two labels of the same frame disagree", "frame 1 and", "frame 2 (", "-12.0", "suspicious")
    code, told = train(tmp_path / "in.xyz")
    assert code == 2 and "two labels of one frame disagree" in told
    once = convert_text(tmp_path, xyz() + xyz())
    assert len(once.records) == 1 and once.says("stands there twice")


def test_14_initial_is_not_achieved(tmp_path):
    outcome = convert_text(tmp_path, xyz(columns=":initial_magmoms:R:1", rows=("2.3", "2.1")))
    assert outcome.says("initial_magmoms", "no result", "unknown")
    (record,) = outcome.records
    assert record.label.level_of_theory.kind is LabelKind.SPIN_POLARISED
    assert record.label.magmoms is None and record.configuration.magmoms is None
    assert record.columns["initial_magmoms"].tolist() == [2.3, 2.1]


def test_14_a_guess_is_a_guess_in_every_container(tmp_path):
    atoms = bulk("Fe", "bcc", a=2.85, cubic=True)
    atoms.set_initial_magnetic_moments([3.0, 3.0])
    atoms.calc = SinglePointCalculator(atoms, energy=-16.5)
    for name in ("a.traj", "a.db", "a.json", "a.extxyz"):
        ase_write(tmp_path / name, atoms)
        outcome = convert(tmp_path / name, out=f"{name}.extxyz")
        assert outcome.label.magmoms is None and outcome.records[0].configuration.magmoms is None
        assert outcome.says("initial_magmoms")


def test_16_info_lost_on_convert(tmp_path):
    text = xyz("energy=-16.5 config_type=k444 config_weight=2.5")
    assert convert_text(tmp_path, text).records[0].info == {"config_type": "k444", "config_weight": 2.5}
    assert convert(tmp_path / "in.xyz", out="npy").says("left out", "config_type", "config_weight", "1 frame")


def test_17_pbc_dropped_by_ase_formats(tmp_path):
    atoms = bulk("Fe", "bcc", a=2.85, cubic=True)
    atoms.pbc = [True, True, False]
    for name in ("x.traj", "x.json", "x.db", "x.extxyz"):
        ase_write(tmp_path / name, atoms)
        with pytest.raises(InputError, match="not periodic"):
            read_configuration(tmp_path / name)


def test_20_deepmd_mixed_type(tmp_path):
    real = np.array([[0, 1], [1, 1], [1, 0]])
    deepmd(tmp_path / "data" / "2", frames=3, types="0 0", real_atom_types=real)
    outcome = convert(tmp_path / "data")
    assert [r.frame.formula for r in outcome.records] == ["Al1Fe1", "Al2", "Al1Fe1"]
    assert [r.frame.species for r in outcome.records][::2] == [("Fe", "Al"), ("Al", "Fe")]


def test_21_deepmd_nested(tmp_path):
    deepmd(tmp_path / "data" / "sys.000", frames=3)
    deepmd(tmp_path / "data" / "iter1" / "sys.001", frames=2, energy=np.array([[-1.0], [-2.0]]))
    deepmd(tmp_path / "data" / "sys.000" / "inner", frames=1, energy=np.array([[-3.0]]), types="0 0")
    assert sorted(r.label.energy for r in convert(tmp_path / "data").records) == [-18.5, -17.5, -16.5, -3, -2, -1]


def test_24_deepmd_spin_bit_for_bit(tmp_path):
    rng = np.random.default_rng(1)
    given = {name: rng.normal(size=(2, 6)) for name in ("force", "spin", "force_mag", "coord")}
    system = deepmd(tmp_path / "data", frames=2, **given)
    convert(system, out="a.extxyz")
    convert(tmp_path / "a.extxyz", "--elements", "Fe,Al", out="npy")
    (back,) = (tmp_path / "npy").glob("*/set.000")
    for name, values in given.items():
        assert np.array_equal(np.load(back / f"{name}.npy"), values)


def test_25_deepmd_nopbc(tmp_path):
    (deepmd(tmp_path / "data" / "a") / "nopbc").touch()
    outcome = convert(tmp_path / "data")
    assert outcome.code == 2 and outcome.says("nopbc", "not periodic")
    deepmd(tmp_path / "data" / "b", frames=2)
    outcome = convert(tmp_path / "data")
    assert len(outcome.records) == 2 and outcome.says("left out", "1 frame")


def test_27_dpdata_finds_what_it_looks_for(tmp_path):
    """The files and shapes dpdata's deepmd/npy reader takes: one set, flat rows, energies a column."""
    convert_text(
        tmp_path, xyz(columns=":magmoms:R:3:forces:R:3:magnetic_forces:R:3", rows=both(MOMENTS, FORCES, FORCES))
    )
    assert convert(tmp_path / "in.xyz", out="npy").code == 0
    (system,) = (tmp_path / "npy").iterdir()
    assert {p.name: np.load(p).shape for p in (system / "set.000").iterdir()} == {
        "box.npy": (1, 9),
        "coord.npy": (1, 6),
        "energy.npy": (1, 1),
        "force.npy": (1, 6),
        "spin.npy": (1, 6),
        "force_mag.npy": (1, 6),
    }


def test_29_deepmd_raw_only(tmp_path):
    deepmd(tmp_path / "data", frames=3, form="raw", force=np.ones((3, 6)))
    outcome = convert(tmp_path / "data")
    assert len(outcome.records) == 3 and outcome.records[2].label.forces[0, 0] == 1


def test_30_cfg_round_trip(tmp_path):
    rows = both(FORCES, ("2.3 0 0", "-2.1 0 0"))
    stress = " PlusStress:  xx yy zz yz xz xy\n  1 2 3 4 5 6\n"
    text = cfg("fx fy fz magmom_x magmom_y magmom_z", rows, more=" Energy\n  -16.5\n" + stress)
    label = convert_text(tmp_path, text, "--elements", "Fe,Al", name="in.cfg").label
    np.testing.assert_allclose(label.stress, -np.arange(1, 7) / VOLUME)
    assert label.magmoms[:, 2].tolist() == [2.3, -2.1]
    convert(tmp_path / "out.extxyz", "--elements", "Fe,Al", out="back.cfg")
    again = convert(tmp_path / "back.cfg", "--elements", "Fe,Al", out="again.extxyz").label
    assert again.label_id == label.label_id and np.array_equal(again.forces, label.forces)


def test_31_cfg_direct_coordinates(tmp_path):
    text = cfg().replace("cartes_", "direct_").replace("1.45 1.45 1.5", "0.5 0.25 0.75")
    outcome = convert_text(tmp_path, text, "--elements", "Fe,Al", name="in.cfg")
    np.testing.assert_allclose(outcome.records[0].frame.positions[1], [1.45, 0.725, 2.175])


def test_34_cfg_no_supercell(tmp_path):
    free = cfg().replace(" Supercell\n  2.9 0 0\n  0 2.9 0\n  0 0 2.9\n", "")
    alone = convert_text(tmp_path, free, "--elements", "Fe,Al", name="in.cfg")
    assert alone.code == 2 and alone.says("Supercell is missing")
    outcome = convert_text(tmp_path, free + cfg(), "--elements", "Fe,Al", name="in.cfg")
    assert outcome.code == 0 and outcome.says("left out", "Supercell", "1 frame")


def test_35_element_order_on_output(tmp_path):
    (tmp_path / "in.xyz").write_text(xyz().replace("Fe 1.45", "Al 1.45"))
    assert convert(tmp_path / "in.xyz", "--elements", "Fe,Al", out="o.cfg").says("type 0 = Fe")
    assert " 1 0 0.0" in (tmp_path / "o.cfg").read_text()
    convert(tmp_path / "in.xyz", "--elements", "Fe,Al", out="npy")
    (names,) = (tmp_path / "npy").glob("*/type_map.raw")
    assert names.read_text().split() == ["Fe", "Al"]
    refused = convert(tmp_path / "in.xyz", "--elements", "Fe,Al")
    assert refused.code == 2 and refused.says("--elements", "means nothing")


@pytest.mark.parametrize("name", ["o.extxzy", "o.json", "o.traj", "o.hdf5", "o.npy", "o.xyz.gz"])
def test_37_unknown_output_suffix(tmp_path, name):
    (tmp_path / "in.xyz").write_text(xyz())
    outcome = convert(tmp_path / "in.xyz", out=name)
    assert outcome.code == 2 and outcome.says(".extxyz", ".cfg", "folder") and not (tmp_path / name).exists()


def test_61_pymatgen_other_moment_names():
    atoms = bulk("Fe", "bcc", a=2.85, cubic=True)
    atoms.set_initial_magnetic_moments(None)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, magmoms=np.array([2.2, 2.3]))
    assert from_structure(AseAtomsAdaptor.get_structure(atoms)).magmoms[:, 2].tolist() == [2.2, 2.3]
    plain = Structure(Lattice.cubic(2.9), ["Fe"] * 2, [[0, 0, 0], [0.5] * 3])
    plain.add_site_property("magnetic_moments", [2.0, 2.1])
    assert from_structure(plain).magmoms[:, 2].tolist() == [2.0, 2.1]


def test_62_poscar_dialects(tmp_path):
    cell = "2.85 0 0\n0 2.85 0\n0 0 2.85\n"
    texts = {
        "hash": f"x\n1.0\n{cell}Fe/abc123\n2\nDirect\n0 0 0\n.5 .5 .5\n",
        "pv": f"x\n1.0\n{cell}Fe_pv\n2\nDirect\n0 0 0\n.5 .5 .5\n",
        "v4": "Fe\n-23.149125\n1 0 0\n0 1 0\n0 0 1\n2\nSelective dynamics\nDirect\n0 0 0 T T F\n.5 .5 .5 T T T\n",
        "velocities": f"x\n1.0\n{cell}Fe Fe\n1 1\nDirect\n0 0 0\n.5 .5 .5\n\n0.0 0.0 0.0\n0.0 0.0 0.0\n",
        "cartesian": f"x\n1.0\n{cell}Fe\n2\nCartesian\n0 0 0 Fe\n1.425 1.425 1.425 Fe\n",
    }
    for name, text in texts.items():
        path = tmp_path / f"POSCAR_{name}"
        path.write_text(text)
        frame = read_configuration(path)
        assert frame.formula == "Fe2" and frame.volume == pytest.approx(23.149125, abs=1e-5)
        assert frame.positions[1, 0] == pytest.approx(1.425, abs=1e-6)


def test_63_gz_and_bom(tmp_path):
    text = xyz()
    variants = {
        "bom.xyz": b"\xef\xbb\xbf" + text.encode(),
        "packed.xyz.gz": gzip.compress(text.encode()),
        "crlf.xyz": text.replace("\n", "\r\n").encode(),
        "blank.xyz": (text + "\n\n").encode(),
    }
    for name, data in variants.items():
        (tmp_path / name).write_bytes(data)
        assert convert(tmp_path / name, out=f"{name}.extxyz").label.energy == -16.5


def test_64_some_frames_without_moments(tmp_path):
    path = tmp_path / "mixed.xyz"
    path.write_text(xyz() + xyz("energy=-16.0", ":magmoms:R:1", ("2.2", "2.3")))
    code, told = train(path)
    assert code == 2 and "--mixed" in told


def test_66_train_names_the_format(tmp_path):
    (tmp_path / "mag.cfg").write_text(cfg())
    code, told = train(tmp_path / "mag.cfg")
    assert code == 2 and "magflow convert" in told
    deepmd(tmp_path / "npy", frames=2, force=np.zeros((2, 6)))
    _, told = train(tmp_path / "npy", "--set", "level=2", "--set", "max_iterations=1")
    assert "magflow convert" in told and "Traceback" not in told


def test_67_import_dft_output(tmp_path):
    """A run has to be whole; what a whole one gives is tested with the readers of DFT codes."""
    outcome = convert_text(tmp_path, " vasp.5.4.4.18Apr17 (build) complex\n", name="f")
    assert outcome.code == 2 and outcome.says("OUTCAR holds no finished step")


def test_80_ase_round_trip(tmp_path):
    """magflow writes, ASE reads and writes, magflow reads: vectors and NaN come back."""
    from ase.io import read as ase_read

    rows = both(("1.0 0 2.1", "0 0 -0.1"), FORCES, ("0.1 0 0.2", "nan nan nan"))
    convert_text(tmp_path, xyz(columns=":magmoms:R:3:forces:R:3:magnetic_forces:R:3", rows=rows))
    ase_write(tmp_path / "through.xyz", ase_read(tmp_path / "out.extxyz"), format="extxyz")
    label = convert(tmp_path / "through.xyz", out="b.extxyz").label
    assert label.magmoms[0].tolist() == [1.0, 0, 2.1]
    np.testing.assert_array_equal(label.magnetic_forces, [[0.1, 0, 0.2], [np.nan] * 3])


def test_82_motep_reads_export(tmp_path):
    motep = pytest.importorskip("motep.io.mlip.cfg")
    text = xyz(columns=":magmoms:R:1:forces:R:3", rows=both(("2.1", "-0.1"), FORCES)).replace("Fe 1.45", "Al 1.45")
    convert_text(tmp_path, text)
    convert(tmp_path / "in.xyz", out="o.cfg")
    atoms = motep.read_cfg(tmp_path / "o.cfg")
    results = (atoms[0] if isinstance(atoms, list) else atoms).calc.results
    assert results["energy"] == -16.5 and np.allclose(results["magmoms"], [2.1, -0.1])
    assert isinstance(atoms, list | Atoms)
