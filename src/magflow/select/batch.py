"""A batch out of the candidates: quotas over strata, then a mix of the uncertain and the different in each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from magflow.core.types import FloatArray, IntArray
from magflow.select.diversity import farthest, standardise
from magflow.select.quotas import allocate
from magflow.select.reasons import Reason
from magflow.select.settings import SelectSettings


@dataclass(frozen=True, eq=False)
class Pool:
    """Frames that may be chosen, in canonical order.

    Parameters
    ----------
    strata
        (n,) name of the stratum of each frame.
    descriptors
        (n, d) for diversity.
    taken
        (m, d) descriptors of the training set.
    score
        (n,) uncertainty, or None while there is no ensemble.
    """

    strata: np.ndarray
    descriptors: FloatArray
    taken: FloatArray
    score: FloatArray | None = None

    def take(self, indices: IntArray) -> Pool:
        """The same pool with fewer frames."""
        score = None if self.score is None else self.score[indices]
        return Pool(self.strata[indices], self.descriptors[indices], self.taken, score)


@dataclass(frozen=True, eq=False)
class Picks:
    """`chosen`: indices, most wanted first. `rejected`: the reason for every other one."""

    chosen: IntArray
    rejected: dict[int, Reason]


def choose(pool: Pool, total: int, settings: SelectSettings, share: float | None = None) -> Picks:
    """At most `total` frames of the pool.

    Within a stratum a `share` of its quota is picked by farthest-point sampling over all its frames, the rest by the
    same among its highest scores, or at random where there are none. The sampling looks at no more than
    `diversity.max_frames` frames of a stratum, a random sample of them, so its cost does not grow with the pool.
    Default of `share`: `diversity.fraction`, or `diversity.initial_fraction` without scores.
    """
    strata = pool.strata if settings.quotas.enabled else np.full(len(pool.strata), "")
    quotas = allocate(
        total,
        Counter(strata.tolist()),
        minimum_share=settings.quotas.minimum_share if settings.quotas.enabled else 0.0,
        shares=settings.quotas.shares,
    )
    points, taken = standardise(pool.descriptors, pool.taken) if len(strata) else (pool.descriptors, pool.taken)
    pool = Pool(strata, points, taken, pool.score)
    if share is None:
        share = settings.diversity.initial_fraction if pool.score is None else settings.diversity.fraction
    unseen = Reason.NOT_DRAWN if pool.score is None else Reason.OUTRANKED
    ranked: list[tuple[float, str, int]] = []
    rejected: dict[int, Reason] = {}
    for name, quota in quotas.items():
        members = np.flatnonzero(strata == name)
        if quota == 0:
            rejected |= dict.fromkeys(members.tolist(), Reason.QUOTA_FULL)
            continue
        chosen, seen = _pick(pool.take(members), quota, settings, share)
        # Every stratum appears early in the priority order, in proportion to its quota.
        ranked += [((rank + 0.5) / quota, name, int(members[i])) for rank, i in enumerate(chosen)]
        for i, index in enumerate(members.tolist()):
            rejected[index] = Reason.NOT_DIVERSE if seen[i] else unseen
    order = np.array([index for _, _, index in sorted(ranked)], dtype=np.int64)
    for index in order.tolist():
        rejected.pop(index, None)
    return Picks(order, rejected)


def _pick(pool: Pool, quota: int, settings: SelectSettings, share: float) -> tuple[IntArray, np.ndarray]:
    """Up to `quota` frames of one stratum, and (n,) whether the farthest-point sampling looked at each frame."""
    n = len(pool.strata)
    diversity = settings.diversity
    seen = np.zeros(n, dtype=bool)
    by_score = np.arange(n) if pool.score is None else np.argsort(-pool.score, kind="stable")
    if not diversity.enabled:
        return by_score[:quota], seen
    points, taken = pool.descriptors, pool.taken
    spread = round(share * quota)
    if pool.score is None:
        chosen = by_score[: quota - spread]
    else:
        top = by_score[: min(diversity.shortlist * (quota - spread), diversity.max_frames)]
        chosen = top[farthest(points[top], taken, quota - spread)]
        seen[top] = True
    rest = np.setdiff1d(np.arange(n), chosen)[: diversity.max_frames]
    if spread:
        seen[rest] = True
        more = farthest(points[rest], np.concatenate([taken, points[chosen]]), quota - len(chosen))
        chosen = np.concatenate([chosen, rest[more]])
    return chosen, seen
