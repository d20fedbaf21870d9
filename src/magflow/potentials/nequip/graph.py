"""Frames as flat arrays with their neighbours, as the backend reads them for training and for prediction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.moments import is_collinear
from magflow.core.neighbours import NeighborList
from magflow.core.types import FloatArray
from magflow.core.units import tensor
from magflow.errors import InputError
from magflow.potentials.outside.labels import check_frame

BATCH_PAIRS = 60_000
"""Pairs of neighbours evaluated at once: bounds the memory of a prediction."""


def graph(
    frames: Sequence[Frame], species: Sequence[str], cutoff: float, *, magnetic: bool, first: int = 0
) -> dict[str, np.ndarray]:
    """Arrays of `frames`, one after another.

    Parameters
    ----------
    first
        How an error counts the first of them.

    Returns
    -------
    dict
        ``counts`` (n,) atoms and ``pairs`` (n,) pairs of each frame; ``position`` (sum N, 3) and ``cell`` (n, 3, 3), A;
        ``type`` (sum N,); ``neighbours`` (2, sum P), atoms of one frame counted from zero, centre first; ``shift``
        (sum P, 3), lattice vectors between them; if `magnetic` ``moment`` (sum N,), muB along z.

    Raises
    ------
    InputError
        Unknown species, missing or non-collinear moments, two atoms in one place.
    """
    index = {symbol: k for k, symbol in enumerate(species)}
    search = NeighborList(cutoff=cutoff, full_list=True, sorted=True, n_threads=1)
    pairs, neighbours, shifts, moments = [], [np.zeros((2, 0), np.int64)], [np.zeros((0, 3))], [np.zeros(0)]
    for k, frame in enumerate(frames, first):
        check_frame(frame, species, magnetic=magnetic, where=f"frame {k}")
        i, j, shift, distance = search.compute(frame.positions, frame.cell, periodic=True, quantities="ijSd")
        if len(distance) and distance.min() <= 0.0:
            raise InputError("two atoms are in one place", where=f"frame {k}")
        pairs.append(len(i))
        neighbours.append(np.stack([i, j]).astype(np.int64))
        shifts.append(shift.astype(float))
        if magnetic:
            moments.append(_collinear(frame, k))
    arrays = {
        "counts": np.array([len(f) for f in frames], dtype=np.int64),
        "pairs": np.array(pairs, dtype=np.int64),
        "position": np.concatenate([np.zeros((0, 3)), *(f.positions for f in frames)]),
        "cell": np.array([f.cell for f in frames]).reshape(-1, 3, 3),
        "type": np.array([index[s] for f in frames for s in f.species], dtype=np.int64),
        "neighbours": np.concatenate(neighbours, axis=1),
        "shift": np.concatenate(shifts),
    }
    return arrays | ({"moment": np.concatenate(moments)} if magnetic else {})


def _collinear(frame: Frame, k: int) -> FloatArray:
    moments = frame.magmoms
    assert moments is not None  # check_frame
    if not is_collinear(moments):
        raise InputError(
            "moments are non-collinear", where=f"frame {k}", seen=moments.tolist(), expected="moments along z only"
        )
    return np.ascontiguousarray(moments[:, 2])


def labelled_graph(
    items: Sequence[LabeledFrame], species: Sequence[str], cutoff: float, *, magnetic: bool
) -> dict[str, np.ndarray]:
    """:func:`graph` of what the labels of `items` were computed for, and the labels, NaN where there are none.

    ``energy`` (n,) eV, ``forces`` (sum N, 3) eV/A, ``stress`` (n, 3, 3) eV/A^3 and, if `magnetic`,
    ``magnetic_forces`` (sum N,) eV/muB along z.
    """
    arrays = graph([item.configuration for item in items], species, cutoff, magnetic=magnetic)
    arrays["energy"] = np.array([item.label.energy for item in items], dtype=float)
    arrays["forces"] = np.concatenate([np.zeros((0, 3)), *(_given(item, "forces") for item in items)])
    stress = [np.full((3, 3), np.nan) if item.label.stress is None else tensor(item.label.stress) for item in items]
    arrays["stress"] = np.array(stress).reshape(-1, 3, 3)
    if magnetic:
        found = [_given(item, "magnetic_forces")[:, 2] for item in items]
        arrays["magnetic_forces"] = np.concatenate([np.zeros(0), *found])
    return arrays


def _given(item: LabeledFrame, quantity: str) -> FloatArray:
    values = item.components(quantity)
    return np.full((len(item.frame), 3), np.nan) if values is None else values


def closest(arrays: dict[str, np.ndarray]) -> float:
    """Smallest distance between neighbours of a :func:`graph`, A; infinite without any."""
    if not arrays["pairs"].sum():
        return np.inf
    first = np.repeat(np.cumsum(arrays["counts"]) - arrays["counts"], arrays["pairs"])
    centre, other = arrays["neighbours"] + first
    cell = np.repeat(arrays["cell"], arrays["pairs"], axis=0)
    vector = arrays["position"][other] - arrays["position"][centre] + np.einsum("pi,pij->pj", arrays["shift"], cell)
    return float(np.linalg.norm(vector, axis=1).min())


def batches(frames: Sequence[Frame], cutoff: float) -> Iterator[slice]:
    """Runs of frames with at most :data:`BATCH_PAIRS` pairs, as their densities let expect; one frame at least."""
    sphere, begin, expected = 4.0 / 3.0 * np.pi * cutoff**3, 0, 0.0
    for k, frame in enumerate(frames):
        pairs = len(frame) ** 2 / frame.volume * sphere
        if k > begin and expected + pairs > BATCH_PAIRS:
            yield slice(begin, k)
            begin, expected = k, 0.0
        expected += pairs
    if len(frames):
        yield slice(begin, len(frames))
