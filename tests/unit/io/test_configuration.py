"""Structure files of users: which reader takes which name, what is refused, which one of several is meant."""

from __future__ import annotations

import gzip
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk

import magflow
from magflow.errors import InputError
from magflow.io.configuration import read_configuration, read_configurations
from magflow.io.extxyz import write_extxyz
from magflow.io.findings import Findings
from magflow.io.sources import Wish, iter_labels

POSCAR = """2
1.0
2.9 0.1 0.0
0.0 3.0 0.0
0.0 0.0 3.1
Fe Al
1 1
Direct
0.0 0.0 0.0
0.5 0.5 0.5
"""
CELL = np.array([[2.9, 0.1, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.1]])
CIF = """data_x
_cell_length_a 2.9
_cell_length_b 2.9
_cell_length_c 2.9
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Fe1 Fe 0 0 0 1
"""


@pytest.mark.parametrize(
    "name", ["POSCAR", "CONTCAR", "POSCAR.start", "old_CONTCAR", "b2.vasp", "b2.poscar", "POSCAR.gz", "a@b.vasp"]
)
def test_a_poscar_is_known_by_its_name_whatever_its_comment(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(POSCAR.encode()) if name.endswith(".gz") else POSCAR.encode())
    frame = read_configuration(path)
    assert frame.species == ("Fe", "Al") and frame.magmoms is None
    assert np.allclose(frame.cell, CELL) and np.allclose(frame.positions[1], CELL.sum(axis=0) / 2)
    (labelled,) = iter_labels(path, Wish(), Findings())
    assert labelled.frame == frame and labelled.label is None
    assert magflow.to_frame(str(path), {"Fe": 2.2, "Al": 0.0}).magmoms[:, 2].tolist() == [2.2, 0.0]


def test_a_cif_leaves_nothing_of_its_own_beside_the_atoms(tmp_path):
    path = tmp_path / "x.cif"
    path.write_text(CIF + "Al1 Al 0.5 0.5 0.5 1\n")
    (record,) = read_configurations(path, Findings())
    assert sorted(record.frame.species) == ["Al", "Fe"] and not record.info and not record.columns
    write_extxyz(tmp_path / "x.extxyz", [record])
    assert read_configuration(tmp_path / "x.extxyz") == record.frame


@pytest.mark.parametrize("site", ["Al1 Al .5 .5 .5 .5\nFe2 Fe .5 .5 .5 .5", "Al1 Al .5 .5 .5 .9"])
def test_mixed_and_empty_sites_are_refused(tmp_path, site):
    path = tmp_path / "x.cif"
    path.write_text(f"{CIF}{site}\n")
    with pytest.raises(InputError, match="mixed occupation") as caught:
        read_configuration(path)
    assert "Al" in str(caught.value)


@pytest.mark.parametrize("name", ["start.bar", "start", "start.cif2"])
def test_an_unknown_name_is_refused_with_those_that_are_known(tmp_path, name):
    path = tmp_path / name
    path.write_text("iron" + POSCAR)
    with pytest.raises(InputError, match=r"unknown kind.*POSCAR.*\.cif"):
        read_configuration(path)
    with pytest.raises(InputError, match="unknown kind"):
        magflow.to_frame(path)


def test_one_of_several_is_meant_by_its_number(tmp_path):
    images = [bulk("Fe", a=a, cubic=True) for a in (2.8, 2.9, 3.0)]
    for name in ("all.extxyz", "all.traj"):
        ase.io.write(tmp_path / name, images)
        for index, a in ((0, 2.8), (2, 3.0), (-1, 3.0), (-3, 2.8)):
            (record,) = read_configurations(f"{tmp_path / name}@{index}", Findings())
            assert record.frame.cell[0, 0] == a
            assert magflow.to_frame(f"{tmp_path / name}@{index}") == record.frame
        assert len(read_configurations(tmp_path / name, Findings())) == 3
        for index in (3, -4):
            with pytest.raises(InputError, match="no configuration of this number"):
                read_configurations(f"{tmp_path / name}@{index}", Findings())


def test_a_file_whose_name_ends_like_a_number_is_that_file(tmp_path):
    ase.io.write(tmp_path / "x.extxyz", bulk("Fe"))
    (tmp_path / "x.extxyz").rename(tmp_path / "run@3")
    ase.io.write(tmp_path / "run", bulk("Al"), format="extxyz")
    assert magflow.to_frame(tmp_path / "run@3").species == ("Fe",)


def test_moments_are_given_for_all_elements_or_not_at_all(tmp_path):
    with pytest.raises(InputError, match="a moment is to be given for each element") as caught:
        magflow.to_frame(Path(_poscar(tmp_path)), {"Fe": 2.2})
    assert "POSCAR" in str(caught.value) and "Al, Fe" in str(caught.value)
    assert magflow.to_frame(bulk("Fe", cubic=True), {"Fe": 0.0, "Al": 1.0}).magmoms.tolist() == [[0, 0, 0]] * 2


def _poscar(folder):
    (folder / "POSCAR").write_text(POSCAR)
    return folder / "POSCAR"
