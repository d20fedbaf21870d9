"""How far the atoms of a crystal are from their sites: whether it still is that crystal."""

from __future__ import annotations

import numpy as np

from magflow.core.frame import Frame
from magflow.core.types import FloatArray
from magflow.explore.geometry import nearest_distance
from magflow.properties.tracks import Track

GONE = 0.25
"""Root mean square distance from the sites, in nearest distances, from which a crystal is none: it melts between 0.1
and 0.2 (Lindemann's ratio), the atoms of a liquid or of another structure are soon further away."""


def displacements(track: Track, crystal: Frame) -> FloatArray:
    """(m, N, 3) A, from the sites of `crystal` in the cell of the moment; the centre of mass is at rest.

    The run has kept positions that have never been folded back since they were those of `crystal`.
    """
    sites = crystal.positions @ np.linalg.inv(crystal.cell)
    away: FloatArray = track.looks["positions"] - sites @ track.looks["cell"]
    weights = track.start.masses / track.start.masses.sum()
    away -= (weights * away).sum(axis=1, keepdims=True)
    return away


def square_displacements(track: Track, crystal: Frame) -> FloatArray:
    """(m,) A^2, mean over the atoms of their squared distance from their sites."""
    return np.asarray((displacements(track, crystal) ** 2).sum(axis=2).mean(axis=1))


def lost(track: Track, crystal: Frame) -> str:
    """That the crystal is gone in the second half of a run; empty if it is there."""
    squares = square_displacements(track, crystal)
    ratio = float(np.sqrt(squares[len(squares) // 2 :].mean())) / nearest_distance(crystal)
    if ratio < GONE:
        return ""
    return f"the crystal is gone, molten or another one: its atoms are {ratio:.2g} nearest distances from their sites"
