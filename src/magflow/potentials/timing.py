"""What an evaluation costs: energy, forces and stress (and magnetic forces, where there are any) on one core."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from magflow.core.frame import Frame
from magflow.core.protocols import Potential
from magflow.errors import InputError

SINGLES, BATCH = 16, 256
"""Frames evaluated one by one, and at most so many in one call."""
REPEATS, ENOUGH_S = 50, 2.0
"""The smallest of so many repeats counts: other work on the machine only ever adds. No repeat starts after so long."""


@dataclass(frozen=True)
class InferenceCost:
    """Microseconds of wall time per atom, the call included.

    Parameters
    ----------
    single_us_per_atom
        One frame per call, as in molecular dynamics of one cell.
    batch_us_per_atom
        `frames` frames of `atoms` atoms altogether in one call.
    """

    single_us_per_atom: float
    batch_us_per_atom: float
    frames: int
    atoms: int


def inference_cost(potential: Potential, frames: Sequence[Frame]) -> InferenceCost:
    """Time `potential` on `frames`.

    Frames are taken evenly where there are more than are timed. A first call, which loads or compiles, is not counted.

    Raises
    ------
    InputError
        If there are no frames.
    """
    if not frames:
        raise InputError("no frames to time a potential on")
    few, many = _spread(frames, SINGLES), _spread(frames, BATCH)
    with _one_core():
        potential.predict(many)
        single = _shortest(lambda: [potential.predict([frame]) for frame in few])
        batch = _shortest(lambda: potential.predict(many))
    atoms = sum(len(frame) for frame in many)
    return InferenceCost(1e6 * single / sum(len(f) for f in few), 1e6 * batch / atoms, len(many), atoms)


def _spread(frames: Sequence[Frame], most: int) -> list[Frame]:
    n = min(most, len(frames))
    return [frames[(k * len(frames)) // n] for k in range(n)]


def _shortest(call: Callable[[], object]) -> float:
    """Wall seconds of the fastest of some repeats."""
    begin, best = time.perf_counter(), float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
        if time.perf_counter() - begin > ENOUGH_S:
            break
    return best


@contextmanager
def _one_core() -> Iterator[None]:
    """Hold this thread, and what it starts meanwhile, on one core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
