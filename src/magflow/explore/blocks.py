"""Small periodic cells out of large ones: the block of unit cells of which an ensemble knows least.

Dynamics in a large cell meet what small cells hold no waves for, and are too large to label. A block of their unit
cells, closed upon itself, keeps lattice, strain, moments and the displacements of its atoms, so what surrounds an atom
within the block is what surrounded it. What is not kept is what lay beyond: atoms at one face meet those at the other,
whose displacements they did not know. That is a configuration of its own, of the same crystal at about the same
temperature, and worth a label where the ensemble is uncertain of it; it is no piece of the large one's energy. It needs
atoms that still belong to their sites: out of a melt nothing is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from magflow.core.frame import Frame
from magflow.core.protocols import Ensemble
from magflow.core.types import FloatArray, IntArray
from magflow.explore.geometry import nearest_distance
from magflow.explore.health import HealthReason

Repeats = tuple[int, int, int]

OF_ITS_SITE = 0.5
"""Share of the shortest distance in the crystal beyond which an atom has left its site."""


def cut(
    frames: Sequence[Frame], unit: Frame, repeats: Repeats, block: Repeats, ensemble: Ensemble, least: float
) -> tuple[list[Frame], list[HealthReason]]:
    """The most uncertain block of each frame, and why some frames give none.

    Parameters
    ----------
    frames
        Of one crystal: `repeats` of `unit`, in the order of :func:`~magflow.explore.geometry.repeated`, moved since.
    block
        Unit cells along each axis, at most `repeats`.
    ensemble
        Its deviation of the forces is what is uncertain.
    least
        Share of the crystal's shortest distance below which two atoms of a block are too close.
    """
    if not frames:
        return [], []
    deviation = ensemble.predict(frames).deviation
    found, reasons = [], []
    for k, frame in enumerate(frames):
        away = displacements(frame, unit, repeats)
        site = nearest_distance(_strained(frame, unit, repeats))
        if np.linalg.norm(away @ frame.cell, axis=1).max() > OF_ITS_SITE * site:
            reasons.append(HealthReason.NO_CRYSTAL)
            continue
        origin = most_uncertain(deviation.frame(k).forces, repeats, block)
        small = closed(frame, away, unit, repeats, block, origin)
        if nearest_distance(small) < least * site:
            reasons.append(HealthReason.CUT_TOO_CLOSE)
            continue
        found.append(small)
    return found, reasons


def displacements(frame: Frame, unit: Frame, repeats: Repeats) -> FloatArray:
    """(N, 3) of every atom from its site, in units of the large cell's vectors, without what all moved together."""
    sites = ((_cells(repeats)[:, None] + unit.positions @ np.linalg.inv(unit.cell)) / repeats).reshape(-1, 3)
    away = frame.positions @ np.linalg.inv(frame.cell) - sites
    away -= away[0]  # the crystal may have drifted by more than half a cell
    away -= np.rint(away)
    centred: FloatArray = away - away.mean(axis=0)
    return centred


def most_uncertain(deviation: FloatArray, repeats: Repeats, block: Repeats) -> Repeats:
    """The unit cell at which the block with the largest sum of squares of `deviation` (N, 3) begins."""
    cells = (deviation**2).reshape(*repeats, -1).sum(axis=-1)
    blocks = sum(np.roll(cells, [-step for step in steps], axis=(0, 1, 2)) for steps in _cells(block).tolist())
    i, j, k = np.unravel_index(int(np.argmax(blocks)), repeats)
    return int(i), int(j), int(k)


def closed(frame: Frame, away: FloatArray, unit: Frame, repeats: Repeats, block: Repeats, origin: Repeats) -> Frame:
    """The block of unit cells from `origin` on, as a periodic cell; `away` as of :func:`displacements`."""
    cells = _cells(block)
    rows = np.ravel_multi_index(tuple(((cells + origin) % repeats).T), repeats)
    atoms = (rows[:, None] * len(unit) + np.arange(len(unit))).ravel()
    sites = (cells[:, None] + unit.positions @ np.linalg.inv(unit.cell)).reshape(-1, 3)
    cell = frame.cell * (np.array(block) / repeats)[:, None]
    return Frame(
        tuple(frame.species[i] for i in atoms),
        cell,
        (sites + away[atoms] * repeats) / block @ cell,
        None if frame.magmoms is None else frame.magmoms[atoms],
        None if frame.constrained is None else frame.constrained[atoms],
    )


def _cells(repeats: Repeats) -> IntArray:
    """(n, 3) unit cells in the order of a supercell."""
    return np.array(list(product(*map(range, repeats))), dtype=np.int64)


def _strained(frame: Frame, unit: Frame, repeats: Repeats) -> Frame:
    """The unit cell as the large cell has strained it."""
    cell = frame.cell / np.array(repeats)[:, None]
    return Frame(unit.species, cell, unit.positions @ np.linalg.inv(unit.cell) @ cell)
