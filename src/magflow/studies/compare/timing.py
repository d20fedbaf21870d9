"""What an evaluation costs: energy, forces and stress (and magnetic forces, where there are any) on one core."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

from magflow.core.frame import Frame
from magflow.core.protocols import Potential
from magflow.errors import InputError

SINGLES, BATCH = 16, 256
"""Frames evaluated one by one, and at most so many in one call."""
ENOUGH_CPU_S, ENOUGH_WALL_S = 0.5, 10.0
"""Calls are repeated until they have taken so much processor time, or so long on a busy machine."""


@dataclass(frozen=True)
class InferenceCost:
    """Microseconds of processor time per atom, the call included.

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
    Processor time of this process and of those it has started, whatever they do: unlike time on the clock, a busy
    machine does not stretch it.

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
        single = _mean(lambda: [potential.predict([frame]) for frame in few])
        batch = _mean(lambda: potential.predict(many))
    atoms = sum(len(frame) for frame in many)
    return InferenceCost(1e6 * single / sum(len(f) for f in few), 1e6 * batch / atoms, len(many), atoms)


def _spread(frames: Sequence[Frame], most: int) -> list[Frame]:
    n = min(most, len(frames))
    return [frames[(k * len(frames)) // n] for k in range(n)]


def _mean(call: Callable[[], object]) -> float:
    """Processor seconds of one call: of ever more in a row, so that reading the clocks does not count."""
    children = psutil.Process().children(recursive=True)
    begin, calls = time.perf_counter(), 1
    while True:
        start = _processor_seconds(children)
        for _ in range(calls):
            call()
        spent = _processor_seconds(children) - start
        if spent > ENOUGH_CPU_S or time.perf_counter() - begin > ENOUGH_WALL_S:
            return spent / calls
        calls *= 2


def _processor_seconds(children: Sequence[psutil.Process]) -> float:
    """Of this process, and of those it has started (in ticks of 10 ms)."""
    total = time.process_time()
    for child in children:
        with suppress(psutil.Error):
            times = child.cpu_times()
            total += times.user + times.system
    return total


@contextmanager
def _one_core() -> Iterator[None]:
    """Hold this thread, and what it starts meanwhile, on one core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
