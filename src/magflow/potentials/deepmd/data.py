"""Labels as deepmd-kit reads them, and what its model needs to know about them beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.neighbours import NeighborList
from magflow.errors import InputError
from magflow.io.deepmd_writer import write_deepmd


def check(items: Sequence[LabeledFrame], species: Sequence[str], *, magnetic: bool, part: str) -> None:
    """Refuse labels a model cannot learn from.

    Raises
    ------
    InputError
        Naming the frame: an unknown element, a force or stress that is not finite, moments that are missing.
    """
    for i, item in enumerate(items):
        where = f"{part} frame {i} ({item.frame.formula})"
        if unknown := sorted(set(item.frame.species) - set(species)):
            raise InputError("an element is not in the list", where=where, seen=unknown, expected=", ".join(species))
        for name in ("forces", "stress"):
            values = getattr(item.label, name)
            if values is not None and not np.isfinite(values).all():
                raise InputError(f"{name} are not finite", where=where)
        if magnetic and item.configuration.magmoms is None:
            raise InputError(
                "the frame has no moments",
                where=where,
                expected="moments on every frame, zero where there are none",
                hint="the family dp learns from frames without moments",
            )


def write_systems(root: Path, items: Sequence[LabeledFrame], species: Sequence[str], *, magnetic: bool) -> list[Path]:
    """Write `items` below `root` in folders of deepmd-kit; returns the folders.

    A spin model also sees each frame with all moments reversed: it is not even in the moments by construction.
    """
    if magnetic:
        items = [*items, *(LabeledFrame(item.frame.time_reversed(), item.label) for item in items)]
    return write_deepmd(root, items, species)


def most_neighbours(frames: Sequence[Frame], species: Sequence[str], cutoff: float) -> list[int]:
    """Per species, the largest number of its atoms within `cutoff` (A) of any atom."""
    most = np.zeros(len(species), dtype=int)
    for frame in frames:
        search = NeighborList(cutoff=cutoff, full_list=True)
        (centres, others) = search.compute(frame.positions, frame.cell, periodic=True, quantities="ij")
        kinds = np.array([species.index(s) for s in frame.species])
        count = np.zeros((len(frame), len(species)), dtype=int)
        np.add.at(count, (centres.astype(int), kinds[others.astype(int)]), 1)
        most = np.maximum(most, count.max(axis=0))
    return [int(n) for n in most]


def largest_moments(items: Sequence[LabeledFrame], species: Sequence[str]) -> list[float]:
    """Per species, the largest moment in the labels, muB."""
    largest = dict.fromkeys(species, 0.0)
    for item in items:
        moments = item.configuration.magmoms
        if moments is None:
            continue
        for symbol, size in zip(item.frame.species, np.linalg.norm(moments, axis=1), strict=True):
            largest[symbol] = max(largest[symbol], float(size))
    return list(largest.values())
