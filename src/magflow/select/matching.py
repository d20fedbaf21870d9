"""Are two frames the same crystal? Decided by constructing the isometry that maps one onto the other."""

from __future__ import annotations

from itertools import product

import numpy as np
import spglib

from magflow.core.frame import Frame
from magflow.core.types import BoolArray, FloatArray, IntArray
from magflow.select.settings import Tolerance


def same_crystal(a: Frame, b: Frame, tolerance: Tolerance) -> bool:
    """True if a rotation, reflection, translation, permutation of equal atoms, reversal of all moments or
    another choice of cell takes one frame to the other within `tolerance`.

    One frame may be a supercell of the other. Moments turn independently of space (no spin-orbit). A frame
    without moments is never the same as one with moments of zero, nor is one with other constrained atoms.
    """
    if len(a) > len(b):
        a, b = b, a
    if len(b) % len(a) or (a.magmoms is None) != (b.magmoms is None):
        return False
    codes_a, codes_b = _codes(a), _codes(b)
    if set(codes_a.tolist()) != set(codes_b.tolist()):
        return False
    cell_a, cell_b = _reduced(a.cell), _reduced(b.cell)
    rotations = _rotations(cell_a, cell_b, tolerance.distance)
    if not len(rotations):
        return False
    images = _site_maps(a, b, cell_a, rotations, (codes_a, codes_b), tolerance)
    if not len(images) or a.magmoms is None or b.magmoms is None:
        return bool(len(images))
    return _moments_agree(a.magmoms[images], b.magmoms, tolerance.moment)


def _codes(frame: Frame) -> IntArray:
    """Atoms that may be exchanged share a code."""
    held = np.ones(len(frame), dtype=np.int64) if frame.constrained is None else frame.constrained.astype(np.int64)
    return frame.numbers * 2 + held


def _reduced(cell: FloatArray) -> FloatArray:
    """Short lattice vectors of the same lattice; the cell itself if the reduction does not converge."""
    reduced = spglib.niggli_reduce(cell, eps=1e-5)
    return cell if reduced is None else np.asarray(reduced, dtype=float)


def _rotations(cell_a: FloatArray, cell_b: FloatArray, tolerance: float) -> FloatArray:
    """(n, 3, 3) orthogonal maps x -> x @ R that take every vector of lattice b into lattice a."""
    lengths = np.linalg.norm(cell_b, axis=1)
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell_a), axis=0)
    reach = np.floor((lengths.max() + tolerance) / heights).astype(int)
    grid = np.array(list(product(*(range(-r, r + 1) for r in reach))), dtype=float)
    vectors = grid @ cell_a
    norms = np.linalg.norm(vectors, axis=1)
    shells = [vectors[np.abs(norms - length) <= tolerance] for length in lengths]
    if min(len(s) for s in shells) == 0:
        return np.zeros((0, 3, 3))

    def close(i: int, j: int) -> BoolArray:
        slack = tolerance * (lengths[i] + lengths[j])
        near: BoolArray = np.abs(shells[i] @ shells[j].T - cell_b[i] @ cell_b[j]) <= slack
        return near

    good = close(0, 1)[:, :, None] & close(0, 2)[:, None, :] & close(1, 2)[None, :, :]
    first, second, third = np.nonzero(good)
    targets = np.stack([shells[0][first], shells[1][second], shells[2][third]], axis=1)
    maps = np.linalg.inv(cell_b) @ targets
    left, _, right = np.linalg.svd(maps)
    rotations = left @ right
    fits = np.linalg.norm(cell_b @ rotations - targets, axis=2).max(axis=1, initial=0.0) <= tolerance
    kept: FloatArray = rotations[fits]
    return kept


def _site_maps(
    a: Frame,
    b: Frame,
    cell_a: FloatArray,
    rotations: FloatArray,
    codes: tuple[IntArray, IntArray],
    tolerance: Tolerance,
) -> IntArray:
    """(n, N_b) for each isometry that works, the atom of a that every atom of b falls on."""
    codes_a, codes_b = codes
    anchor, targets = _anchor(a, b, codes, tolerance.moment)
    turned = np.einsum("bx,rxy->rby", b.positions - b.positions[anchor], rotations)
    placed = turned[:, None] + a.positions[targets][None, :, None]
    placed = placed.reshape(-1, len(b), 3)
    delta = placed[:, :, None] - a.positions
    fractional = delta @ np.linalg.inv(cell_a)
    delta = (fractional - np.rint(fractional)) @ cell_a
    squares = np.where(codes_b[:, None] == codes_a, (delta**2).sum(axis=3), np.inf)
    images = squares.argmin(axis=2)
    # The anchor itself may be off by the tolerance, so each atom may seem off by twice as much until the
    # mean shift is taken out.
    near = np.take_along_axis(squares, images[:, :, None], axis=2)[:, :, 0] <= (2 * tolerance.distance) ** 2
    good = np.flatnonzero(near.all(axis=1))
    images = images[good]
    residual = np.take_along_axis(delta[good], images[:, :, None, None], axis=2)[:, :, 0]
    residual = residual - residual.mean(axis=1, keepdims=True)
    fits = np.linalg.norm(residual, axis=2).max(axis=1, initial=0.0) <= tolerance.distance
    hits = np.sort(images, axis=1)
    even = (hits == np.repeat(np.arange(len(a)), len(b) // len(a))).all(axis=1)
    kept: IntArray = images[fits & even]
    return kept


def _anchor(a: Frame, b: Frame, codes: tuple[IntArray, IntArray], tolerance: float) -> tuple[int, IntArray]:
    """The atom of b with the fewest atoms of a it could fall on, and those atoms."""
    alike = codes[1][:, None] == codes[0]
    if a.magmoms is not None and b.magmoms is not None:
        sizes_a, sizes_b = np.linalg.norm(a.magmoms, axis=1), np.linalg.norm(b.magmoms, axis=1)
        alike &= np.abs(sizes_b[:, None] - sizes_a) <= tolerance
    anchor = int(alike.sum(axis=1).argmin())
    return anchor, np.flatnonzero(alike[anchor])


def _moments_agree(images: FloatArray, moments: FloatArray, tolerance: float) -> bool:
    """True if any of `images` (n, N, 3) equals `moments` (N, 3) up to one rotation or reversal of all moments."""
    axial = not np.any(images[..., :2]) and not np.any(moments[:, :2])
    if axial:
        same = np.abs(images[..., 2] - moments[:, 2]).max(axis=1)
        reversed_ = np.abs(images[..., 2] + moments[:, 2]).max(axis=1)
        return bool((np.minimum(same, reversed_) <= tolerance).any())
    left, _, right = np.linalg.svd(images.transpose(0, 2, 1) @ moments)
    return bool((np.linalg.norm(images @ (left @ right) - moments, axis=2).max(axis=1) <= tolerance).any())
