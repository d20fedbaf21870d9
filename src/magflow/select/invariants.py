r"""Numbers of a frame that rotation, translation, permutation, time reversal and choice of cell leave alone.

For every atom i and every species b the distances d_ij to the neighbours j of species b are sorted; the
same is done with :math:`d_{ij} + \lambda |m_i + m_j|` and :math:`d_{ij} + \lambda |m_i - m_j|`, so that
moments and distances stay coupled. The lowest few values of each list are averaged over the atoms of one
species, and so is their standard deviation. Sorting and clipping at a radius are Lipschitz continuous: if no
distance changes by more than eps, no invariant does. That is what lets duplicates be found by a neighbour
search within a tolerance instead of by rounding, which fails at the edges of its bins. The lists are the
average minimum distances of Widdowson et al., MATCH Commun. Math. Comput. Chem. 87, 529 (2022), here with
species and moments.

They are necessary, not sufficient, for two frames to be the same: :mod:`magflow.select.matching` decides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from magflow.core.frame import Frame
from magflow.core.types import FloatArray, IntArray
from magflow.select.pairs import Pairs, pair_batches

MOMENT_LENGTH = 0.25
"""lambda, A/muB."""
RADIUS = 1.75
"""Clipping radius in units of (volume per atom)^(1/3): about 22 neighbours."""
MAX_RADIUS = 30.0
"""A; a bound for dilute cells."""
_ROW = 64.0
"""Offset between the rows of the joint sort, A; larger than any list value."""


def list_length(n_species: int) -> int:
    """Values kept of each sorted list."""
    return max(6, 24 // n_species)


def width(n_species: int) -> int:
    """Number of invariants for systems of `n_species` elements."""
    return 1 + 4 * n_species + 6 * n_species**2 * list_length(n_species)


def invariants(frames: Sequence[Frame], elements: Sequence[str]) -> np.ndarray:
    """(n, D) float32 invariants, A and muB; `elements` fixes the columns.

    Columns: (volume per atom)^(1/3); then per element mean, standard deviation, smallest and largest |m|; then the
    lists.
    """
    out = np.zeros((len(frames), width(len(elements))), dtype=np.float32)
    code = {s: i for i, s in enumerate(elements)}
    radii = np.array([min(RADIUS * np.cbrt(f.volume / len(f)), MAX_RADIUS) for f in frames])
    for members, pairs in pair_batches(frames, radii):
        out[members] = _batch([frames[i] for i in members], code, radii[members], pairs)
    return out


def _batch(frames: Sequence[Frame], code: dict[str, int], radii: FloatArray, pairs: Pairs) -> FloatArray:
    """Invariants of frames with one number of atoms."""
    n, size, kinds = len(frames), len(frames[0]), len(code)
    species = np.array([[code[s] for s in f.species] for f in frames])
    moments = np.array([np.zeros((size, 3)) if f.magmoms is None else f.magmoms for f in frames])
    f, i, j, d = pairs.frame, pairs.atom, pairs.neighbour, pairs.distance

    onehot = species[:, :, None] == np.arange(kinds)
    share = onehot / np.maximum(onehot.sum(axis=1, keepdims=True), 1)
    sizes = np.linalg.norm(moments, axis=2)
    columns = [np.array([[np.cbrt(f.volume / size)] for f in frames]), *_moment_columns(sizes, onehot, share)]

    row = (f * size + i) * kinds + species[f, j]
    rows = n * size * kinds
    clip = np.repeat(radii, size * kinds)
    sums = np.linalg.norm(moments[f, i] + moments[f, j], axis=1)
    differences = np.linalg.norm(moments[f, i] - moments[f, j], axis=1)
    for values in (d, d + MOMENT_LENGTH * sums, d + MOMENT_LENGTH * differences):
        lists = _sorted_rows(row, values, clip, rows, list_length(kinds)).reshape(n, size, -1)
        mean = np.einsum("nia,nil->nal", share, lists)
        square = np.einsum("nia,nil->nal", share, lists**2)
        columns += [mean.reshape(n, -1), np.sqrt(np.maximum(square - mean**2, 0.0)).reshape(n, -1)]
    return np.concatenate(columns, axis=1)


def _moment_columns(sizes: FloatArray, onehot: np.ndarray, share: FloatArray) -> list[FloatArray]:
    mean = np.einsum("nia,ni->na", share, sizes)
    square = np.einsum("nia,ni->na", share, sizes**2)
    present = onehot.any(axis=1)
    low = np.where(onehot, sizes[:, :, None], np.inf).min(axis=1)
    high = np.where(onehot, sizes[:, :, None], -np.inf).max(axis=1)
    spread = np.sqrt(np.maximum(square - mean**2, 0.0))
    return [mean, spread, np.where(present, low, 0.0), np.where(present, high, 0.0)]


def _sorted_rows(row: IntArray, values: FloatArray, clip: FloatArray, rows: int, length: int) -> FloatArray:
    """(rows, length) lowest values of each row in order, clipped at and padded with `clip`."""
    keys = np.sort(row * _ROW + np.minimum(values, clip[row]))
    row = np.floor(keys / _ROW).astype(np.int64)
    starts = np.searchsorted(row, np.arange(rows))
    rank = np.arange(len(row)) - starts[row]
    keep = rank < length
    table = np.repeat(clip[:, None], length, axis=1)
    table[row[keep], rank[keep]] = keys[keep] - row[keep] * _ROW
    return table
