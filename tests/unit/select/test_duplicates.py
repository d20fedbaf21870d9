"""Duplicates: invariants, exact matching, and the search that joins them."""

from __future__ import annotations

import time

import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list

from magflow.core.frame import Frame
from magflow.select.fingerprint import find_duplicates
from magflow.select.invariants import invariants, width
from magflow.select.matching import same_crystal
from magflow.select.pairs import pair_batches
from magflow.select.settings import Tolerance

TOLERANCE = Tolerance()


def b2(shift=(0.0, 0.0, 0.0), moments=(2.0, 0.0), a=2.88, species=("Fe", "Al"), **kwargs) -> Frame:
    return Frame(species, np.eye(3) * a, np.array([[0, 0, 0], np.full(3, a / 2) + shift]), moments, **kwargs)


def from_ase(atoms, moment=2.0) -> Frame:
    return Frame(tuple(atoms.get_chemical_symbols()), atoms.cell.array, atoms.positions, np.full(len(atoms), moment))


@pytest.mark.parametrize("radius", [2.0, 3.5, 6.0])
def test_pairs_are_those_of_an_independent_neighbour_list(radius):
    atoms = bulk("Fe", "bcc", a=2.87) * (2, 1, 1)
    atoms.rattle(0.1, seed=3)
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0.3, 0], [0, 1, 0.2], [0, 0, 1]]), scale_atoms=True)
    frame = from_ase(atoms)
    ((members, pairs),) = pair_batches([frame], np.array([radius]))
    i, j, d = neighbor_list("ijd", atoms, radius)
    assert members.tolist() == [0]
    assert sorted(zip(pairs.atom, pairs.neighbour, pairs.distance.round(9), strict=True)) == sorted(
        zip(i, j, d.round(9), strict=True)
    )


def test_invariants_do_not_jump_when_neighbours_change_places():
    """Continuity: steps a tenth of the tolerance never change an invariant by more than that allows."""
    path = [b2(shift=(x, 0.3 * x, 0), moments=(2.0, x - 0.05)) for x in np.arange(0, 0.1, 1e-4)]
    values = invariants(path, ["Al", "Fe"])
    assert values.shape == (len(path), width(2))
    assert np.abs(np.diff(values, axis=0)).max() < 3e-4


def test_primitive_and_cubic_cells_are_one_crystal():
    primitive, cubic = from_ase(bulk("Fe", "bcc", a=2.87)), from_ase(bulk("Fe", "bcc", a=2.87, cubic=True))
    assert find_duplicates([cubic], [primitive]).of_known.tolist() == [0]
    assert find_duplicates([primitive], [cubic]).of_known.tolist() == [0]


def test_an_antiferromagnet_is_not_its_ferromagnet():
    fm, afm = (b2(moments=m, species=("Fe", "Fe")) for m in ((2, 2), (2, -2)))
    assert find_duplicates([fm, afm]).of_pool.tolist() == [-1, -1]


@pytest.mark.parametrize("other", ["none", "constrained"])
def test_zero_moments_no_moments_and_free_moments_are_different(other):
    zero = b2(moments=(0.0, 0.0))
    changed = zero.non_magnetic() if other == "none" else b2(moments=(0.0, 0.0), constrained=np.array([True, False]))
    assert find_duplicates([changed], [zero]).of_known.tolist() == [-1]


@pytest.mark.parametrize(("shift", "same"), [(0.9e-3, True), (4e-3, False)])
def test_the_tolerance_of_distances(shift, same):
    assert same_crystal(b2(), b2(shift=(2 * shift, 0, 0)), TOLERANCE) is same  # each atom moves half of it


@pytest.mark.parametrize(("change", "same"), [(0.9e-3, True), (1.1e-3, False)])
def test_the_tolerance_of_moments(change, same):
    assert same_crystal(b2(), b2(moments=(2.0 + change, 0.0)), TOLERANCE) is same
    assert bool(find_duplicates([b2(moments=(2.0 + change, 0.0))], [b2()]).of_known[0] == 0) is same


@pytest.mark.parametrize("edge", np.linspace(2.0, 2.001, 7))
def test_no_edge_of_a_bin_splits_a_pair(edge):
    pair = [b2(moments=(edge, 0.0)), b2(moments=(edge + 5e-4, 0.0))]
    assert find_duplicates(pair).of_pool.tolist() == [-1, 0]


def test_noncollinear_moments_turn_on_their_own():
    vectors = np.array([[1.0, 0.5, 0.0], [0.0, 0.3, 2.0]])
    turn = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
    pair = [b2(moments=vectors, species=("Fe", "Fe")), b2(moments=vectors @ turn, species=("Fe", "Fe"))]
    assert find_duplicates(pair).of_pool.tolist() == [-1, 0]
    canted = np.array([[1.0, 0.5, 0.0], [0.0, -0.3, 2.0]])
    assert find_duplicates([pair[0], b2(moments=canted, species=("Fe", "Fe"))]).of_pool.tolist() == [-1, -1]


def test_many_copies_of_few_frames_do_not_take_quadratic_time():
    rng = np.random.default_rng(0)
    base = [b2(shift=(0.1 * i, 0.02, 0.03), moments=(1.0 + 0.1 * i, 0.0)) for i in range(3)]
    copies = []
    for _ in range(1500):
        frame = base[rng.integers(3)]
        copies.append(frame.replace(positions=frame.positions + rng.uniform(-1e-5, 1e-5, (2, 3))))
    start = time.process_time()
    found = find_duplicates(copies)
    assert int((found.of_pool < 0).sum()) == 3
    assert time.process_time() - start < 30


def test_no_frames_at_all():
    assert find_duplicates([]).of_known.size == 0
    assert find_duplicates([], [b2()]).of_pool.size == 0
