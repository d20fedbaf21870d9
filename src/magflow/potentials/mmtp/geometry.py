"""Frames as the flat arrays the kernel reads, with their neighbour lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
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


def flatten(frames: Sequence[Frame], species: tuple[str, ...], *, magnetic: bool) -> Any:
    """The atoms of `frames`, one after the other, as the kernel reads them.

    Returns
    -------
    Frames
        Of the kernel: ``counts`` (n,), ``type`` (N,), ``moment`` (N,) muB, zero unless `magnetic`, ``positions`` (N, 3)
        and ``cells`` (n, 3, 3) A.

    Raises
    ------
    InputError
        Unknown species, moments missing (when `magnetic`), non-collinear moments.
    """
    index = {symbol: k for k, symbol in enumerate(species)}
    try:
        return kernel().Frames(
            index,
            [f.species for f in frames],
            [f.positions for f in frames],
            [f.cell for f in frames],
            [f.magmoms for f in frames] if magnetic else None,
        )
    except ValueError:
        for k, frame in enumerate(frames):  # says what is wrong, and in which frame
            type_indices(frame, index, k)
            if magnetic:
                collinear_moments(frame, k)
        raise


def build_geometry(frames: Sequence[Frame], species: tuple[str, ...], cutoff: float, *, magnetic: bool) -> Geometry:
    """Neighbour lists and flat arrays of `frames`.

    Raises
    ------
    InputError
        As :func:`flatten`; cells whose neighbours cannot be listed, atoms closer than 0.5 A.
    """
    flat = flatten(frames, species, magnetic=magnetic)
    counts = flat.counts
    try:
        first, neighbour, vector, volumes, closest = kernel().neighbours(cutoff, counts, flat.positions, flat.cells)
    except ValueError as error:
        raise unlisted(error) from error
    geometry = Geometry(
        counts,
        volumes,
        flat.type,
        flat.moment,
        np.repeat(np.arange(len(frames), dtype=np.int32), counts),
        first,
        neighbour,
        vector,
        magnetic,
        closest,
    )
    _refuse_overlap(geometry)
    return geometry


def unlisted(error: ValueError) -> InputError:
    """What the kernel says of cells whose neighbours it cannot list, for a user."""
    return InputError(f"no neighbours can be listed: {error}")


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
