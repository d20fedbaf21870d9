"""Duplicates among frames, up to everything that leaves their energy alone.

Two steps: a neighbour search in the invariants of :mod:`magflow.select.invariants`, which misses no duplicate,
then :mod:`magflow.select.matching`, which lets no distinct frames pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import gcd

import numpy as np

from magflow.core.frame import Frame
from magflow.core.types import IntArray
from magflow.select.invariants import MOMENT_LENGTH, invariants, width
from magflow.select.matching import same_crystal
from magflow.select.settings import Tolerance

_AXES = 12
"""Principal axes of the invariants that the neighbour tree is built on."""
_FIRST_BLOCK = 256
"""Frames compared first; every later block doubles what has been compared."""


@dataclass(frozen=True)
class Duplicates:
    """For each offered frame the index of the known or earlier offered frame it repeats, or -1; never both."""

    of_known: IntArray
    of_pool: IntArray


def stratum_key(frame: Frame) -> tuple[tuple[str, int], ...]:
    """Composition in its smallest whole numbers: frames of two keys cannot be duplicates."""
    counts = {s: frame.species.count(s) for s in sorted(set(frame.species))}
    divisor = reduce(gcd, counts.values())
    return tuple((s, n // divisor) for s, n in counts.items())


def find_duplicates(
    frames: Sequence[Frame],
    known: Sequence[Frame] = (),
    tolerance: Tolerance | None = None,
) -> Duplicates:
    """Which frames repeat a known frame or an earlier frame of the list.

    Earlier frames stay, so the caller's order decides which of several duplicates is kept.

    Parameters
    ----------
    frames, known
        Offered frames; frames that are taken already.
    tolerance
        How closely two frames must agree; default :class:`Tolerance`.
    """
    tolerance = tolerance or Tolerance()
    of_known = np.full(len(frames), -1, dtype=np.int64)
    of_pool = np.full(len(frames), -1, dtype=np.int64)
    if not frames:
        return Duplicates(of_known, of_pool)
    known_ids = {f.frame_id: i for i, f in reversed(list(enumerate(known)))}
    first: dict[str, int] = {}
    for i, frame in enumerate(frames):
        of_known[i] = known_ids.get(frame.frame_id, -1)
        seen = first.setdefault(frame.frame_id, i)
        if of_known[i] < 0 and seen < i:
            of_pool[i] = seen
    left = np.flatnonzero((of_known < 0) & (of_pool < 0))
    groups: dict[object, list[int]] = {}
    for i in left.tolist():
        groups.setdefault((stratum_key(frames[i]), frames[i].magmoms is None), []).append(i)
    known_groups: dict[object, list[int]] = {}
    for i, frame in enumerate(known):
        known_groups.setdefault((stratum_key(frame), frame.magmoms is None), []).append(i)

    elements = sorted({s for f in (*frames, *known) for s in f.species})
    features = invariants(frames, elements)
    known_features = invariants(known, elements)
    scale = _column_tolerance(len(elements), tolerance)
    for key, members in groups.items():
        others = known_groups.get(key, [])
        search = _Search([known[i] for i in others], known_features[others] / scale, tolerance)
        order = np.array(members)
        parents = search.run([frames[i] for i in members], features[order] / scale)
        of_known[order] = [others[p] if 0 <= p < len(others) else -1 for p in parents]
        of_pool[order] = [members[p - len(others)] if p >= len(others) else -1 for p in parents]
    return Duplicates(of_known, of_pool)


def _column_tolerance(n_species: int, tolerance: Tolerance) -> np.ndarray:
    """Largest difference of each invariant between two frames that agree within `tolerance`.

    A distance between two atoms that move by eps each changes by 2 eps, by as much again through the cell, and the
    clipping radius with it; a moment sum by twice the moment tolerance.
    """
    lists = 6 * tolerance.distance + 2 * MOMENT_LENGTH * tolerance.moment + 1e-5
    columns = np.full(width(n_species), lists, dtype=np.float32)
    columns[0] = 2 * tolerance.distance + 1e-5
    columns[1 : 1 + 4 * n_species] = tolerance.moment + 1e-5
    return columns


class _Search:
    """Leaders of one composition: known frames first, then each new frame that repeats none of them.

    Blocks double in size, so every frame is compared with a tree of leaders at least as large as its own block and a
    cluster of many duplicates never makes quadratically many pairs.
    """

    def __init__(self, known: list[Frame], features: np.ndarray, tolerance: Tolerance) -> None:
        self.tolerance = tolerance
        self.leaders = list(known)
        self.indices = list(range(len(known)))
        self.features = features

    def run(self, frames: list[Frame], features: np.ndarray) -> IntArray:
        """(n,) index into known + frames of the leader each frame repeats, or -1."""
        offset = len(self.leaders)
        axes = _principal_axes(features if len(features) > 1 else np.concatenate([self.features, features]))
        parents = np.full(len(frames), -1, dtype=np.int64)
        start, size = 0, max(_FIRST_BLOCK, offset)
        while start < len(frames):
            stop = min(len(frames), start + size)
            self._block(frames, features, parents, (start, stop, offset), axes)
            start, size = stop, stop
        return parents

    def _block(
        self,
        frames: list[Frame],
        features: np.ndarray,
        parents: IntArray,
        span: tuple[int, int, int],
        axes: np.ndarray,
    ) -> None:
        start, stop, offset = span
        block = features[start:stop]
        near = _neighbours(self.features, block, axes)
        for i, candidates in enumerate(near):
            for c in candidates:
                if same_crystal(self.leaders[c], frames[start + i], self.tolerance):
                    parents[start + i] = self.indices[c]
                    break
        rest = np.flatnonzero(parents[start:stop] < 0)
        accepted: set[int] = set()
        for i, candidates in zip(rest.tolist(), _neighbours(block[rest], block[rest], axes), strict=True):
            earlier = sorted(int(rest[c]) for c in candidates if rest[c] < i and int(rest[c]) in accepted)
            match = next((c for c in earlier if self._same(frames[start + c], frames[start + i])), None)
            if match is None:
                accepted.add(i)
            else:
                parents[start + i] = offset + start + match
        fresh = sorted(accepted)
        self.leaders += [frames[start + i] for i in fresh]
        self.indices += [offset + start + i for i in fresh]
        self.features = np.concatenate([self.features, block[fresh]])

    def _same(self, a: Frame, b: Frame) -> bool:
        return same_crystal(a, b, self.tolerance)


def _principal_axes(features: np.ndarray) -> np.ndarray:
    """(D, <= 12) orthonormal axes of largest variance, from at most 1000 rows; any orthonormal axes would do."""
    sample = features[:: max(1, len(features) // 1000)].astype(float)
    _, _, axes = np.linalg.svd(sample - sample.mean(axis=0), full_matrices=False)
    return axes[:_AXES].T


def _neighbours(points: np.ndarray, queries: np.ndarray, axes: np.ndarray) -> list[list[int]]:
    """For each query the points within 1 in every column.

    A projection on orthonormal axes shortens distances, so a ball of radius sqrt(D) in it holds them all.
    """
    from scipy.spatial import cKDTree

    if not len(points) or not len(queries):
        return [[] for _ in queries]
    radius = float(np.sqrt(points.shape[1])) * (1 + 1e-6)
    balls = cKDTree(points @ axes).query_ball_point(queries @ axes, radius)
    out = []
    for query, ball in zip(queries, balls, strict=True):
        ball = np.array(sorted(ball), dtype=np.int64)
        out.append(ball[(np.abs(points[ball] - query) <= 1.0).all(axis=1)].tolist() if len(ball) else [])
    return out
