"""What a person names is opened, or refused with what was expected."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

import magflow
from magflow.api.opening import family_of
from magflow.errors import InputError
from magflow.io.ase_atoms import to_atoms
from magflow.io.extxyz import write_extxyz
from magflow.io.records import Record
from magflow.io.structure import to_structure

FRAME = magflow.Frame(("Fe", "Al"), 2.9 * np.eye(3), [[0, 0, 0], [1.45, 1.45, 1.45]], [2.1, -0.1])


def test_a_frame_from_whatever_holds_one(tmp_path):
    path = tmp_path / "one.extxyz"
    write_extxyz(path, [Record(FRAME)])
    for given in (FRAME, to_atoms(FRAME), to_structure(FRAME), path, str(path)):
        assert magflow.to_frame(given) == FRAME
    assert magflow.to_frame(bulk("Al")).magmoms is None


def test_atoms_that_are_not_periodic_are_refused():
    atoms = bulk("Fe")
    atoms.pbc = [True, True, False]
    with pytest.raises(InputError, match="not periodic"):
        magflow.to_frame(atoms)


def test_there_is_nothing_to_load(tmp_path):
    with pytest.raises(InputError, match=r"neither an ensemble nor a campaign.*ensemble\.json or campaign\.json"):
        magflow.load(tmp_path)


def test_a_dataset_stays_as_it_is():
    dataset = magflow.Dataset([])
    assert magflow.read_labels(dataset) is dataset


def test_frames_without_labels_are_counted(tmp_path):
    path = tmp_path / "bare.extxyz"
    write_extxyz(path, [Record(FRAME)])
    with pytest.raises(InputError, match="seen: 1 of 1"):
        magflow.read_labels(path)


def test_settings_of_a_family_are_checked():
    assert family_of("mmtp", {"level": 6}).level == 6
    with pytest.raises(InputError, match=r"settings: an unknown setting; seen: lvel.*did you mean level"):
        family_of("mmtp", {"lvel": 6})
    with pytest.raises(InputError, match="settings level: a setting is not acceptable; seen: 99"):
        family_of("mmtp", {"level": 99})


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: magflow.relax("m", FRAME, moments="free"), "moments: no such choice; seen: free; expected: keep"),
        (lambda: magflow.relax("m", FRAME, fix=["cells"]), "fix: no such choice; seen: cells; expected: cell"),
        (lambda: magflow.md("m", FRAME, "out", ensemble="npvt"), "ensemble: no such choice; seen: npvt"),
        (lambda: magflow.compare([], "out", families=["mmtp"], settings={"dp": {}}), "settings of no entry; seen"),
        (lambda: magflow.transfer([], [], [], "out", price="euro"), "unknown price; seen: euro"),
    ],
)
def test_words_that_are_none_are_refused_before_anything_is_opened(ask, said):
    with pytest.raises(InputError, match=said):
        ask()
