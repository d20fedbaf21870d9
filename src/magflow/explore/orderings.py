"""Collinear sign patterns of a structure: which sites point up and which down.

All sign patterns of up to :data:`MAX_SITES` magnetic sites are enumerated and reduced by the space group (spglib)
and time reversal. For more sites the patterns are standing waves, sign(cos(2 pi q . s)), with q half a reciprocal
lattice vector of the unit cell: the layered orders (single and double layers, checkerboards), told apart by their
pair correlations. pymatgen's ``MagneticStructureEnumerator`` also finds the supercells by itself, but needs the
external enumlib program.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from magflow.core.frame import Frame
from magflow.core.types import BoolArray, FloatArray, IntArray
from magflow.explore.symmetry import SYMPREC, spglib_cell

MAX_SITES = 12
"""Magnetic sites up to which all 2^(n-1) sign patterns are looked at."""

_REACH = 8.0  # A, of the pair correlations that tell the patterns of larger cells apart


class PrototypeOrdering(StrEnum):
    """Orderings a prototype can be asked for."""

    FM = "FM"
    AFM = "AFM"
    FIM = "FiM"
    NM = "NM"
    DLM = "DLM"
    GIVEN = "given"
    ENUMERATE = "enumerate"


def named(pattern: IntArray, species: Sequence[str]) -> PrototypeOrdering:
    """FM, AFM (the signs of each element add up to zero) or FiM, from the signs of a pattern; NM without any."""
    signs = pattern[pattern != 0]
    if not signs.size:
        return PrototypeOrdering.NM
    if abs(signs.sum()) == signs.size:
        return PrototypeOrdering.FM
    totals = [pattern[np.array(species) == element].sum() for element in set(species)]
    return PrototypeOrdering.FIM if any(totals) else PrototypeOrdering.AFM


def sign_patterns(frame: Frame, magnetic: BoolArray, repeats: IntArray) -> list[IntArray]:
    """All inequivalent sign patterns, each (N,) of +1, -1 and 0 (not magnetic), most symmetric first.

    Parameters
    ----------
    frame
        The structure.
    magnetic
        (N,) sites that get a sign; the first of them always gets +1.
    repeats
        (3, 3) the vectors of the cell of `frame` in those of the unit cell.
    """
    sites = np.flatnonzero(magnetic)
    if not sites.size:
        return []
    few = sites.size <= MAX_SITES
    chosen = _all_patterns(sites.size) if few else _waves(frame, sites, repeats)
    ranked = _orbits(frame, sites, chosen) if few else _correlated(frame, sites, chosen)
    patterns = []
    for k in ranked:
        pattern = np.zeros(len(frame), dtype=np.int64)
        pattern[sites] = chosen[k]
        patterns.append(pattern)
    return patterns


def _orbits(frame: Frame, sites: IntArray, chosen: IntArray) -> list[int]:
    """One row of `chosen` (P, n) for each orbit of the space group and time reversal, smallest orbits first."""
    permutations = _site_permutations(frame, sites)
    orbits: dict[bytes, tuple[int, int, int]] = {}
    for k, signs in enumerate(chosen):
        images = signs[permutations]
        images = np.unique(images * images[:, :1], axis=0)
        orbits.setdefault(images[-1].tobytes(), (len(images), -int(abs(signs.sum())), k))
    return [k for *_, k in sorted(orbits.values())]


def _correlated(frame: Frame, sites: IntArray, chosen: IntArray) -> list[int]:
    """One row of `chosen` (P, n) for each set of pair correlations sum s_i s_j, largest net sign first.

    The group of a large supercell has too many elements to go through; equivalent patterns share their correlations,
    and layered orders that share them up to :data:`_REACH` are alike enough to keep one.
    """
    from magflow.core.neighbours import NeighborList

    number = np.full(len(frame), -1)
    number[sites] = np.arange(sites.size)
    search = NeighborList(cutoff=_REACH, full_list=False, n_threads=1)
    i, j, d = search.compute(points=frame.positions, box=frame.cell, periodic=True, quantities="ijd")
    i, j = number[i.astype(np.int64)], number[j.astype(np.int64)]
    both = (i >= 0) & (j >= 0)
    z = frame.numbers[sites]
    low, high = np.minimum(z[i[both]], z[j[both]]), np.maximum(z[i[both]], z[j[both]])
    kinds = np.rint(d[both] * 100.0).astype(np.int64) * 1_000_000 + low * 1_000 + high  # distance and elements
    shell = np.unique(kinds, return_inverse=True)[1]
    found: dict[bytes, tuple[int, int]] = {}
    for k, signs in enumerate(chosen):
        sums = np.bincount(shell, signs[i[both]] * signs[j[both]]).astype(np.int64)
        found.setdefault(sums.tobytes(), (-int(abs(signs.sum())), k))
    return [k for _, k in sorted(found.values())]


def _all_patterns(n: int) -> IntArray:
    """(2^(n-1), n) signs; the first is +1."""
    rest = np.array(list(itertools.product((1, -1), repeat=n - 1)), dtype=np.int64).reshape(2 ** (n - 1), n - 1)
    return np.hstack([np.ones((len(rest), 1), dtype=np.int64), rest])


def _waves(frame: Frame, sites: IntArray, repeats: IntArray) -> IntArray:
    """(P, n) signs of standing waves that fit the cell; the first is +1."""
    s = np.linalg.solve(frame.cell.T, frame.positions[sites].T).T @ repeats
    s -= s[0]
    rows = []
    for q in itertools.product((0.0, 0.5, 1.0), repeat=3):
        turns = repeats @ np.array(q)
        if np.abs(turns - np.rint(turns)).max() > 1e-9:
            continue
        for phase in (0.0, np.pi / 4):
            wave = np.cos(2 * np.pi * s @ np.array(q) - phase)
            if np.abs(wave).min() > 0.1:
                signs = np.where(wave > 0, 1, -1)
                rows.append(signs * signs[0])
    return np.unique(np.array(rows, dtype=np.int64), axis=0)


def _site_permutations(frame: Frame, sites: IntArray) -> IntArray:
    """(G, n) images of the magnetic sites under the space group, as indices into `sites`."""
    import spglib

    crystal = spglib_cell(frame)
    fractional = crystal[1]
    symmetry = spglib.get_symmetry(crystal, symprec=SYMPREC)
    identity = np.arange(sites.size)[None]
    if symmetry is None:
        return identity
    found = [
        permutation
        for rotation, translation in zip(symmetry["rotations"], symmetry["translations"], strict=True)
        if (permutation := _permutation(fractional[sites], rotation, translation)) is not None
    ]
    return np.unique(np.array(found), axis=0) if found else identity


def _permutation(fractional: FloatArray, rotation: IntArray, translation: FloatArray) -> IntArray | None:
    """(n,) which site each site is carried to; None if the operation does not map them one to one."""
    delta = (fractional @ rotation.T + translation)[:, None] - fractional[None]
    delta -= np.rint(delta)
    image = np.argmin((delta**2).sum(axis=2), axis=1)
    return image if np.unique(image).size == image.size else None
