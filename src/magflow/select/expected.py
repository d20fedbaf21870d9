"""The batch of least expected error out of the frames offered: which of them stand for the domain, which are looked at.

The candidates are a sample of the domain, so a random part of them says where errors matter. Looking at a frame costs
its rows: of a large pool a part is looked at, the most uncertain and random ones in turn. Frames of many atoms have
more rows, so fewer of them are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from magflow.core.frame import Frame
from magflow.core.types import FloatArray, IntArray
from magflow.core.undecided import Rows, Undecided
from magflow.select.offered import Offered
from magflow.select.optimal import Aim, compressed, optimal_batch
from magflow.select.quotas import allocate, stratum
from magflow.select.settings import SelectSettings

DOMAIN_ROWS = 6_000
"""Rows that stand for the domain: 400 frames of two atoms."""
CANDIDATE_ROWS = 9_000
"""Rows of the frames that are looked at: 600 frames of two atoms."""
TALL = 64
"""Rows of a frame above which they are compressed."""
_CHUNK = 256
"""Frames whose rows are made at a time."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """Indices into the frames offered.

    Parameters
    ----------
    picks
        The batch, the first choice first.
    looked_at
        The frames it was chosen from.
    shut_out
        Frames of strata without a place in the batch.
    """

    picks: IntArray
    looked_at: IntArray
    shut_out: IntArray


def least_error(
    offered: Offered,
    undecided: Undecided,
    domain: IntArray,
    eligible: IntArray,
    number: int,
    settings: SelectSettings,
    score: FloatArray,
) -> Chosen:
    """Choose up to `number` of the `eligible` frames.

    Parameters
    ----------
    offered
        In canonical order, which is a random one.
    domain
        Frames that stand for what is to be known.
    score
        (n,) uncertainty of each frame, NaN where there is none.
    """
    names = np.array([stratum(offered.frames[i]) for i in eligible], dtype=object)
    quotas = _quotas(number, names, settings)
    if quotas is not None:
        open_ = np.array([quotas[name] > 0 for name in names], dtype=bool)
        eligible, shut_out, names = eligible[open_], eligible[~open_], names[open_]
    else:
        shut_out = eligible[:0]
    looked_at = _looked_at(offered, eligible, names, score, quotas)
    if not len(looked_at):
        return Chosen(looked_at, looked_at, shut_out)
    frames = [offered.frames[i] for i in looked_at]
    with threadpool_limits(limits=1, user_api="blas"):
        aim = _aim(undecided, [offered.frames[i] for i in domain], settings)
        batch = optimal_batch(
            _rows(undecided, frames, aim),
            aim.sizes,
            number,
            costs=None if offered.costs is None else offered.costs[looked_at],
            strata=[stratum(f) for f in frames],
            quotas=quotas,
        )
    return Chosen(looked_at[batch.chosen], looked_at, shut_out)


def _quotas(number: int, names: np.ndarray, settings: SelectSettings) -> dict[str, int] | None:
    """Places per stratum where shares were asked for. Without, expected errors share out the batch."""
    if not (settings.quotas.enabled and settings.quotas.shares):
        return None
    quotas = settings.quotas
    return allocate(number, Counter(names.tolist()), minimum_share=quotas.minimum_share, shares=quotas.shares)


def _looked_at(
    offered: Offered, eligible: IntArray, names: np.ndarray, score: FloatArray, quotas: dict[str, int] | None
) -> IntArray:
    """The eligible frames whose rows are made, in canonical order: by turns the next most uncertain and a random one,
    of each stratum in proportion to its places.
    """
    rank = np.empty(len(eligible))
    for name in sorted(set(names)) if quotas else [None]:
        mine = np.flatnonzero(names == name) if quotas else np.arange(len(names))
        rank[mine] = _in_turn(score[eligible[mine]]) / (quotas[name] if quotas and name else 1)
    order = np.argsort(rank, kind="stable")
    rows = np.cumsum([_height(offered.frames[eligible[k]]) for k in order])
    return np.sort(eligible[order[: max(1, int(np.searchsorted(rows, CANDIDATE_ROWS, side="right")))]])


def _in_turn(score: FloatArray) -> FloatArray:
    """(n,) rank of each frame in a list of the highest score, the first, the next highest, the second and so on."""
    given = np.arange(len(score), dtype=float)
    if not np.isfinite(score).any():
        return given
    by_score = np.empty(len(score))
    by_score[np.argsort(-np.nan_to_num(score, nan=-np.inf), kind="stable")] = given
    return np.minimum(2.0 * by_score, 2.0 * given + 1.0)


def _height(frame: Frame) -> int:
    """Numbers a label of the frame holds."""
    return 7 + 4 * len(frame)


def _aim(undecided: Undecided, frames: Sequence[Frame], settings: SelectSettings) -> Aim:
    rows = np.cumsum([_height(f) for f in frames])
    gram: FloatArray = np.zeros((undecided.unknowns, undecided.unknowns))
    for part in _chunks(frames[: max(1, int(np.searchsorted(rows, DOMAIN_ROWS, side="right")))]):
        found = undecided.rows(part)
        weights = [settings.stratum_weights.get(stratum(f), 1.0) for f in part]
        scaled = found.values * np.sqrt(np.repeat(weights, np.diff(found.begin)))[:, None]
        gram += scaled.T @ scaled
    return Aim.of(gram)


def _rows(undecided: Undecided, frames: Sequence[Frame], aim: Aim) -> Rows:
    values, heights = [], []
    for part in _chunks(frames):
        found = undecided.rows(part, aim.directions)
        if np.diff(found.begin).max() > TALL:
            found = compressed(found)
        values.append(found.values)
        heights.append(np.diff(found.begin))
    return Rows(np.concatenate(values), np.concatenate([[0], np.cumsum(np.concatenate(heights))]))


def _chunks(frames: Sequence[Frame]) -> Iterator[Sequence[Frame]]:
    for at in range(0, len(frames), _CHUNK):
        yield frames[at : at + _CHUNK]
