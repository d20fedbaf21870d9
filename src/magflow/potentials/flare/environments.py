"""Frames as FLARE sees them: descriptors of unit length and their derivatives, from the house's neighbour lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from magflow.core.frame import Frame
from magflow.core.types import FloatArray, IntArray
from magflow.potentials.flare.core import core
from magflow.potentials.flare.settings import Descriptor
from magflow.potentials.mmtp.geometry import build_geometry

FRAMES = 64
"""Frames whose neighbour lists are held at once."""
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class Form:
    """What decides the descriptors of an atom.

    Parameters
    ----------
    species
        Elements, in the order of their bond sums.
    descriptor, n_max, l_max, cutoff
        See :class:`magflow.potentials.flare.settings.FlareSettings`.
    """

    species: tuple[str, ...]
    descriptor: Descriptor
    n_max: int
    l_max: int
    cutoff: float

    @property
    def angles(self) -> int:
        """The l_max that counts: B1 has no angles."""
        return 0 if self.descriptor is Descriptor.B1 else self.l_max

    @property
    def size(self) -> int:
        """D, the number of descriptors."""
        order, side = self.descriptor.order, range(self.angles + 1)
        radial = comb(len(self.species) * self.n_max + order - 1, order)
        if self.descriptor is Descriptor.B3:
            return radial * sum(abs(a - b) <= c <= a + b for a in side for b in side for c in side)
        return radial * len(side)

    def environments(self, frames: Sequence[Frame]) -> Iterator[Environments]:
        """Those of each frame in turn.

        Raises
        ------
        InputError
            Unknown species, atoms closer than 0.5 A.
        MissingToolError
            No mir-flare-core.
        """
        if not frames:
            return
        module = core()
        kind = module.ComplexEnvironments if self.descriptor is Descriptor.B3 else module.RealEnvironments
        basis = module.Basis(self.descriptor.order, len(self.species), self.n_max, self.angles, self.cutoff)
        for at in range(0, len(frames), FRAMES):
            geometry = build_geometry(frames[at : at + FRAMES], self.species, self.cutoff, magnetic=False)
            for f, volume in enumerate(geometry.volumes):
                begin, end = geometry.offsets[f : f + 2]
                pairs = slice(geometry.first[begin], geometry.first[end])
                types = geometry.type[begin:end]
                first = (geometry.first[begin : end + 1] - pairs.start).astype(np.int32)
                neighbour = geometry.neighbour[pairs] - np.int32(begin)
                vectors = geometry.vector[pairs]
                native = kind(basis, types, first, neighbour, vectors)
                yield Environments(types, first, neighbour, vectors, float(volume), native)


@dataclass(frozen=True, eq=False)
class Environments:
    """The N atoms of one frame and their P neighbours.

    Parameters
    ----------
    types
        (N,) index into the species.
    first, neighbour, vectors
        Neighbours of atom i are ``neighbour[first[i]:first[i + 1]]`` at ``vectors`` (P, 3) A from it.
    volume
        A^3.
    native
        mir-flare-core's.
    """

    types: np.ndarray
    first: np.ndarray
    neighbour: np.ndarray
    vectors: FloatArray
    volume: float
    native: Any

    def __len__(self) -> int:
        return len(self.types)

    @property
    def unit(self) -> FloatArray:
        """(N, D) descriptors of unit length; zero of an atom without neighbours."""
        return np.asarray(self.native.unit)

    @cached_property
    def centre(self) -> IntArray:
        """(P,) the atom whose neighbour it is."""
        return np.repeat(np.arange(len(self)), np.diff(self.first))

    @cached_property
    def gradients(self) -> FloatArray:
        """(D, 3 P) derivatives of the unit descriptors of :attr:`centre` by ``vectors``."""
        return np.asarray(self.native.gradients())

    def pulled(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """dE/dr (N, 3), eV/A, and dE/d(strain) (6,), eV, of an energy whose derivatives by the unit descriptors are
        `weights` (N, D).
        """
        by_vector = np.asarray(self.native.pull(np.ascontiguousarray(weights)))
        gradient = np.empty((len(self), 3))
        for k in range(3):
            moved = np.bincount(self.neighbour, by_vector[:, k], len(self))
            gradient[:, k] = moved - np.bincount(self.centre, by_vector[:, k], len(self))
        tensor = by_vector.T @ self.vectors
        return gradient, np.array([0.5 * (tensor[a, b] + tensor[b, a]) for a, b in VOIGT])

    @cached_property
    def sums(self) -> csr_array:
        """(3 N + 6, 3 P) from derivatives by ``vectors`` to those by positions and strain (Voigt)."""
        bonds, axes = np.arange(len(self.neighbour)), np.arange(3)
        column = 3 * bonds[:, None] + axes
        plus, minus = 3 * self.neighbour[:, None] + axes, 3 * self.centre[:, None] + axes
        rows, columns = [plus.ravel(), minus.ravel()], [column.ravel()] * 2
        values = [np.ones(column.size), -np.ones(column.size)]
        for v, (a, b) in enumerate(VOIGT):
            for k, other in {(a, b), (b, a)}:
                rows.append(np.full(len(bonds), 3 * len(self) + v))
                columns.append(column[:, k])
                values.append(self.vectors[:, other] * (1.0 if a == b else 0.5))
        shape = (3 * len(self) + 6, 3 * len(bonds))
        return csr_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)
