"""Frames as the flat arrays the kernel reads, with their neighbour lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.moments import is_collinear
from magflow.core.types import FloatArray, IntArray
from magflow.errors import InputError
from magflow.potentials.mmtp.native import kernel

UNPHYSICAL = 0.5
"""A; two atoms closer than this are an error, not an extrapolation."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """Atoms of n frames, one after the other, and their neighbours within `cutoff`.

    Parameters
    ----------
    counts
        (n,) atoms per frame.
    volumes
        (n,) A^3.
    type
        (N,) index into the species the geometry was built for.
    moment
        (N,) muB, collinear; zero where `magnetic` is False.
    frame
        (N,) frame of each atom.
    first, neighbour, vector
        Neighbours of atom i are ``neighbour[first[i]:first[i + 1]]`` at ``vector`` (P, 3) A from it.
    magnetic
        Whether moments were asked for.
    closest
        Smallest distance, A; infinite without neighbours.
    """

    counts: IntArray
    volumes: FloatArray
    type: np.ndarray
    moment: FloatArray
    frame: np.ndarray
    first: IntArray
    neighbour: np.ndarray
    vector: FloatArray
    magnetic: bool
    closest: float
    packings: dict[tuple[int, str], Any] = field(default_factory=dict, repr=False)

    @cached_property
    def offsets(self) -> IntArray:
        """(n + 1,) first atom of each frame."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    @cached_property
    def design_arguments(self) -> tuple[object, ...]:
        """In the order the kernel's ``Design`` takes them."""
        return (self.type, self.moment, self.frame, len(self.counts), self.first, self.neighbour, self.vector)

    def packing(self, n_types: int, instruction_set: str = "") -> Any:
        """The neighbours in the order of the kernel's SIMD lanes; kept, also for the reversed moments.

        Parameters
        ----------
        instruction_set
            One of ``kernel().instruction_sets()``; empty: the fastest here.
        """
        key = (n_types, instruction_set)
        if key not in self.packings:
            self.packings[key] = kernel().Packing(
                n_types, len(self.counts), self.type, self.frame, self.first, self.neighbour, instruction_set
            )
        return self.packings[key]

    def reversed(self) -> Geometry:
        """The same with all moments reversed."""
        return replace(self, moment=-self.moment)


@dataclass(frozen=True, eq=False)
class FlatFrames:
    """Atoms of n frames, one after the other, as the kernel reads them.

    Parameters
    ----------
    counts
        (n,) atoms per frame.
    type, moment
        (N,) as in :class:`Geometry`.
    positions, cells
        (N, 3) and (n, 3, 3) A.
    """

    counts: IntArray
    type: np.ndarray
    moment: FloatArray
    positions: FloatArray
    cells: FloatArray


def flatten(frames: Sequence[Frame], species: tuple[str, ...], *, magnetic: bool) -> FlatFrames:
    """The atoms of `frames`.

    Raises
    ------
    InputError
        Unknown species, moments missing (when `magnetic`), non-collinear moments.
    """
    types = _all_types(frames, {symbol: k for k, symbol in enumerate(species)})
    return FlatFrames(
        np.array([len(f.species) for f in frames], dtype=np.int64),
        types,
        _all_moments(frames) if magnetic else np.zeros(len(types)),
        _rows([f.positions for f in frames]),
        np.array([f.cell for f in frames]),
    )


def build_geometry(frames: Sequence[Frame], species: tuple[str, ...], cutoff: float, *, magnetic: bool) -> Geometry:
    """Neighbour lists and flat arrays of `frames`.

    Raises
    ------
    InputError
        As :func:`flatten`; cells whose neighbours cannot be listed, atoms closer than 0.5 A.
    """
    flat = flatten(frames, species, magnetic=magnetic)
    with listing():
        first, neighbour, vector, volumes, closest = kernel().neighbours(
            cutoff, flat.counts, flat.positions, flat.cells
        )
    geometry = Geometry(
        flat.counts,
        volumes,
        flat.type,
        flat.moment,
        np.repeat(np.arange(len(frames), dtype=np.int32), flat.counts),
        first,
        neighbour,
        vector,
        magnetic,
        closest,
    )
    _refuse_overlap(geometry)
    return geometry


@contextmanager
def listing() -> Iterator[None]:
    """What the kernel says of cells whose neighbours it cannot list, as InputError."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"no neighbours can be listed: {error}") from error


def _rows(parts: Sequence[FloatArray]) -> FloatArray:
    """(sum N, 3) the rows of all."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros((0, 3))


def _all_types(frames: Sequence[Frame], index: dict[str, int]) -> np.ndarray:
    try:
        return np.fromiter(map(index.__getitem__, chain.from_iterable(f.species for f in frames)), dtype=np.int32)
    except KeyError:
        return np.concatenate([type_indices(f, index, k) for k, f in enumerate(frames)])  # raises, naming the frame


def _all_moments(frames: Sequence[Frame]) -> FloatArray:
    given = [f.magmoms for f in frames if f.magmoms is not None]
    vectors = _rows(given)
    if len(given) < len(frames) or not is_collinear(vectors):
        return np.concatenate([collinear_moments(f, k) for k, f in enumerate(frames)])  # raises, naming the frame
    return np.ascontiguousarray(vectors[:, 2])


def type_indices(frame: Frame, index: dict[str, int], k: int) -> np.ndarray:
    """(N,) index of each atom's species; `k` is how an error names the frame."""
    unknown = sorted(set(frame.species) - set(index))
    if unknown:
        raise InputError(
            "the potential does not know an element of this frame",
            where=f"frame {k}",
            seen=", ".join(unknown),
            expected=", ".join(index),
        )
    return np.array([index[s] for s in frame.species], dtype=np.int32)


def collinear_moments(frame: Frame, k: int) -> FloatArray:
    """(N,) moments along z, muB; `k` is how an error names the frame."""
    if frame.magmoms is None:
        raise InputError(
            "a magnetic potential needs moments and this frame has none",
            where=f"frame {k}",
            hint="give magmoms (zeros if the atoms are to carry none)",
        )
    if not is_collinear(frame.magmoms):
        raise InputError(
            "moments are non-collinear",
            where=f"frame {k}",
            seen=frame.magmoms.tolist(),
            expected="moments along z only",
        )
    return np.ascontiguousarray(frame.magmoms[:, 2])


def _refuse_overlap(geometry: Geometry) -> None:
    if geometry.closest >= UNPHYSICAL:
        return
    pair = int(np.argmin((geometry.vector**2).sum(axis=1)))
    atom = int(np.searchsorted(geometry.first, pair, side="right")) - 1
    raise InputError(
        "two atoms are too close for any potential",
        where=f"frame {int(geometry.frame[atom])}",
        seen=f"{geometry.closest:.3f} A",
        expected=f"at least {UNPHYSICAL} A",
    )
