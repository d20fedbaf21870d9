"""Frames that are not worth a calculation: atoms too close, volumes, moments or forces out of range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from magflow.core.frame import Frame
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.select.pairs import pair_batches
from magflow.select.reasons import Reason
from magflow.select.settings import SanitySettings


def insane(
    frames: Sequence[Frame], settings: SanitySettings, max_forces: FloatArray | None = None
) -> list[Reason | None]:
    """(n,) the first limit each frame breaks, or None.

    Parameters
    ----------
    max_forces
        (n,) largest predicted force on an atom of each frame, eV/A; needed when a limit on it is set and there
        is an ensemble. A force that is not finite breaks the limit.
    """
    reasons: list[Reason | None] = [None] * len(frames)

    def mark(broken: np.ndarray, reason: Reason) -> None:
        for i in np.flatnonzero(broken):
            reasons[i] = reasons[i] or reason

    mark(too_close(frames, settings), Reason.TOO_CLOSE)
    if settings.volume_per_atom is not None:
        low, high = settings.volume_per_atom
        volumes = np.array([f.volume / len(f) for f in frames])
        mark((volumes < low) | (volumes > high), Reason.BAD_VOLUME)
    if settings.max_moment:
        mark(np.array([_moment_out_of_range(f, settings) for f in frames], dtype=bool), Reason.BAD_MOMENT)
    if settings.max_force is not None and max_forces is not None:
        if np.shape(max_forces) != (len(frames),):
            raise InputError("max_forces has the wrong shape", seen=np.shape(max_forces), expected=f"({len(frames)},)")
        mark(~(np.asarray(max_forces) <= settings.max_force), Reason.FORCE_TOO_LARGE)
    return reasons


def too_close(frames: Sequence[Frame], settings: SanitySettings) -> np.ndarray:
    """(n,) True where two atoms, or an atom and its image, are closer than allowed."""
    elements = sorted({s for f in frames for s in f.species})
    limits = _limits(elements, settings)
    broken = np.zeros(len(frames), dtype=bool)
    if not len(frames) or limits.max() == 0.0:
        return broken
    code = {s: i for i, s in enumerate(elements)}
    for members, pairs in pair_batches(frames, np.full(len(frames), limits.max())):
        species = np.array([[code[s] for s in frames[i].species] for i in members])
        near = pairs.distance < limits[species[pairs.frame, pairs.atom], species[pairs.frame, pairs.neighbour]]
        broken[members[np.unique(pairs.frame[near])]] = True
    return broken


def _limits(elements: Sequence[str], settings: SanitySettings) -> FloatArray:
    """(S, S) shortest distance per pair of elements, A."""
    limits = np.full((len(elements), len(elements)), settings.min_distance)
    for pair, distance in settings.min_distance_pairs.items():
        a, b = pair.split("-")
        if a in elements and b in elements:
            i, j = elements.index(a), elements.index(b)
            limits[i, j] = limits[j, i] = distance
    return limits


def _moment_out_of_range(frame: Frame, settings: SanitySettings) -> bool:
    if frame.magmoms is None:
        return False
    limits = np.array([settings.max_moment.get(s, np.inf) for s in frame.species])
    return bool((np.linalg.norm(frame.magmoms, axis=1) > limits * (1 + 1e-12)).any())
