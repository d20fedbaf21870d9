r"""Frames as vectors, for regression: what surrounds their atoms, and the moments they carry.

The neighbours j of species b of an atom have radial moments, with f_k = (1 - r/R)^2 T_k(2 r/R - 1),

    M_bk = sum_j f_k(r_ij),   V_bk = sum_j f_k u_ij,   Q_bk = sum_j f_k (u_ij u_ij - 1/3),

of which M and the products M M, V.V and Q:Q of any two do not turn with the frame. A frame is the sum of them over
its atoms of each species, per atom of the frame: the same for any choice of cell and order of atoms, and smooth in
all positions. Moments enter by |m_i|^2, its powers, and the sums over neighbours of f_k m_i.m_j, f_k |m_j|^2 and
f_k |m_i|^2, which neither time reversal nor a rotation of all moments changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from magflow.core.frame import Frame
from magflow.core.neighbours import NeighborList
from magflow.core.types import FloatArray, IntArray

REACH = 2.2
"""R over the cube root of the volume per atom (its median in a set): 45 neighbours, 5 A in iron."""
CHANNELS = 16
"""Radial functions times species; four functions, fewer where there are many species."""
_ATOMS = 2000
"""Atoms whose neighbours are held at once."""
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_POWERS = 3


@dataclass(frozen=True, eq=False)
class _Neighbours:
    """The N atoms of some frames and their P neighbours.

    Parameters
    ----------
    frame, species
        (N,) of each atom.
    atom, other
        (P,) an atom and its neighbour.
    radial, unit
        (P, K) f_k and (P, 3) u.
    """

    frame: IntArray
    species: IntArray
    atom: IntArray
    other: IntArray
    radial: FloatArray
    unit: FloatArray

    def sums(self, values: FloatArray, elements: int) -> FloatArray:
        """(N, elements * C) sum over the neighbours of each species of `values` (P, C), species-major."""
        atoms, columns = len(self.species), values.shape[1]
        row = self.atom * elements + self.species[self.other]
        return _summed(values, row, atoms * elements).reshape(atoms, elements * columns)

    def of_frames(self, values: FloatArray, frames: int, elements: int) -> FloatArray:
        """(frames, elements * C) sum of `values` (N, C) over the atoms of each species, per atom of the frame."""
        row = self.frame * elements + self.species
        summed = _summed(values, row, frames * elements).reshape(frames, -1)
        return summed / np.bincount(self.frame, minlength=frames)[:, None]


def _summed(values: FloatArray, row: IntArray, rows: int) -> FloatArray:
    """(rows, C): sums of those `values` (P, C) that belong to each row."""
    from scipy.sparse import csr_array  # late: the results of a campaign name what environments tell

    return np.asarray(csr_array((np.ones(len(row)), (row, np.arange(len(row)))), shape=(rows, len(row))) @ values)


def environments(frames: Sequence[Frame], elements: Sequence[str]) -> FloatArray:
    """(n, D) what surrounds the atoms of each frame; nothing of it knows moments."""
    return np.concatenate([_environments(near, len(part), len(elements)) for part, near in _batches(frames, elements)])


def magnetism(frames: Sequence[Frame], elements: Sequence[str]) -> FloatArray:
    """(n, D) the moments of each frame, which all have some (zero is one)."""
    return np.concatenate([_magnetism(near, part, len(elements)) for part, near in _batches(frames, elements)])


def _environments(near: _Neighbours, frames: int, elements: int) -> FloatArray:
    f, u = near.radial, near.unit
    second = np.stack([u[:, a] * u[:, b] - (a == b) / 3.0 for a, b in _VOIGT], axis=1)
    second[:, 3:] *= np.sqrt(2.0)  # each stands for two components
    scalar = near.sums(f, elements)
    products = [_products(scalar[:, :, None])]
    for tensor in (u, second):
        size = tensor.shape[1]
        summed = near.sums((f[:, :, None] * tensor[:, None, :]).reshape(len(f), -1), elements)
        products.append(_products(summed.reshape(len(summed), -1, size)))
    return near.of_frames(np.concatenate([scalar, *products], axis=1), frames, elements)


def _products(tensors: FloatArray) -> FloatArray:
    """(N, A (A + 1) / 2) scalar products of any two of the A tensors (N, A, size) of each atom."""
    first, second = np.triu_indices(tensors.shape[1])
    return np.asarray((tensors @ tensors.transpose(0, 2, 1))[:, first, second])


def _magnetism(near: _Neighbours, frames: Sequence[Frame], elements: int) -> FloatArray:
    moments = np.concatenate([np.zeros((len(f), 3)) if f.magmoms is None else f.magmoms for f in frames])
    square = (moments**2).sum(axis=1)
    product = (moments[near.atom] * moments[near.other]).sum(axis=1)
    columns = [
        square[:, None] ** np.arange(1, _POWERS + 1),
        near.sums(near.radial * product[:, None], elements),
        near.sums(near.radial * square[near.other, None], elements),
        near.sums(near.radial, elements) * square[:, None],
    ]
    return near.of_frames(np.concatenate(columns, axis=1), len(frames), elements)


def _batches(frames: Sequence[Frame], elements: Sequence[str]) -> Iterator[tuple[Sequence[Frame], _Neighbours]]:
    """Frames with at most :data:`_ATOMS` atoms together (or one), and their neighbours."""
    reach = REACH * float(np.median([np.cbrt(f.volume / len(f)) for f in frames]))
    functions = max(1, min(4, CHANNELS // len(elements)))
    ends = np.cumsum([len(f) for f in frames])
    begin = 0
    while begin < len(frames):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _ATOMS, side="right")))
        yield frames[begin:end], _neighbours(frames[begin:end], elements, reach, functions)
        begin = end


def _neighbours(frames: Sequence[Frame], elements: Sequence[str], reach: float, functions: int) -> _Neighbours:
    code = {symbol: k for k, symbol in enumerate(elements)}
    search = NeighborList(cutoff=reach, full_list=True, n_threads=1)
    atom, other, vector, begin = [], [], [], 0
    for frame in frames:
        i, j, d = search.compute(frame.positions, frame.cell, periodic=True, quantities="ijD")
        atom.append(i.astype(np.int64) + begin)
        other.append(j.astype(np.int64) + begin)
        vector.append(d)
        begin += len(frame)
    vectors = np.concatenate(vector)
    distance = np.linalg.norm(vectors, axis=1)
    angle = np.arccos(np.clip(2.0 * distance / reach - 1.0, -1.0, 1.0))
    radial = (1.0 - distance / reach)[:, None] ** 2 * np.cos(angle[:, None] * np.arange(functions))
    return _Neighbours(
        np.repeat(np.arange(len(frames)), [len(f) for f in frames]),
        np.array([code[s] for f in frames for s in f.species], dtype=np.int64),
        np.concatenate(atom),
        np.concatenate(other),
        radial,
        vectors / np.maximum(distance, 1e-12)[:, None],
    )
