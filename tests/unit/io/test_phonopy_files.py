"""Force constants from phonopy's files and in one of our own, of a crystal whose displacements are exact."""

from __future__ import annotations

import json
import lzma
import os
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from exact_potentials import QuadraticMagnet, bcc
from magflow.core.force_constants import ForceConstantLabel, MomentsOf
from magflow.core.frame import Frame
from magflow.core.label import LevelOfTheory
from magflow.errors import InputError, MagflowError
from magflow.io import phonopy_files
from magflow.io.force_constants import read_force_constants, write_force_constants
from magflow.io.phonopy_files import is_phonopy, read_phonopy
from magflow.properties.displaced import complete
from magflow.properties.vibrations import vibrations_of

LEVEL = LevelOfTheory("abinit", "9.6.2", "constrained", "PBE")
SIGNS = {"FM": (2.2, 2.2), "AFM": (2.2, -2.2)}


RECORD = Path(os.environ.get("MAGFLOW_REFERENCE_DATA", "../shared/data")) / "mdr_phonon/mp-1000.yaml.bz2"


@cache
def made(state: str):
    """Phonopy with the forces of a model, and the model's Hessian as phonopy orders it."""
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    cell = bcc(2.84)
    unit = PhonopyAtoms(cell.species, cell=cell.cell, positions=cell.positions, magnetic_moments=SIGNS[state])
    phonons = Phonopy(unit, np.diag([1, 1, 2]), primitive_matrix=np.eye(3), log_level=0)
    phonons.generate_displacements(0.01, is_plusminus=True)
    atoms = phonons.supercell
    perfect = Frame(tuple(atoms.symbols), atoms.cell, atoms.positions, atoms.magnetic_moments)
    model = QuadraticMagnet(perfect)
    moved = [perfect.replace(positions=s.positions) for s in phonons.supercells_with_displacements]
    phonons.forces = [model.predict([frame]).forces for frame in moved]
    phonons.produce_force_constants(show_drift=False)
    return phonons, model.hessian[:, :3, :, :3].transpose(0, 2, 1, 3)


def written(directory, state="AFM", *, sets=True, constants=False, residual=None):
    from phonopy.file_IO import write_FORCE_CONSTANTS, write_FORCE_SETS

    phonons, _ = made(state)
    phonons.save(directory / "phonopy_disp.yaml", settings={"force_sets": False, "force_constants": False})
    if sets:
        moves = json.loads(json.dumps(phonons.dataset, default=lambda array: array.tolist()))
        for move in moves["first_atoms"]:
            move["forces"] = np.array(move["forces"]) + (0.0 if residual is None else residual)
        write_FORCE_SETS(moves, directory / "FORCE_SETS")
    if constants:
        write_FORCE_CONSTANTS(phonons.force_constants, directory / "FORCE_CONSTANTS")
    return directory


@pytest.mark.parametrize(("state", "kind"), [("FM", "constants"), ("AFM", "sets")])
def test_rows_are_those_of_the_model(tmp_path, state, kind):
    written(tmp_path, state, sets=kind == "sets", constants=kind == "constants")
    label = read_phonopy(tmp_path)
    _, expected = made(state)
    assert is_phonopy(tmp_path)
    assert sorted(label.atoms) == [0, 2]
    assert label.moments is MomentsOf.RELAXED
    np.testing.assert_allclose(label.frame.magmoms[[0, 2], 2], SIGNS[state])
    np.testing.assert_allclose(label.array, expected[label.atoms], atol=1e-6)


def test_files_are_found_packed_named_and_never_in_the_working_directory(tmp_path, monkeypatch):
    written(tmp_path)
    label = read_phonopy(tmp_path / "phonopy_disp.yaml", clamped=True, level=LEVEL)
    assert (label.moments, label.level_of_theory) == (MomentsOf.CLAMPED, LEVEL)
    packed = tmp_path / "packed"
    packed.mkdir()
    (packed / "phonopy.yaml.xz").write_bytes(lzma.compress((tmp_path / "phonopy_disp.yaml").read_bytes()))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no force constants"):
        read_phonopy(packed)
    (packed / "FORCE_SETS").write_bytes((tmp_path / "FORCE_SETS").read_bytes())
    np.testing.assert_allclose(read_phonopy(packed / "FORCE_SETS").array, label.array)


def test_all_rows_in_the_file_of_the_supercell(tmp_path):
    """As records of the MDR phonon database have them: rows of the atoms of the primitive cell are kept."""
    phonons, expected = made("FM")
    settings = {"force_constants": True, "force_sets": False, "displacements": False}
    phonons.save(tmp_path / "phonopy_params.yaml", settings=settings)
    label = read_phonopy(tmp_path)
    assert sorted(label.atoms) == [0, 2]
    np.testing.assert_allclose(label.array, expected[label.atoms], atol=1e-6)


@pytest.mark.skipif(not RECORD.is_file(), reason=f"no reference data: {RECORD}")
def test_a_record_of_the_phonon_database():
    """BaTe: highest frequency 165.18 K, entropy of two atoms at 300 K 104.1464, heat capacity 49.3037 J/(K mol)."""
    label = read_phonopy(RECORD)
    found = vibrations_of(label.frame, complete(label))
    assert found.highest / 0.020836619 == pytest.approx(165.18, rel=2e-3)
    assert 2.0 * found.entropy == pytest.approx(104.1464, rel=2e-3)
    assert 2.0 * found.heat_capacity == pytest.approx(49.3037, rel=1e-3)


def test_moments_take_the_place_of_guesses_with_their_signs(tmp_path):
    label = read_phonopy(written(tmp_path), moments={"Fe": 1.8})
    np.testing.assert_allclose(label.frame.magmoms[[0, 2], 2], [1.8, -1.8])


def test_faults_are_told_in_a_line(tmp_path):
    alone, guessed, pulled, damaged = (tmp_path / name for name in ("alone", "guessed", "pulled", "damaged"))
    for directory in (alone, guessed, pulled, damaged):
        directory.mkdir()
    written(alone, sets=False, constants=True)
    (alone / "phonopy_disp.yaml").unlink()
    written(pulled, residual=np.eye(4)[0][:, None] * [0.3, 0.0, 0.0])
    text = (written(damaged) / "FORCE_SETS").read_text()
    (damaged / "FORCE_SETS").write_text(text[: len(text) // 2])
    cases = {
        "without a supercell": lambda: read_phonopy(alone / "FORCE_CONSTANTS"),
        "not at rest.*0.3 eV/A on atom 0": lambda: read_phonopy(pulled),
        "cannot be read": lambda: read_phonopy(damaged),
        "no moment for an element": lambda: read_phonopy(written(guessed), moments={"Cr": 1.0}),
        "no such file": lambda: read_phonopy(tmp_path / "absent.yaml"),
    }
    for message, read in cases.items():
        with pytest.raises(InputError) as caught:
            read()
        assert re.search(message, str(caught.value))


def test_moments_that_break_the_symmetry_of_the_displacements(tmp_path):
    """Displacements made without moments, of a crystal whose two atoms then turn out to be different."""
    written(tmp_path)
    path = tmp_path / "phonopy_disp.yaml"
    lines = [line for line in path.read_text().splitlines() if "magnetic_moment" not in line]
    path.write_text("\n".join(lines))
    assert read_phonopy(tmp_path).frame.magmoms is None
    label = read_phonopy(tmp_path, moments={"Fe": 2.2})
    assert label.frame.ordering == "FM"
    phonons = phonopy_files._phonopy(path)
    signs = np.where(np.arange(4) == 3, -2.2, 2.2)
    with pytest.raises(InputError, match=r"break the symmetry.*atoms"):
        phonopy_files._check_moments(phonons, label.frame.replace(magmoms=signs), str(path))


def test_our_own_file_keeps_everything(tmp_path):
    _, array = made("AFM")
    frame = read_phonopy(written(tmp_path)).frame
    labels = [
        ForceConstantLabel(frame, LEVEL, np.array([3, 2]), array[[3, 2]], MomentsOf.CLAMPED, "held"),
        ForceConstantLabel(frame.non_magnetic(), LEVEL, np.array([0]), array[:1], MomentsOf.RELAXED),
    ]
    path = tmp_path / "fc.json"
    write_force_constants(path, labels)
    found = read_force_constants(path)
    assert [f.label_id for f in found] == [f.label_id for f in labels]
    for mine, other in zip(found, labels, strict=True):
        np.testing.assert_array_equal(mine.array, other.array)
        assert (mine.source, mine.level_of_theory, mine.frame) == (other.source, other.level_of_theory, other.frame)
    np.testing.assert_array_equal(
        ForceConstantLabel.from_columns(frame, LEVEL, labels[0].atoms, labels[0].columns).array, labels[0].array
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "no file of force constants"),
        ('{"format": "magflow-force-constants-9", "magflow": "9"}', "written by magflow 9"),
        ('{"format": "magflow-force-constants-1", "labels": [{}]}', "cannot be read"),
        ("[", "cannot be read"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "fc.json"
    path.write_text(content)
    with pytest.raises(MagflowError, match=message):
        read_force_constants(path)


@pytest.mark.parametrize(
    ("atoms", "shape", "message"),
    [
        ([2], (1, 2, 3, 3), "no atom"),
        ([0, 0], (2, 2, 3, 3), "no atom"),
        ([], (0, 2, 3, 3), "no atom"),
        ([1], (2, 2, 3, 3), "another supercell"),
    ],
)
def test_a_label_is_one_of_its_supercell(atoms, shape, message):
    with pytest.raises(InputError, match=message):
        ForceConstantLabel(bcc(2.8), LEVEL, np.array(atoms, dtype=int), np.zeros(shape))
    with pytest.raises(InputError, match="not finite"):
        ForceConstantLabel(bcc(2.8), LEVEL, np.array([0]), np.full((1, 2, 3, 3), np.nan))
