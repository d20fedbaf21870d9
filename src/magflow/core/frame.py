"""Frame: one atomic configuration with the moments it is to carry."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import ArrayLike

from magflow.core.arrays import digest
from magflow.core.moments import Ordering, as_vectors, canonical_sign, ordering
from magflow.core.notebook import facts_html
from magflow.core.types import BoolArray, FloatArray
from magflow.errors import InputError

QUANTUM = 1e-8
"""Resolution of the content hash, in A and muB: differences below it are no differences."""

MIN_VOLUME = 1e-3
"""Cell volume, A^3."""

MIN_WIDTH = 0.1
"""Distance of two opposite faces of a cell, A: neighbours of a thinner one are beyond counting."""

MAX_LENGTH = 1e6
"""Component of a vector of the cell or of a position, A: what counts cells in integers ends the process beyond it."""

_PART = re.compile(r"([A-Z][a-z]?)(\d*)")
_FORMULA = re.compile(r"(?:[A-Z][a-z]?\d*)+")


def _require_sizes(cell: FloatArray, positions: FloatArray, volume: float, where: str) -> None:
    for name, values in (("cell", cell), ("positions", positions)):
        if (seen := float(np.abs(values).max())) > MAX_LENGTH:
            raise InputError(f"{name} beyond all sizes", where=where, seen=seen, expected=f"at most {MAX_LENGTH:g} A")
    lengths = np.sort(np.linalg.norm(cell, axis=1))
    if volume < MIN_WIDTH * lengths[1] * lengths[2]:  # else no width can be too small
        width = float((1 / np.linalg.norm(np.linalg.inv(cell), axis=0)).min())
        if width < MIN_WIDTH:
            raise InputError("the cell is too thin", where=where, seen=width, expected=f"at least {MIN_WIDTH:g} A")


def _frozen(values: ArrayLike, shape: tuple[int, ...], name: str, where: str) -> FloatArray:
    try:
        array = np.array(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is not an array of numbers", where=where, seen=values) from error
    if array.shape != shape:
        raise InputError(f"{name} has the wrong shape", where=where, seen=array.shape, expected=str(shape))
    if not np.isfinite(array).all():
        raise InputError(f"{name} has a value that is not finite", where=where, seen=array.tolist())
    array.setflags(write=False)
    return array


def _quantised(array: FloatArray) -> np.ndarray:
    return np.rint(array / QUANTUM).astype(np.int64)


def spelt_formula(text: str) -> str | None:
    """A composition as :attr:`Frame.formula` spells it: ``FeAl`` is ``Al1Fe1``; None if `text` is none."""
    counts: Counter[str] = Counter()
    for symbol, number in _PART.findall(text):
        counts[symbol] += int(number or 1)
    known = _FORMULA.fullmatch(text) and all(atomic_numbers.get(symbol) for symbol in counts)
    return "".join(f"{symbol}{counts[symbol]}" for symbol in sorted(counts)) if known else None


def _largest(vectors: FloatArray) -> float:
    return float(np.linalg.norm(vectors, axis=1).max())


@dataclass(frozen=True, eq=False)
class Frame:
    """One periodic configuration.

    Two frames are equal when their `frame_id` is: a hash of the content at a resolution of 1e-8,
    the same for M and -M (no spin-orbit, no field), blind to nothing else.

    Parameters
    ----------
    species
        (N,) chemical symbols.
    cell
        (3, 3) A, rows are lattice vectors.
    positions
        (N, 3) A, Cartesian.
    magmoms
        (N, 3) muB (or (N,), taken as the z component); the target moments of a constrained
        calculation, the moments a potential is evaluated at. None: non-magnetic on purpose.
    constrained
        (N,) which atoms a constrained calculation holds at their moment. None: all of them.

    Raises
    ------
    InputError
        Unknown element, wrong shape, a value that is not finite, no volume, a cell or a position beyond all sizes.

    Examples
    --------
    >>> import numpy as np
    >>> from magflow import Frame
    >>> frame = Frame(("Fe", "Fe"), 2.87 * np.eye(3), [[0, 0, 0], [1.435, 1.435, 1.435]], magmoms=[2.2, -2.2])
    >>> frame
    <Frame Fe2 AFM, 23.64 A^3, |m| up to 2.2 muB>
    >>> frame == frame.time_reversed()
    True
    """

    species: tuple[str, ...]
    cell: FloatArray
    positions: FloatArray
    magmoms: FloatArray | None = None
    constrained: BoolArray | None = None

    def __post_init__(self) -> None:
        where = "frame"
        species = tuple(self.species)
        n = len(species)
        if n == 0:
            raise InputError("a frame has no atoms", where=where)
        unknown = sorted({str(s) for s in species if atomic_numbers.get(s, 0) == 0})
        if unknown:
            raise InputError("unknown element", where=where, seen=", ".join(unknown), expected="chemical symbols")
        set_ = object.__setattr__
        set_(self, "species", species)
        set_(self, "cell", _frozen(self.cell, (3, 3), "cell", where))
        set_(self, "positions", _frozen(self.positions, (n, 3), "positions", where))
        if self.volume < MIN_VOLUME:
            raise InputError("the cell has no volume", where=where, seen=self.cell.tolist())
        _require_sizes(self.cell, self.positions, self.volume, where)
        if self.magmoms is not None:
            vectors = as_vectors(self.magmoms, n)
            vectors.setflags(write=False)
            set_(self, "magmoms", vectors)
        if self.constrained is not None:
            mask = np.array(self.constrained, dtype=bool)
            if mask.shape != (n,):
                raise InputError("wrong number of constraint flags", where=where, seen=mask.shape, expected=f"({n},)")
            if self.magmoms is None:
                raise InputError("atoms are constrained but there are no moments", where=where)
            mask.setflags(write=False)
            set_(self, "constrained", None if mask.all() else mask)

    def __repr__(self) -> str:
        moments = "" if self.magmoms is None else f", |m| up to {_largest(self.magmoms):.2g} muB"
        return f"<Frame {self.formula} {self.ordering}, {self.volume:.2f} A^3{moments}>"

    def _repr_html_(self) -> str:
        lengths = ", ".join(f"{x:.4g}" for x in np.linalg.norm(self.cell, axis=1))
        facts: dict[str, object] = {
            "atoms": len(self),
            "ordering": self.ordering,
            "cell": f"{lengths} A, {self.volume:.2f} A^3",
            "largest moment": None if self.magmoms is None else f"{_largest(self.magmoms):.3g} muB",
            "frame_id": self.frame_id,
        }
        return facts_html(f"Frame {self.formula}", facts)

    def __len__(self) -> int:
        return len(self.species)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frame) and self.frame_id == other.frame_id

    def __hash__(self) -> int:
        return hash(self.frame_id)

    @property
    def volume(self) -> float:
        """Cell volume, A^3."""
        return float(abs(np.linalg.det(self.cell)))

    @cached_property
    def numbers(self) -> np.ndarray:
        """(N,) atomic numbers."""
        return np.array([atomic_numbers[s] for s in self.species], dtype=np.int64)

    @cached_property
    def formula(self) -> str:
        """Composition such as ``Al1Fe1``, elements in alphabetical order, counts not reduced."""
        return "".join(f"{s}{self.species.count(s)}" for s in sorted(set(self.species)))

    @cached_property
    def ordering(self) -> Ordering:
        """Magnetic ordering of the target moments."""
        return ordering(self.magmoms)

    @cached_property
    def orientation(self) -> int:
        """+1 or -1: the sign that takes `magmoms` to the orientation shared by M and -M."""
        return 1 if self.magmoms is None else canonical_sign(_quantised(self.magmoms))

    @cached_property
    def frame_id(self) -> str:
        """24 hex digits, equal for M and -M."""
        parts = [
            " ".join(self.species).encode(),
            _quantised(self.cell).tobytes(),
            _quantised(self.positions).tobytes(),
        ]
        if self.magmoms is not None:
            parts.append((_quantised(self.magmoms) * self.orientation).tobytes())
        if self.constrained is not None:
            parts.append(self.constrained.tobytes())
        return digest(parts)

    def replace(
        self,
        *,
        cell: ArrayLike | None = None,
        positions: ArrayLike | None = None,
        magmoms: ArrayLike | None = None,
    ) -> Frame:
        """A frame with some arrays exchanged; what is not given is kept."""
        return Frame(  # it makes arrays of what it is given
            self.species,
            self.cell if cell is None else cell,  # type: ignore[arg-type]
            self.positions if positions is None else positions,  # type: ignore[arg-type]
            self.magmoms if magmoms is None else magmoms,  # type: ignore[arg-type]
            self.constrained,
        )

    def time_reversed(self) -> Frame:
        """The same atoms with all moments reversed; its `frame_id` is the same."""
        return self if self.magmoms is None else self.replace(magmoms=-self.magmoms)

    def non_magnetic(self) -> Frame:
        """The same atoms without moments."""
        return Frame(self.species, self.cell, self.positions)


def frames_to_arrays(frames: Sequence[Frame]) -> dict[str, np.ndarray]:
    """Frames as a few flat arrays, for :func:`magflow.core.arrays.encode_arrays`.

    ``counts`` (n,), ``numbers`` (sum N,), ``cells`` (n, 3, 3), ``positions`` (sum N, 3),
    ``magmoms`` (sum N, 3) with NaN rows where a frame has none, ``constrained`` (sum N,).
    """
    return {
        "counts": np.array([len(f) for f in frames], dtype=np.int64),
        "numbers": np.concatenate([f.numbers for f in frames]) if frames else np.zeros(0, np.int64),
        "cells": np.array([f.cell for f in frames]).reshape(-1, 3, 3),
        "positions": np.concatenate([f.positions for f in frames]) if frames else np.zeros((0, 3)),
        "magmoms": np.concatenate([np.full((len(f), 3), np.nan) if f.magmoms is None else f.magmoms for f in frames])
        if frames
        else np.zeros((0, 3)),
        "constrained": np.concatenate(
            [np.ones(len(f), bool) if f.constrained is None else f.constrained for f in frames]
        )
        if frames
        else np.zeros(0, bool),
    }


def frames_from_arrays(arrays: dict[str, np.ndarray]) -> list[Frame]:
    """Inverse of :func:`frames_to_arrays`."""
    ends = np.cumsum(arrays["counts"])
    frames = []
    for start, end, cell in zip(ends - arrays["counts"], ends, arrays["cells"], strict=True):
        atoms = slice(int(start), int(end))
        magmoms = arrays["magmoms"][atoms]
        magnetic = not np.isnan(magmoms).all()
        frames.append(
            Frame(
                tuple(chemical_symbols[z] for z in arrays["numbers"][atoms]),
                cell,
                arrays["positions"][atoms],
                magmoms if magnetic else None,
                arrays["constrained"][atoms] if magnetic else None,
            )
        )
    return frames


def unique_frames(frames: Iterable[Frame]) -> list[Frame]:
    """Frames in order of first appearance, each `frame_id` once."""
    seen: dict[str, Frame] = {}
    for frame in frames:
        seen.setdefault(frame.frame_id, frame)
    return list(seen.values())
