from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from hypothesis import given, settings
from pymatgen.core import Lattice, Species, Structure
from pymatgen.electronic_structure.core import Magmom
from pymatgen.io.ase import AseAtomsAdaptor

from magflow.errors import InputError
from magflow.io.ase_atoms import from_atoms, to_atoms
from magflow.io.structure import from_structure, to_structure
from strategies import frames, same_frame

LATTICE = Lattice.cubic(2.8)
SITES = [[0, 0, 0], [0.5, 0.5, 0.5]]


@given(frames())
@settings(deadline=None, max_examples=50)
def test_frames_survive(frame):
    assert same_frame(from_structure(to_structure(frame)), frame)


@given(frames(magnetic=True))
@settings(deadline=None, max_examples=20)
def test_frames_survive_the_json_of_a_document(frame):
    again = Structure.from_dict(to_structure(frame).as_dict())
    assert np.array_equal(from_structure(again).magmoms, frame.magmoms)
    assert from_structure(again).frame_id == frame.frame_id


def test_what_pymatgens_own_adaptor_loses_is_kept():
    """Why this module exists; if the first half ever fails, the adaptor has been repaired."""
    spins = Structure(LATTICE, [Species("Fe", spin=2.0)], [[0, 0, 0]])
    assert not AseAtomsAdaptor.get_atoms(spins).has("initial_magmoms")
    atoms = Atoms("Fe", cell=[2.8] * 3, pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, magmoms=np.array([2.2]))
    assert "magmom" not in AseAtomsAdaptor.get_structure(atoms).site_properties

    assert from_structure(spins).magmoms[0, 2] == 2.0
    assert to_structure(from_atoms(atoms).frame).site_properties["magmom"] == [2.2]
    vector = Structure(LATTICE, ["Fe"], [[0, 0, 0]], site_properties={"magmom": [[1.0, 2.0, 2.0]]})
    assert from_atoms(to_atoms(from_structure(vector))).frame.magmoms.tolist() == [[1.0, 2.0, 2.0]]


def test_moved_sites_are_seen():
    """The exact positions that travel along do not hide a change of the structure."""
    structure = to_structure(from_structure(Structure(LATTICE, ["Fe", "Fe"], SITES)))
    structure.translate_sites([1], [0.1, 0, 0])
    assert from_structure(structure).positions[1, 0] == pytest.approx(0.6 * 2.8)
    structure.apply_strain(0.1)
    assert from_structure(structure).positions[1, 0] == pytest.approx(0.6 * 2.8 * 1.1)


def test_spins_of_species_and_magmom_objects():
    spins = Structure(LATTICE, [Species("Fe", spin=2.0), Species("Fe", spin=-2.0)], SITES)
    assert from_structure(spins).magmoms[:, 2].tolist() == [2.0, -2.0]
    objects = Structure(LATTICE, ["Fe", "Fe"], SITES, site_properties={"magmom": [Magmom(2.0), Magmom([1, 0, 0])]})
    assert from_structure(objects).magmoms.tolist() == [[0, 0, 2], [1, 0, 0]]
    assert from_structure(Structure(LATTICE, ["Fe", "Fe"], SITES)).magmoms is None


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (Structure(LATTICE, ["Fe", "Fe"], SITES, site_properties={"magmom": [1.0, None]}), "only some sites"),
        (Structure(LATTICE, [{"Fe": 0.5, "Al": 0.5}, "Fe"], SITES), "mixed occupation"),
        (
            Structure(LATTICE, [Species("Fe", spin=1)] * 2, SITES, site_properties={"magmom": [1.0, 2.0]}),
            "disagree",
        ),
    ],
)
def test_bad_structures(structure, message):
    with pytest.raises(InputError, match=message):
        from_structure(structure)
