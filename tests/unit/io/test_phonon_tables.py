"""Tables of frequencies: what is read comes back, what does not fit is one line."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from ase.io import read, write

from magflow.errors import InputError
from magflow.io.phonon_tables import is_table, read_table
from magflow.properties.recorded import reference_vibrations
from recorded_phonons import MESH, PRIMITIVE, SUPERCELL, frequencies_of, write_records


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_records(tmp_path_factory.mktemp("records"), {"Cu": 3.6, "wide": 3.65})


def test_what_was_written_comes_back(table):
    first, wide = read_table(table)
    assert (first.name, wide.name, first.n_atoms) == ("Cu mp-0", "wide mp-1", 32)
    assert first.supercell.tolist() == SUPERCELL
    assert first.primitive.tolist() == PRIMITIVE
    assert first.reference.mesh == MESH
    assert first.key != wide.key
    phonons = frequencies_of(read(table.with_name("crystals.extxyz"), index=0))
    assert np.allclose(first.reference.frequencies, phonons.mesh.frequencies, atol=1e-9)
    found = reference_vibrations(first)
    thermal = phonons.run_thermal_properties(temperatures=[300.0], exclude_gamma_acoustic=True)
    assert found.entropy == pytest.approx(thermal.entropy[0], rel=1e-5)
    assert found.free_energy == pytest.approx(thermal.free_energy[0], rel=1e-5)
    assert found.heat_capacity == pytest.approx(thermal.heat_capacity[0], rel=1e-5)


def test_a_table_is_told_from_force_constants_of_the_house(table, tmp_path):
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"format": "magflow-force-constants-1", "labels": []}))
    assert is_table(table)
    assert not is_table(own)
    assert not is_table(tmp_path / "phonopy.yaml")


def test_structures_may_lie_elsewhere(table, tmp_path):
    only = tmp_path / "some.extxyz"
    write(only, read(table.with_name("crystals.extxyz"), index="1:"), format="extxyz")
    assert [record.name for record in read_table(table, only)] == ["wide mp-1"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": None}, "without weights"),
        ({"weights": {"0": [1.0]}}, "frequencies that do not fit their q-points"),
        ({"q_mesh": {"0": [5, 5, 5]}}, "weights of another mesh"),
        ({"q_mesh": {"0": ["a"]}}, "a row of the table cannot be read"),
        ({"qpoints": {}}, "a row of the table cannot be read"),
        ({"mp_id": {"0": "mp-7"}}, "a structure has no row"),
        ({"frequencies": {"0": None}}, "a row of the table cannot be read|do not fit"),
    ],
)
def test_a_table_that_does_not_fit_is_one_line(tmp_path, change, said):
    path = write_records(tmp_path, {"Cu": 3.6}, **change)
    with pytest.raises(InputError, match=said) as caught:
        read_table(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"fc2_supercell": None}, "without a supercell"),
        ({"fc2_supercell": [[0, 0, 0]] * 3}, "not a supercell"),
        ({"fc2_supercell": [[1.5, 0, 0], [0, 1, 0], [0, 0, 1]]}, "not a supercell"),
        ({"primitive_matrix": np.eye(3).tolist()}, "frequencies of another primitive cell"),
        ({"primitive_matrix": [[0, 0, 0]] * 3}, "not a primitive cell"),
    ],
)
def test_a_structure_that_does_not_fit_is_one_line(table, tmp_path, info, said):
    atoms = read(table.with_name("crystals.extxyz"), index=0)
    atoms.info = {k: v for k, v in (atoms.info | info).items() if v is not None}
    only = tmp_path / "some.extxyz"
    write(only, atoms, format="extxyz")
    with pytest.raises(InputError, match=said):
        read_table(table, only)


def test_what_is_no_table_at_all(tmp_path):
    path = tmp_path / "table.json.gz"
    path.write_bytes(b"no gzip")
    with pytest.raises(InputError, match="cannot be read"):
        is_table(path)
    path.write_bytes(gzip.compress(b"[1]"))
    with pytest.raises(InputError, match="no table of phonons"):
        read_table(path)


def test_which_structures_are_meant_is_not_guessed(tmp_path):
    path = write_records(tmp_path, {"Cu": 3.6})
    (tmp_path / "crystals.extxyz").rename(tmp_path / "other.xyz")
    with pytest.raises(InputError, match="0 files"):
        read_table(path)


def test_heat_capacities_are_those_that_phono3py_wrote(reference_data):
    """The table of k_SRME holds the heat capacity of each mode, too (eV/K)."""
    folder = reference_data / "kappa103"
    table = folder / "dft.json.gz"
    content = json.loads(gzip.decompress(table.read_bytes()))
    records = read_table(table)
    assert len(records) == 52
    rows = {identity: row for row, identity in content["mp_id"].items()}
    for record in records:
        row = rows[record.name.split()[-1]]
        each, weights = np.array(content["heat_capacity"][row][0]), np.array(content["weights"][row])
        atoms = record.reference.n_atoms
        expected = 96485.33212 * (weights @ each.sum(axis=1)) / weights.sum() / atoms
        assert reference_vibrations(record).heat_capacity == pytest.approx(expected, rel=2e-4)
