"""Frames as flat arrays, as the backend reads them for training and for prediction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from ase.data import atomic_numbers

from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.types import FloatArray
from magflow.core.units import tensor
from magflow.potentials.outside.labels import check_frame

BATCH_ATOMS = 64
"""Atoms evaluated at once: bounds the memory of a prediction."""


def frame_arrays(frames: Sequence[Frame], species: Sequence[str], *, first: int = 0) -> dict[str, np.ndarray]:
    """Arrays of `frames`, one after another.

    Parameters
    ----------
    first
        How an error counts the first of them.

    Returns
    -------
    dict
        ``counts`` (n,) atoms of each frame; ``number`` (sum N,) atomic numbers; ``position`` (sum N, 3) and ``cell``
        (n, 3, 3), A.

    Raises
    ------
    InputError
        Unknown species.
    """
    for k, frame in enumerate(frames, first):
        check_frame(frame, species, magnetic=False, where=f"frame {k}")
    return {
        "counts": np.array([len(f) for f in frames], dtype=np.int64),
        "number": np.array([atomic_numbers[s] for f in frames for s in f.species], dtype=np.int64),
        "position": np.concatenate([np.zeros((0, 3)), *(f.positions for f in frames)]),
        "cell": np.array([f.cell for f in frames]).reshape(-1, 3, 3),
    }


def label_arrays(items: Sequence[LabeledFrame], species: Sequence[str], shift: FloatArray) -> dict[str, np.ndarray]:
    """:func:`frame_arrays` of labelled frames, and the labels, NaN where there are none.

    ``energy`` (n,) eV, less `shift` (n,); ``forces`` (sum N, 3) eV/A; ``stress`` (n, 3, 3) eV/A^3.
    """
    arrays = frame_arrays([item.configuration for item in items], species)
    arrays["energy"] = np.array([item.label.energy for item in items], dtype=float) - shift
    arrays["forces"] = np.concatenate([np.zeros((0, 3)), *(_forces(item) for item in items)])
    stress = [np.full((3, 3), np.nan) if item.label.stress is None else tensor(item.label.stress) for item in items]
    arrays["stress"] = np.array(stress).reshape(-1, 3, 3)
    return arrays


def _forces(item: LabeledFrame) -> FloatArray:
    values = item.components("forces")
    return np.full((len(item.frame), 3), np.nan) if values is None else values


def batches(frames: Sequence[Frame]) -> Iterator[slice]:
    """Runs of frames with at most :data:`BATCH_ATOMS` atoms; one frame at least."""
    begin = atoms = 0
    for k, frame in enumerate(frames):
        if k > begin and atoms + len(frame) > BATCH_ATOMS:
            yield slice(begin, k)
            begin, atoms = k, 0
        atoms += len(frame)
    if len(frames):
        yield slice(begin, len(frames))
