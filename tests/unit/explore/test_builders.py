"""Carbides as they were published, and structures that cannot be built."""

from __future__ import annotations

import numpy as np
import pytest
import spglib
from ase import Atoms
from pydantic import ValidationError

from magflow.core.frame import Frame
from magflow.explore.builders import CARBIDES, BuilderSettings, from_builder

PUBLISHED = {
    # structure: metal, atoms of the conventional and the primitive cell, formula, group, metal-metal and metal-carbon
    "cementite": ("Fe", 16, 16, "C4Fe12", "Pnma", 2.50, 1.96),
    "m7c3": ("Cr", 40, 40, "C12Cr28", "Pnma", 2.49, 1.97),
    "m23c6": ("Cr", 116, 29, "C24Cr92", "Fm-3m", 2.41, 2.11),
}


def build(structure: str, **settings) -> Frame:
    metal = PUBLISHED[structure][0]
    return from_builder(BuilderSettings(structure=structure, species=(metal, "C"), **settings), "here")


def shortest(frame: Frame, one: str, other: str) -> float:
    atoms = Atoms(frame.species, frame.positions, cell=frame.cell, pbc=True)
    between = np.ix_(np.array(frame.species) == one, np.array(frame.species) == other)
    distances = atoms.get_all_distances(mic=True)[between]
    return float(distances[distances > 0.1].min())


@pytest.mark.parametrize("structure", PUBLISHED)
def test_symmetry_counts_and_distances_are_the_published_ones(structure):
    metal, conventional, primitive, formula, group, metal_metal, metal_carbon = PUBLISHED[structure]
    frame = build(structure)
    assert (len(frame), frame.formula) == (conventional, formula)
    fractional = frame.positions @ np.linalg.inv(frame.cell)
    found = spglib.get_symmetry_dataset((frame.cell, fractional, frame.numbers), symprec=1e-3)
    assert found.international == group and found.number == CARBIDES[structure].group
    assert shortest(frame, metal, metal) == pytest.approx(metal_metal, abs=0.01)
    assert shortest(frame, metal, "C") == pytest.approx(metal_carbon, abs=0.01)
    assert shortest(frame, "C", "C") > 3.0
    small = build(structure, cubic=False)
    assert len(small) == primitive and small.volume / primitive == pytest.approx(frame.volume / conventional)


def test_the_other_edges_follow_a():
    published, larger = build("m7c3"), build("m7c3", a=2 * 4.526)
    np.testing.assert_allclose(larger.cell, 2 * published.cell)
    np.testing.assert_allclose(larger.positions, 2 * published.positions)


def test_any_two_elements_may_stand_there():
    frame = from_builder(BuilderSettings(structure="m23c6", species=("Mn", "B"), cubic=False), "here")
    assert frame.formula == "B6Mn23"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"structure": "cementite", "species": ["Fe"]}, "needs 2 species"),
        ({"structure": "bcc", "species": ["Fe"]}, "needs its lattice constant"),
        ({"structure": "m7c3", "species": ["Cr", "C"], "c": 12.0}, "no lattice constant c"),
        ({"structure": "m7c4", "species": ["Cr", "C"]}, "structure"),
    ],
)
def test_bad_settings_are_explained(settings, message):
    with pytest.raises(ValidationError, match=message):
        BuilderSettings(**settings)
