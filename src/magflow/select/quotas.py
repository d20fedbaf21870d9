"""Sharing a batch over strata: composition x magnetic ordering."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor

from magflow.core.frame import Frame
from magflow.errors import InputError


def stratum(frame: Frame) -> str:
    """Composition and magnetic ordering of one frame, such as ``Al1Fe1 FM``."""
    return f"{frame.formula} {frame.ordering}"


def allocate(
    total: int, available: Mapping[str, int], *, minimum_share: float = 0.0, shares: Mapping[str, float] | None = None
) -> dict[str, int]:
    """How many frames each stratum gives: largest remainder, minimum share, spill-over of what a stratum lacks.

    Parameters
    ----------
    total
        Frames wanted.
    available
        Frames there are, per stratum.
    minimum_share
        Share of `total` that every stratum gets first, while it has that many; cut evenly if there are more strata
        than `total` can serve.
    shares
        Weight per stratum; 0 gives it what others cannot use. A stratum left out weighs as much per frame as those
        named do on average, and as many as it has frames if none of them is there.

    Returns
    -------
    dict
        Sums to ``min(total, sum(available))``; never above `available`. Independent of the order of `available`.
    """
    if total < 0 or any(n < 0 for n in available.values()):
        raise InputError("cannot share a negative number of frames", seen=f"{total} over {dict(available)}")
    names = sorted(available)
    given = dict.fromkeys(names, 0)
    left = min(total, sum(available.values()))
    floor_each = max(1, round(minimum_share * total)) if minimum_share > 0 and names else 0
    # One frame at a time and the richest first, so that a short batch still reaches as many strata as it can.
    by_size = sorted(names, key=lambda s: (-available[s], s))
    for _ in range(floor_each):
        for name in by_size:
            if left and given[name] < available[name]:
                given[name] += 1
                left -= 1
    weights = _weights(available, shares or {})
    while left:
        open_ = [s for s in names if given[s] < available[s]]
        weighted = [s for s in open_ if weights[s] > 0]
        part = _largest_remainder(left, {s: weights[s] for s in weighted} or dict.fromkeys(open_, 1.0))
        for name, n in part.items():
            taken = min(n, available[name] - given[name])
            given[name] += taken
            left -= taken
    return given


def _weights(available: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, float]:
    """Weight per stratum; see :func:`allocate`. Shares and numbers of frames have no unit in common."""
    named = [s for s in available if s in shares]
    frames = sum(available[s] for s in named)
    each = sum(shares[s] for s in named) / frames if frames else 1.0
    return {s: float(shares[s]) if s in shares else (each or 1.0) * n for s, n in available.items()}


def _largest_remainder(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers proportional to `weights` that sum to `total` (Hamilton's method; ties by name)."""
    whole = sum(weights.values())
    exact = {s: total * w / whole for s, w in weights.items()}
    given = {s: floor(x) for s, x in exact.items()}
    order = sorted(exact, key=lambda s: (given[s] - exact[s], s))
    for name in order[: total - sum(given.values())]:
        given[name] += 1
    return given
