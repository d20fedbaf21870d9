"""One round of exploration: the single entry for the campaign."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from magflow.core.arrays import digest
from magflow.core.protocols import Ensemble
from magflow.explore.candidate import Candidate, MomentRanges
from magflow.explore.domain import draw, sample
from magflow.explore.health import HealthReason
from magflow.explore.md import run_md
from magflow.explore.prototypes import Prototype, seeds
from magflow.explore.settings import ExploreSettings


@dataclass(frozen=True)
class Exploration:
    """What one round offers: candidates, what the health checks met by reason, and the wall time in seconds."""

    candidates: list[Candidate]
    health: dict[str, int]
    seconds: float


def explore(
    prototypes: Sequence[Prototype],
    settings: ExploreSettings,
    moments: MomentRanges,
    ensemble: Ensemble | None = None,
    iteration: int = 0,
    seed: int = 0,
) -> Exploration:
    """Candidates of one iteration: the ideal prototypes (first iteration), new samples of the domain, MD snapshots.

    Parameters
    ----------
    prototypes
        Structures and orderings, from :func:`magflow.explore.prototypes.build_prototypes`.
    settings
        How much of what.
    moments
        Range of |m| by element, muB.
    ensemble
        The present ensemble; without one there is no MD.
    iteration
        Counted from 0; each continues the sequence of the one before, so that no sample comes twice.
    seed
        The same for all iterations of a campaign.
    """
    begin = time.perf_counter()
    candidates = seeds(prototypes) if iteration == 0 else []
    n = settings.candidates
    drawn = draw(prototypes, settings.domain, moments, n, seed, skip=iteration * n)
    candidates += drawn.candidates
    health = {str(HealthReason.PULLED_IN): drawn.pulled_in} if drawn.pulled_in else {}
    if settings.md is not None and ensemble is not None:
        still = settings.domain.model_copy(update={"displacement": 0.0})
        runs = settings.md.starts
        starts = sample(prototypes, still, moments, runs, _stream(seed, "starts"), skip=iteration * runs)
        outcome = run_md(starts, ensemble, settings.md, moments, _stream(seed, f"dynamics {iteration}"))
        candidates += outcome.candidates
        health |= outcome.health
    return Exploration(candidates, health, time.perf_counter() - begin)


def _stream(seed: int, purpose: str) -> int:
    """An independent 64-bit seed for one purpose."""
    return int(digest([str(seed).encode(), purpose.encode()], 16), 16)
