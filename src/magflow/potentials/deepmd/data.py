"""Labels as deepmd-kit reads them, and what its model needs to know about them beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.neighbours import NeighborList
from magflow.io.deepmd_writer import write_deepmd


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
