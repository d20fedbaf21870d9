"""Neighbour lists of the kernel against those of ASE and vesin, in cells of every shape."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from hypothesis import given
from hypothesis import strategies as st
from vesin import NeighborList

from magflow.potentials.mmtp.geometry import build_geometry
from magflow.potentials.mmtp.native import kernel

CUTOFF = 4.3


def ours(cells, positions, cutoff=CUTOFF):
    """Centre, neighbour, vector, of all frames."""
    counts = np.array([len(p) for p in positions], dtype=np.int64)
    first, j, vector, volumes, closest = kernel().neighbours(cutoff, counts, np.concatenate(positions), np.array(cells))
    np.testing.assert_allclose(volumes, np.abs(np.linalg.det(cells)), rtol=1e-10)
    assert first[0] == 0
    assert first[-1] == len(j) == len(vector)
    distances = np.linalg.norm(vector, axis=1)
    assert closest == pytest.approx(distances.min(initial=np.inf), abs=1e-12)
    return np.repeat(np.arange(counts.sum()), np.diff(first)), j, vector


def in_order(i, j, vector):
    """Rows of centre, neighbour and vector in an order that does not depend on who listed them."""
    keys = np.rint(vector * 1e6).astype(int).T
    order = np.lexsort((*keys, j, i))
    return np.column_stack([i[order], j[order]]), vector[order]


def assert_same(mine, theirs):
    (pairs, vectors), (expected, of_expected) = in_order(*mine), in_order(*theirs)
    np.testing.assert_array_equal(pairs, expected)
    np.testing.assert_allclose(vectors, of_expected, atol=1e-10)


def brute_force(cell, positions, cutoff=CUTOFF):
    """Every image within as many cells as the cutoff reaches across."""
    inverse = np.linalg.inv(cell)
    spread = np.ptp(positions @ inverse, axis=0)
    n = np.ceil(cutoff * np.linalg.norm(inverse, axis=0) + spread).astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(-k, k + 1) for k in n), indexing="ij"), axis=-1).reshape(-1, 3)
    found = []
    for i, r in enumerate(positions):
        d = (positions - r)[None] + (grid @ cell)[:, None]
        near = np.linalg.norm(d, axis=2) < cutoff
        near[(grid == 0).all(axis=1), i] = False
        s, j = np.nonzero(near)
        found.append((np.full(len(j), i), j, d[s, j]))
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))


@st.composite
def crystals(draw):
    """Small and large, flat, skewed, left-handed cells, slabs; atoms inside and far outside of them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 12))
    kind = draw(st.sampled_from(["cube", "flat", "skewed", "slab", "any"]))
    cell = np.eye(3) * rng.uniform(2.2, 7.0)
    if kind == "flat":
        cell[rng.integers(3)] *= 0.35
    if kind == "skewed":
        cell[1] += rng.integers(-3, 4) * cell[0]
        cell[2] += rng.integers(-2, 3) * cell[0] + rng.integers(-2, 3) * cell[1]
    if kind == "slab":
        cell[rng.integers(3)] *= 6.0
    if kind in ("any", "skewed"):
        cell = cell @ (np.eye(3) + rng.uniform(-0.25, 0.25, (3, 3)))
    if draw(st.booleans()):
        cell = cell[[1, 0, 2]]
    fractional = rng.uniform(0, 1, (n, 3))
    if draw(st.booleans()):  # on the faces of the cell, and on other periods
        fractional = np.rint(2 * fractional) / 2 + rng.integers(-3, 4, (n, 3))
    return cell, fractional @ cell


@given(crystals())
def test_the_same_pairs_as_by_brute_force(crystal):
    cell, positions = crystal
    assert_same(ours([cell], [positions]), brute_force(cell, positions))


@given(st.lists(crystals(), min_size=1, max_size=4))
def test_many_cells_in_one_call_are_those_cells(batch):
    cells, positions = zip(*batch, strict=True)
    i, j, vector = ours(cells, positions)
    begin = 0
    for cell, where in batch:
        mine = (i >= begin) & (i < begin + len(where))
        assert (j[mine] >= begin).all()
        alone = ours([cell], [where])
        np.testing.assert_array_equal(i[mine] - begin, alone[0])
        np.testing.assert_array_equal(j[mine] - begin, alone[1])
        np.testing.assert_array_equal(vector[mine], alone[2])
        begin += len(where)
    assert begin == sum(map(len, positions))


@pytest.mark.parametrize("vacuum", [0.0, 60.0])
@pytest.mark.parametrize("n", [1, 3, 7])
def test_the_same_pairs_as_ase_and_vesin(n, vacuum):
    rng = np.random.default_rng(n)
    atoms = Atoms("Fe2", positions=[[0, 0, 0], [1.4, 1.4, 1.4]], cell=2.87 * np.eye(3), pbc=True).repeat((n, n, n))
    atoms.cell[2, 2] += vacuum
    atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
    atoms.set_cell(atoms.cell @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
    mine = ours([np.array(atoms.cell)], [atoms.positions])
    search = NeighborList(cutoff=CUTOFF, full_list=True)
    assert_same(mine, search.compute(atoms.positions, np.array(atoms.cell), periodic=True, quantities="ijD"))
    if n < 7:
        assert_same(mine, neighbor_list("ijD", atoms, CUTOFF))


def test_an_atom_sees_its_own_images_and_not_itself():
    i, j, vector = ours([3.0 * np.eye(3)], [np.array([[0.1, 0.2, 0.3]])])
    assert len(i) == 18
    assert (j == 0).all()
    assert np.linalg.norm(vector, axis=1).min() == pytest.approx(3.0)


def test_lone_atoms_have_no_neighbours():
    cells = np.array([9 * np.eye(3)] * 2)
    first, j, vector, _, closest = kernel().neighbours(CUTOFF, np.array([1, 1]), np.zeros((2, 3)), cells)
    assert first.tolist() == [0, 0, 0]
    assert j.shape == (0,)
    assert vector.shape == (0, 3)
    assert closest == np.inf


def test_no_frames_at_all():
    geometry = build_geometry([], ("Fe",), CUTOFF, magnetic=True)
    assert len(geometry.counts) == len(geometry.neighbour) == len(geometry.volumes) == 0
    assert geometry.closest == np.inf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, [1], np.zeros((1, 3)), np.eye(3)), "cutoff"),
        ((np.nan, [1], np.zeros((1, 3)), np.eye(3)), "cutoff"),
        ((4.0, [2], np.zeros((1, 3)), np.eye(3)), "positions"),
        ((4.0, [1, 1], np.zeros((2, 3)), np.eye(3)), "cells"),
        ((4.0, [2, -1], np.zeros((1, 3)), np.array([np.eye(3)] * 2)), "number of atoms"),
        ((4.0, [1], np.full((1, 3), np.nan), np.eye(3)), "nowhere"),
        ((4.0, [1], np.zeros((1, 3)), np.zeros((3, 3))), "volume"),
        ((4.0, [1], np.zeros((1, 3)), np.array([[3.0, 0, 0], [3e9, 3.0, 0], [0, 3e9, 3.0]])), "too many neighbours"),
    ],
)
def test_the_kernel_refuses_what_it_cannot_read(arguments, message):
    cutoff, counts, positions, cells = arguments
    with pytest.raises(ValueError, match=message):
        kernel().neighbours(cutoff, np.array(counts, dtype=np.int64), positions, np.array(cells))
