"""More instances of the ten classes of fault that ``test_reported.py`` has one or two of each.

K1 a quantity under a name the reader does not know; K2 something has to be told; K3 two statements contradict each
other or a number is impossible; K4 a guess is taken for a result; K5 periodicity; K6 part of the input is left out; K7
an option or an ending that does not apply; K8 legal spellings; K9 a setting changes what a number means (see
``tests/unit/dft/test_outputs_of_others.py``); K10 the message sends the user the wrong way.
"""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write as ase_write
from foreign import FORCES, cfg, convert, convert_text, deepmd, xyz
from typer.testing import CliRunner

from magflow.cli.app import app
from magflow.core.label import LabelKind
from magflow.io.ase_atoms import from_atoms

SCALARS = ("2.3", "-2.1")
TRIPLES = ("0 0 2.3", "0 0 -2.1")


def columns(name: str, rows: tuple[str, str], kind: str = "R") -> tuple[str, tuple[str, str]]:
    return f":{name}:{kind}:{len(rows[0].split())}", rows


# K1: names


@pytest.mark.parametrize(
    "name",
    [
        *(
            "magmoms",
            "magmom",
            "Magmom",
            "MAGMOMS",
            "spin",
            "spins",
            "magnetic_moments",
            "magnetic_moment",
            "mag_moments",
        ),
        *("final_magmom", "REF_magmoms", "dft_magmom", "DFT_magnetic_moments", "ref_spin", "vasp_magmoms"),
    ],
)
@pytest.mark.parametrize("rows", [SCALARS, TRIPLES], ids=["collinear", "vectors"])
def test_k1_moments_by_any_name(tmp_path, name, rows):
    outcome = convert_text(tmp_path, xyz("energy=-16.5", *columns(name, rows)))
    assert outcome.label.magmoms[:, 2].tolist() == [2.3, -2.1]
    assert outcome.label.level_of_theory.kind is LabelKind.SPIN_POLARISED
    assert name == "magmoms" or outcome.says(f"magmoms from the column {name}")


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        *(
            (n, 1)
            for n in ("mforce", "magnetic_force", "force_mag", "mag_force", "mag_forces", "magforces", "dft_mforce")
        ),
        *((n, -1) for n in ("mgrad", "mag_grad", "magnetic_gradients", "REF_mgrad")),
    ],
)
def test_k1_magnetic_forces_by_any_name(tmp_path, name, sign):
    text = xyz("energy=-16.5", f":magmoms:R:3:{name}:R:3", ("0 0 2.3 0 0 0.1", "0 0 -2.1 0 0 0.2"))
    assert convert_text(tmp_path, text).label.magnetic_forces[:, 2].tolist() == [sign * 0.1, sign * 0.2]


@pytest.mark.parametrize(
    ("name", "sign"), [("force", 1), ("REF_forces", 1), ("DFT_force", 1), ("qm_forces", 1), ("gradient", -1)]
)
def test_k1_forces_by_any_name(tmp_path, name, sign):
    label = convert_text(tmp_path, xyz("energy=-16.5", *columns(name, FORCES))).label
    assert label.forces[0].tolist() == [sign * 0.1, sign * 0.2, sign * 0.3]


@pytest.mark.parametrize(
    "name", ["Energy", "potential_energy", "total_energy", "REF_energy", "dft_energy", "etot", "pbe_energy"]
)
def test_k1_energies_by_any_name(tmp_path, name):
    assert convert_text(tmp_path, xyz(f"{name}=-16.5")).label.energy == -16.5


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("energy_per_atom", "energy"),
        ("atomization_energy", "energy"),
        ("stress_GPa", "stress"),
        ("source_stress_kB", "stress"),
        ("virial_stress", "stress"),
        ("total_magnetization", "magmoms"),
        ("pressure", "stress"),
    ],
)
def test_k1_what_resembles_a_quantity_is_named_and_not_read(tmp_path, name, like):
    outcome = convert_text(tmp_path, xyz(f"energy=-16.5 {name}=3.5"))
    assert outcome.label.energy == -16.5 and outcome.label.stress is None
    assert outcome.says(name, f"resembles {like}", "1 frame") and outcome.records[0].info[name] == 3.5


@pytest.mark.parametrize("name", ["mace_energy", "nep_energy", "pred_energy", "MACE_forces"])
def test_k1_predictions_are_no_labels(tmp_path, name):
    outcome = convert_text(tmp_path, xyz(f"energy=-16.5 {name}=-3"))
    assert outcome.label.energy == -16.5 and outcome.says(name, "prediction")
    alone = convert_text(tmp_path, xyz(f"{name}=-3"))
    assert alone.code == 2 and alone.says(name)


@pytest.mark.parametrize(
    ("file", "quantity"), [("spins", "magmoms"), ("forces", "forces"), ("mforce", "magnetic_forces")]
)
def test_k1_files_of_deepmd_by_other_names(tmp_path, file, quantity):
    outcome = convert(
        deepmd(tmp_path / "data", spin=np.ones((1, 6)) if file == "mforce" else None, **{file: np.ones((1, 6))})
    )
    assert np.array_equal(getattr(outcome.label, quantity), np.ones((2, 3))) and outcome.says(f"{file}.npy")


@pytest.mark.parametrize("file", ["atom_ener", "fparam", "aparam", "dipole", "magnetization"])
def test_k1_files_of_deepmd_nobody_knows_are_named(tmp_path, file):
    outcome = convert(deepmd(tmp_path / "data", **{file: np.ones((1, 2))}), "--elements", "Fe,Al", out="o.cfg")
    findings = CliRunner().invoke(app, ["import", str(tmp_path / "data"), "--json"]).stdout
    assert outcome.code == 0 and f"{file}.npy" in findings


def test_k1_moments_in_ase_atoms_by_any_name():
    atoms = Atoms("Fe2", positions=[[0, 0, 0], [1.4, 1.4, 1.4]], cell=[2.8] * 3, pbc=True)
    atoms.info["REF_energy"] = -16.5
    atoms.new_array("REF_forces", np.ones((2, 3)))
    atoms.new_array("dft_magmom", np.array([2.0, 2.1]))
    label = from_atoms(atoms).label
    assert (label.energy, label.forces[0, 0], label.magmoms[1, 2]) == (-16.5, 1, 2.1)


# K2: what has to be told can be told


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("GPa", 1 / 160.21766208),
        ("kB", 0.1 / 160.21766208),
        ("-kB", -0.1 / 160.21766208),
        ("eV/A3", 1.0),
        ("-eV/A3", -1.0),
    ],
)
def test_k2_units_and_signs_of_a_stress(tmp_path, unit, factor):
    text = xyz('energy=-16.5 s="10 0 0 0 10 0 0 0 10"')
    assert convert_text(tmp_path, text, "--keys", f"stress=s@{unit}").label.stress[0] == pytest.approx(10 * factor)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("energy", "QUANTITY=NAME"),
        ("speed=v", "QUANTITY=NAME"),
        ("energy=a,energy=b", "given twice"),
        ("forces=f@GPa", "not a unit"),
        ("energy=absent", "absent"),
    ],
)
def test_k2_keys_that_cannot_be_meant(tmp_path, keys, message):
    outcome = convert_text(tmp_path, xyz(), "--keys", keys)
    assert outcome.code == 2 and outcome.says(message, "--keys")


def test_k2_hartree(tmp_path):
    text = xyz("energy=-1", *columns("forces", FORCES))
    label = convert_text(tmp_path, text, "--keys", "energy=energy@Ha,forces=forces@Ha/bohr").label
    assert label.energy == pytest.approx(-27.211386) and label.forces[0, 0] == pytest.approx(5.1422067)


def test_k2_the_sign_of_en_der_m(tmp_path):
    text = cfg("magmom_x magmom_y magmom_z en_der_mx en_der_my en_der_mz", ("2 0 0 0.1 0 0", "-2 0 0 0.2 0 0"))
    untold = convert_text(tmp_path, text, "--elements", "Fe,Al", name="in.cfg")
    assert untold.code == 2 and untold.says("--en-der-sign")
    for sign in (1, -1):
        told = convert_text(tmp_path, text, "--elements", "Fe,Al", "--en-der-sign", sign, name="in.cfg")
        assert told.label.magnetic_forces[0, 2] == -sign * 0.1


# K3: contradictions and impossible numbers


@pytest.mark.parametrize(
    ("keys", "extra", "rows"),
    [
        ("energy=-16.5 REF_energy=-16.0", "", ("", "")),
        ("energy=-16.5 total_energy=-1.0", "", ("", "")),
        ("energy=-16.5", ":forces:R:3:dft_forces:R:3", ("1 1 1 2 2 2", "0 0 0 0 0 0")),
        ("energy=-16.5", ":magmoms:R:1:spin:R:3", ("2.3 0 0 2.2", "2.1 0 0 2.1")),
        ("energy=-16.5", ":Z:I:1", ("26", "13")),
        ('energy=-16.5 stress="1 2 0 0 1 0 0 0 1"', "", ("", "")),
        ('energy=-16.5 stress="1 0 0 0 1 0 0 0 1" virial="1 0 0 0 1 0 0 0 1"', "", ("", "")),
    ],
)
def test_k3_two_statements_that_contradict_each_other(tmp_path, keys, extra, rows):
    outcome = convert_text(tmp_path, xyz(keys, extra, rows))
    assert outcome.code == 2 and outcome.says("frame 1")


@pytest.mark.parametrize("name", ["energy", "REF_energy"])
def test_k3_a_user_says_which_is_meant(tmp_path, name):
    outcome = convert_text(tmp_path, xyz("energy=-16.5 REF_energy=-16.0"), "--keys", f"energy={name}")
    assert outcome.label.energy == {"energy": -16.5, "REF_energy": -16.0}[name] and outcome.says("left out")


def test_k3_equal_statements_agree(tmp_path):
    text = xyz("energy=-16.5 REF_energy=-16.50000001", ":forces:R:3:force:R:3", ("1 1 1 1 1 1", "0 0 0 0 0 0"))
    assert convert_text(tmp_path, text).label.energy == -16.5


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "1e999"])
@pytest.mark.parametrize("what", ["energy", "forces", "magmoms", "stress"])
def test_k3_numbers_that_are_none(tmp_path, what, word):
    keys = f"energy={word}" if what == "energy" else "energy=-16.5"
    keys += f' stress="{word} 0 0 0 0 0"' if what == "stress" else ""
    extra = (f":{what}:R:3", (f"{word} 0 0", "0 0 0")) if what in ("forces", "magmoms") else ()
    outcome = convert_text(tmp_path, xyz(keys, *extra))
    assert outcome.code == 2 and outcome.says("finite")


@pytest.mark.parametrize("kind", ["energy", "forces", "stress", "magnetic_forces"])
def test_k3_two_labels_of_one_frame(tmp_path, kind):
    """Whatever they disagree about; M and -M are one frame."""
    keys = {"energy": "energy=-16.4", "stress": 'energy=-16.5 stress="1 0 0 0 0 0"'}.get(kind, "energy=-16.5")
    forces = "1 0 0" if kind == "forces" else "0 0 0"
    extra = ":magmoms:R:1:forces:R:3:magnetic_forces:R:1"
    first = xyz('energy=-16.5 stress="0 0 0 0 0 0"', extra, ("2.3 0 0 0 0.1", "2.1 0 0 0 0.1"))
    field = "-0.3" if kind == "magnetic_forces" else "-0.1"
    keys = keys if "stress" in keys else f'{keys} stress="0 0 0 0 0 0"'
    second = xyz(keys, extra, (f"-2.3 {forces} {field}", "-2.1 0 0 0 -0.1"))
    outcome = convert_text(tmp_path, first + second)
    assert len(outcome.records) == 2 and outcome.says("two labels of the same frame disagree", kind)
    reversed_copy = xyz('energy=-16.5 stress="0 0 0 0 0 0"', extra, ("-2.3 0 0 0 -0.1", "-2.1 0 0 0 -0.1"))
    assert len(convert_text(tmp_path, first + reversed_copy).records) == 1


# K4: guesses


@pytest.mark.parametrize("name", ["initial_magmoms", "initial_magmom", "init_magmoms", "target_magmoms"])
def test_k4_no_moment_of_the_start_is_a_result(tmp_path, name):
    outcome = convert_text(tmp_path, xyz("energy=-16.5", *columns(name, SCALARS)))
    (record,) = outcome.records
    assert record.label.level_of_theory.kind is LabelKind.SPIN_POLARISED
    assert record.configuration.magmoms is None and outcome.says("unknown")
    house = "target_magmoms" if name.startswith("target") else "initial_magmoms"
    assert record.columns[house].tolist() == [2.3, -2.1]


def test_k4_a_guess_beside_the_result(tmp_path):
    text = xyz("energy=-16.5", ":initial_magmoms:R:1:magmoms:R:1", ("3.0 2.3", "3.0 2.1"))
    (record,) = convert_text(tmp_path, text).records
    assert record.frame.magmoms[:, 2].tolist() == record.label.magmoms[:, 2].tolist() == [2.3, 2.1]


def test_k4_unknown_and_known_moments_are_not_one_level(tmp_path):
    guess, known = (
        xyz("energy=-16", *columns("initial_magmoms", SCALARS)),
        xyz("energy=-16.5", *columns("magmoms", SCALARS)),
    )
    (tmp_path / "in.xyz").write_text(guess + known)
    told = CliRunner().invoke(app, ["train", str(tmp_path / "in.xyz"), "-o", str(tmp_path / "p")]).output
    assert "levels of theory" in " ".join(told.split())


@pytest.mark.parametrize("ending", ["traj", "db", "json", "extxyz"])
def test_k4_the_container_does_not_decide(tmp_path, ending):
    atoms = Atoms("Fe2", positions=[[0, 0, 0], [1.4, 1.4, 1.4]], cell=[2.8] * 3, pbc=True, magmoms=[3.0, 3.0])
    atoms.calc = SinglePointCalculator(atoms, energy=-16.5, magmoms=np.array([2.3, 2.1]))
    ase_write(tmp_path / f"a.{ending}", atoms)
    (record,) = convert(tmp_path / f"a.{ending}").records
    assert record.frame.magmoms[:, 2].tolist() == [2.3, 2.1] and record.columns["initial_magmoms"].tolist() == [3, 3]


# K5: periodicity


@pytest.mark.parametrize("pbc", ['pbc="T T F"', 'pbc="F F F"', "pbc=F", 'PBC="1 1 0"', "pbc=[T, F, T]", 'pbc="0 0 0"'])
def test_k5_frames_that_are_not_periodic_are_left_out(tmp_path, pbc):
    outcome = convert_text(tmp_path, xyz(f"energy=-1 {pbc}") + xyz())
    assert outcome.label.energy == -16.5 and outcome.says("left out", "not periodic", "1 frame", "frame 1")


@pytest.mark.parametrize("pbc", ['pbc="T T T"', "pbc=T", 'PBC="1 1 1"', "pbc=[True, True, True]", ""])
def test_k5_periodic_by_any_spelling(tmp_path, pbc):
    assert convert_text(tmp_path, xyz(f"energy=-16.5 {pbc}")).label.energy == -16.5


@pytest.mark.parametrize("ending", ["traj", "db", "json"])
def test_k5_ase_files_leave_out_what_is_not_periodic(tmp_path, ending):
    images = [Atoms("Fe", cell=[2.8 + 0.1 * k] * 3, pbc=[True, True, k > 0]) for k in range(3)]
    for image in images:
        image.calc = SinglePointCalculator(image, energy=-8.0)
    ase_write(tmp_path / f"a.{ending}", images)
    outcome = convert(tmp_path / f"a.{ending}")
    assert len(outcome.records) == 2 and outcome.says("left out", "not periodic", "1 frame")


# K6: nothing of the input vanishes


@pytest.mark.parametrize("place", ["a/b/c/d", "set_like/x", ".hidden/y", "with space/z"])
def test_k6_systems_at_any_depth(tmp_path, place):
    deepmd(tmp_path / "data" / "top")
    deepmd(tmp_path / "data" / place, energy=np.array([[-3.0]]), types="1 1")
    assert len(convert(tmp_path / "data").records) == 2


def test_k6_a_set_without_its_types_is_named(tmp_path):
    deepmd(tmp_path / "data" / "whole")
    (deepmd(tmp_path / "data" / "torn") / "type.raw").unlink()
    outcome = convert(tmp_path / "data")
    assert outcome.code == 2 and outcome.says("torn", "type.raw")


def test_k6_padded_atoms_of_mixed_sets(tmp_path):
    real = np.array([[0, 1, -1], [1, 1, 0]])
    deepmd(tmp_path / "data", frames=2, types="0 0 0", real_atom_types=real, force=np.arange(18).reshape(2, 9))
    short, full = convert(tmp_path / "data").records
    assert (short.frame.formula, full.frame.formula) == ("Al1Fe1", "Al2Fe1") and short.label.forces.shape == (2, 3)


@pytest.mark.parametrize("form", ["npy", "raw"])
def test_k6_forces_without_energies_are_refused(tmp_path, form):
    outcome = convert(deepmd(tmp_path / "data", energy=None, force=np.ones((1, 6)), form=form))
    assert outcome.code == 2 and outcome.says("force", "no energy")


def test_k6_forces_of_a_cfg_without_an_energy_are_refused(tmp_path):
    outcome = convert_text(tmp_path, cfg(more=""), "--elements", "Fe,Al", name="in.cfg")
    assert outcome.code == 2 and outcome.says("forces", "no energy")


@pytest.mark.parametrize(
    ("extra", "what"),
    [
        ("config_type=k444", "config_type"),
        ("weight=2.5", "weight"),
        ('charge_state="1 2 3"', "charge_state"),
    ],
)
def test_k6_keys_that_a_format_cannot_hold_are_named(tmp_path, extra, what):
    (tmp_path / "in.xyz").write_text(xyz(f"energy=-16.5 {extra}"))
    outcome = convert(tmp_path / "in.xyz", out="npy")
    assert outcome.code == 0 and outcome.says("left out", what, "1 frame")


def test_k6_columns_and_targets_that_a_format_cannot_hold_are_named(tmp_path):
    text = xyz("energy=-16.5", ":tags:I:1:magmoms:R:1:target_magmoms:R:1", ("1 2.3 2.5", "2 2.1 2.5"))
    (tmp_path / "in.xyz").write_text(text)
    outcome = convert(tmp_path / "in.xyz", out="o.cfg")
    assert outcome.says("left out", "the column tags", "target")


# K7: options and endings


@pytest.mark.parametrize(
    "options",
    [
        ["--elements", "Fe"],
        ["--en-der-sign", "1"],
        ["--symmetrise"],
        ["--dialect", "basis"],
    ],
)
def test_k7_options_that_mean_nothing_are_refused(tmp_path, options):
    outcome = convert_text(tmp_path, xyz(), *options)
    assert outcome.code == 2 and outcome.says(options[0])


@pytest.mark.parametrize("options", [["--keys", "energy=e"], ["--virial-sign", "-1"]])
def test_k7_options_of_names_mean_nothing_to_numbered_formats(tmp_path, options):
    outcome = convert_text(tmp_path, cfg(), "--elements", "Fe,Al", *options, name="in.cfg")
    assert outcome.code == 2 and outcome.says(options[0])


@pytest.mark.parametrize("value", ["0", "2", "-3"])
@pytest.mark.parametrize("option", ["--virial-sign", "--en-der-sign"])
def test_k7_signs_are_one_or_minus_one(tmp_path, option, value):
    outcome = convert_text(tmp_path, xyz(), option, value)
    assert outcome.code == 2 and outcome.says(option, "1 or -1")


@pytest.mark.parametrize("elements", ["Fe", "Fe,Fe", "Fe,Xx", "Al"])
def test_k7_elements_that_do_not_cover_the_labels(tmp_path, elements):
    (tmp_path / "in.xyz").write_text(xyz().replace("Fe 1.45", "Al 1.45"))
    outcome = convert(tmp_path / "in.xyz", "--elements", elements, out="o.cfg")
    assert outcome.code == 2 and not (tmp_path / "o.cfg").exists()


def test_k7_elements_of_the_output_are_not_those_of_an_input_that_names_its_own(tmp_path):
    outcome = convert(deepmd(tmp_path / "data"), "--elements", "Al,Fe", out="o.cfg")
    assert outcome.code == 0 and outcome.says("type 0 = Al", "the system names its own, Fe, Al")
    back = convert(tmp_path / "o.cfg", "--elements", "Al,Fe")
    assert back.records[0].frame.species == ("Fe", "Al")


def test_k7_the_sign_on_output_is_heeded(tmp_path):
    text = xyz("energy=-16.5", ":magmoms:R:1:magnetic_forces:R:1", ("2.3 0.1", "2.1 0.2"))
    (tmp_path / "in.xyz").write_text(text)
    for sign in (1, -1):
        assert convert(tmp_path / "in.xyz", "--en-der-sign", sign, out=f"o{sign}.cfg").code == 0
        back = convert(tmp_path / f"o{sign}.cfg", "--elements", "Fe", "--en-der-sign", sign, out=f"b{sign}.extxyz")
        assert back.label.magnetic_forces[:, 2].tolist() == [0.1, 0.2]


# K8: legal spellings


@pytest.mark.parametrize(
    "cell",
    [
        "Lattice=[[2.9,0,0],[0,2.9,0],[0,0,2.9]]",
        "Lattice=[2.9, 2.9, 2.9]",
        "Lattice={2.9 0 0 0 2.9 0 0 0 2.9}",
        "Lattice='2.9 0 0 0 2.9 0 0 0 2.9'",
        'Lattice = "2.9 0 0 0 2.9 0 0 0 2.9"',
        'Lattice="2.9D0 0 0 0 2.9d+00 0 0 0 29.D-1"',
        'lattice="2.9, 0, 0, 0, 2.9, 0, 0, 0, 2.9"',
    ],
)
def test_k8_cells(tmp_path, cell):
    assert convert_text(tmp_path, xyz(cell=cell)).records[0].frame.cell.diagonal().tolist() == [2.9] * 3


@pytest.mark.parametrize("symbols", [("fe", "FE"), ("Fe", "fe")])
def test_k8_symbols_in_any_case(tmp_path, symbols):
    text = xyz().replace("Fe 0", f"{symbols[0]} 0").replace("Fe 1.45", f"{symbols[1]} 1.45")
    assert convert_text(tmp_path, text).records[0].frame.species == ("Fe", "Fe")


def test_k8_an_empty_value_and_numbers_of_fortran(tmp_path):
    text = xyz("description= energy=-1.65D+01", *columns("forces", ("1.0D-1 0 0", "-1.0d-1 0 0")))
    label = convert_text(tmp_path, text).label
    assert label.energy == -16.5 and label.forces[1, 0] == -0.1


@pytest.mark.parametrize(
    "pack", [gzip.compress, lambda data: b"\xef\xbb\xbf" + data, lambda data: data.replace(b"\n", b"\r\n")]
)
def test_k8_packed_or_marked_files_of_mlip(tmp_path, pack):
    (tmp_path / "in.cfg").write_bytes(pack(cfg().encode()))
    assert convert(tmp_path / "in.cfg", "--elements", "Fe,Al").label.forces[0, 2] == 0.3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Supercell", "SuperCell"),
        (" Energy", "Energy"),
        ("-16.5", "-1.65e1"),
        ("-16.5", "-1.65D+01"),
        ("BEGIN_CFG", "  BEGIN_CFG"),
        ("id type", "type"),
        (" Energy", " Feature   a\tx\n Feature   a\ty\n Energy"),
    ],
)
def test_k8_spellings_of_mlip(tmp_path, old, new):
    text = cfg().replace(old, new)
    if new == "type":
        text = text.replace("  1 0 0 0 0", "  0 0 0 0").replace("  2 1 1.45", "  1 1.45")
    assert convert_text(tmp_path, text, "--elements", "Fe,Al", name="in.cfg").label.energy == -16.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_k8_arrays_of_deepmd_of_any_kind(tmp_path, dtype):
    assert convert(deepmd(tmp_path / "data", energy=np.array([-16], dtype=dtype))).label.energy == -16


def test_k8_a_system_without_names_takes_those_of_the_user(tmp_path):
    system = deepmd(tmp_path / "data", names=None)
    untold = convert(system)
    assert untold.code == 2 and untold.says("--elements")
    assert convert(system, "--elements", "Fe,Al").records[0].frame.species == ("Fe", "Al")


# K10: messages


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("POSCAR", b"Fe\n1.0\n2.9 0 0\n", ["POSCAR", "cannot be read"]),
        ("whole.vasp", b"Fe\n1.0\n2.9 0 0\n0 2.9 0\n0 0 2.9\nFe\n1\nDirect\n0 0 0\n", ["magflow label"]),
        ("a.cif", b"data_Fe\n_cell_length_a 2.9\n", ["a.cif", "holds no frame"]),
        ("empty", b"", ["unknown format", "extended XYZ"]),
        ("binary", bytes(range(256)), ["unknown format"]),
        ("a.cfg", cfg().encode(), ["--elements"]),
        ("torn.cfg", cfg().replace("END_CFG\n", "").encode(), ["--elements"]),
        ("plain.xyz", b"2\nwater\nO 0 0 0\nH 0 0 1\n", ["not periodic", "Lattice"]),
        ("torn.xyz", xyz().encode()[:-20], ["frame 1", "atoms"]),
        ("noenergy.xyz", xyz("e_dft=-3").encode(), ["--keys energy=NAME", "e_dft"]),
        (
            "forces.xyz",
            xyz("e_dft=-3", *columns("forces", FORCES)).encode(),
            ["forces", "no energy", "e_dft", "--keys"],
        ),
    ],
)
@pytest.mark.parametrize("command", ["convert", "import", "train"])
def test_k10_ten_wrong_files(tmp_path, command, name, data, words):
    """One message each, with the way on, and no word of a campaign or of Python."""
    (tmp_path / name).write_bytes(data)
    result = CliRunner().invoke(app, [command, str(tmp_path / name), "-o", str(tmp_path / "out.extxyz")])
    told = " ".join(result.output.split())
    assert result.exit_code == 2 and all(word in told for word in words), told
    assert "magflow status" not in told and "Traceback" not in told and "mixed=True" not in told


@pytest.mark.parametrize("command", ["convert", "import", "train"])
def test_k10_a_folder_with_nothing_in_it(tmp_path, command):
    (tmp_path / "data").mkdir()
    result = CliRunner().invoke(app, [command, str(tmp_path / "data"), "-o", str(tmp_path / "out.extxyz")])
    assert result.exit_code == 2 and "folder of unknown format" in " ".join(result.output.split())
