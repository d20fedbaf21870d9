"""Selection: which of the frames offered to label, in which order, and why or why not.

    sanity -> duplicates -> trust levels and score -> a random part -> the rest, within quotas over strata -> budget

The rest of the batch is what lowers the expected error over the domain most (:mod:`magflow.select.expected`) or, where
nobody can tell that, a mix of the uncertain and the different (:mod:`magflow.select.batch`).

A pure function of its arguments: the set of frames chosen does not depend on the order they are offered in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from magflow.core.frame import Frame
from magflow.core.types import FloatArray, IntArray
from magflow.core.undecided import Undecided
from magflow.errors import InputError
from magflow.select.batch import Pool, choose
from magflow.select.expected import least_error
from magflow.select.fingerprint import find_duplicates
from magflow.select.invariants import invariants
from magflow.select.offered import Offered, Selection
from magflow.select.quotas import stratum
from magflow.select.reasons import Reason
from magflow.select.sanity import insane
from magflow.select.settings import SelectSettings, Strategy
from magflow.select.uncertainty import judge


def select(
    offered: Offered,
    *,
    known: Sequence[Frame] = (),
    known_descriptors: FloatArray | None = None,
    settings: SelectSettings,
    targets: Mapping[str, float],
    budget: int | None = None,
    seed: int = 0,
) -> Selection:
    """Choose at most one batch.

    Parameters
    ----------
    offered
        Frames to choose from. Without deviations this is the first batch, of `settings.initial` frames: by expected
        error, or for diversity alone.
    known, known_descriptors
        Frames of the training set and frames whose calculation failed, never chosen again; (m, d) their descriptors.
    targets
        RMSE aimed at, by quantity, house units (energy in eV/atom).
    budget
        Labels that may still be made; None: no limit.
    seed
        Decides what the criteria leave open.

    Raises
    ------
    InputError
        If arrays, targets and settings do not fit together.
    """
    if budget is not None and budget < 0:
        raise InputError("a negative label budget", where="select", seen=budget)
    order = canonical_order(offered.frames, seed)
    # Everything from here on sees the frames in an order that depends on their content and the seed alone, so whatever
    # breaks a tie does not depend on the order they were offered in.
    before = _checked_known(offered, known, known_descriptors)
    found = _decide(offered.take(order), before, settings, targets, budget)
    back = np.argsort(order)
    return Selection(
        selected=order[found.picks],
        reasons=tuple(found.reasons[i] for i in back),
        score=found.score[back],
        trust=found.trust,
        exhausted=not len(found.picks) and budget != 0,
        strata=tuple(stratum(f) for f in offered.frames),
    )


def _checked_known(
    offered: Offered, known: Sequence[Frame], descriptors: FloatArray | None
) -> tuple[Sequence[Frame], FloatArray | None]:
    if descriptors is not None:
        d = None if offered.descriptors is None else np.shape(offered.descriptors)[1]
        shape = np.shape(descriptors)
        if len(shape) != 2 or shape[0] != len(known) or d is None or shape[1] != d:
            raise InputError(
                "known_descriptors do not fit",
                where="select",
                seen=shape,
                expected=f"({len(known)}, {d}) as the offered ones",
            )
    return known, descriptors


def canonical_order(frames: Sequence[Frame], seed: int) -> IntArray:
    """A random-looking order that depends on the contents of the frames and the seed, not on how they are offered."""
    salt = str(seed).encode()
    keys = [hashlib.blake2b(f.frame_id.encode() + salt, digest_size=8).digest() for f in frames]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class _Decision:
    """What :func:`_decide` found, in canonical order."""

    picks: IntArray
    reasons: list[Reason]
    score: FloatArray
    trust: Mapping[str, tuple[float, float]]


def _decide(
    offered: Offered,
    known: tuple[Sequence[Frame], FloatArray | None],
    settings: SelectSettings,
    targets: Mapping[str, float],
    budget: int | None,
) -> _Decision:
    n = len(offered.frames)
    reasons: list[Reason | None] = list(insane(offered.frames, settings.sanity, offered.max_forces))
    alive = _fresh(offered, known[0], settings, reasons)
    score = np.full(n, np.nan)
    trust: Mapping[str, tuple[float, float]] = {}
    accurate = np.zeros(0, dtype=np.int64)
    candidates = alive
    if settings.strategy is not Strategy.RANDOM and offered.deviations is not None:
        pool = offered.take(alive)
        verdict = judge(pool.deviations or {}, pool.grades, settings, targets)
        score[alive], trust = verdict.score, verdict.trust
        for mask, reason in (
            (verdict.unknown, Reason.UNKNOWN_DEVIATION),
            (verdict.accurate, Reason.BELOW_TRUST),
            (verdict.failed, Reason.ABOVE_TRUST),
        ):
            _mark(reasons, alive[mask], reason)
        candidates, accurate = alive[verdict.candidate], alive[verdict.accurate]
    batch = settings.initial if offered.deviations is None else settings.batch
    drawn = _drawn(settings, batch, candidates, accurate)
    rest = (np.setdiff1d(candidates, drawn), np.setdiff1d(accurate, drawn), score)
    picks = _batch(offered, known, settings, batch - len(drawn), rest, reasons)
    _mark(reasons, drawn, Reason.DRAWN)
    picks = np.concatenate([drawn, picks])
    if budget is not None and budget < len(picks):
        _mark(reasons, picks[budget:], Reason.OVER_BUDGET)
        picks = picks[:budget]
    return _Decision(picks, [r for r in reasons if r is not None], score, trust)


def _drawn(settings: SelectSettings, batch: int, candidates: IntArray, accurate: IntArray) -> IntArray:
    """The random part of a batch: of the domain, as far as frames are sane, new and not beyond all trust.

    None where nothing is worth a label: then the campaign has come to its end.
    """
    if settings.strategy is Strategy.RANDOM or not len(candidates):
        return candidates[:0]
    # The canonical order is a random one.
    domain = np.sort(np.concatenate([candidates, accurate]))
    return domain[: round(settings.random_share * batch)]


def _mark(reasons: list[Reason | None], indices: IntArray, reason: Reason) -> None:
    for i in indices.tolist():
        reasons[i] = reason


def _fresh(
    offered: Offered, known: Sequence[Frame], settings: SelectSettings, reasons: list[Reason | None]
) -> IntArray:
    """Indices of the frames that are sane and new; the reason of the others is recorded."""
    sane = np.array([i for i, r in enumerate(reasons) if r is None], dtype=np.int64)
    duplicates = find_duplicates([offered.frames[i] for i in sane], known, settings.duplicates)
    _mark(reasons, sane[duplicates.of_known >= 0], Reason.DUPLICATE_OF_TRAINING)
    _mark(reasons, sane[duplicates.of_pool >= 0], Reason.DUPLICATE_IN_POOL)
    return sane[(duplicates.of_known < 0) & (duplicates.of_pool < 0)]


def _batch(
    offered: Offered,
    known: tuple[Sequence[Frame], FloatArray | None],
    settings: SelectSettings,
    batch: int,
    pools: tuple[IntArray, IntArray, FloatArray],
    reasons: list[Reason | None],
) -> IntArray:
    """Indices of the batch, most wanted first; a reason is recorded for every candidate."""
    candidates, accurate, score = pools
    if not len(candidates):
        return candidates
    if settings.strategy is Strategy.RANDOM:
        # The canonical order is a random one, so its first frames are a random sample.
        _mark(reasons, candidates, Reason.NOT_DRAWN)
        _mark(reasons, candidates[:batch], Reason.SELECTED)
        return candidates[:batch]
    if offered.undecided is not None:
        return _least_error(offered, offered.undecided, settings, batch, pools, reasons)
    scored = offered.deviations is not None
    pool = _pool(offered, known, candidates, score if scored else None)
    picks = choose(pool, batch, settings)
    for i, reason in picks.rejected.items():
        reasons[candidates[i]] = reason
    chosen = candidates[picks.chosen]
    _mark(reasons, chosen, Reason.SELECTED)
    missing = batch - len(chosen)
    if settings.fill and missing > 0 and len(accurate):
        # What is accurate is not ranked by its score: it is there for diversity alone.
        rest = _pool(offered, known, accurate, None, pool.descriptors[picks.chosen])
        more = accurate[choose(rest, missing, settings, share=1.0).chosen]
        _mark(reasons, more, Reason.FILLED)
        chosen = np.concatenate([chosen, more])
    return chosen


def _least_error(
    offered: Offered,
    undecided: Undecided,
    settings: SelectSettings,
    batch: int,
    pools: tuple[IntArray, IntArray, FloatArray],
    reasons: list[Reason | None],
) -> IntArray:
    """As :func:`_batch`. What is accurate belongs to the domain; where batches are filled it may be chosen, too."""
    candidates, accurate, score = pools
    domain = np.sort(np.concatenate([candidates, accurate]))
    eligible = domain if settings.fill else candidates
    found = least_error(offered, undecided, domain, eligible, batch, settings, score)
    _mark(reasons, candidates, Reason.NOT_DRAWN)
    _mark(reasons, np.intersect1d(candidates, found.looked_at), Reason.OUTRANKED)
    _mark(reasons, np.intersect1d(candidates, found.shut_out), Reason.QUOTA_FULL)
    certain = np.isin(found.picks, accurate)
    _mark(reasons, found.picks[~certain], Reason.SELECTED)
    _mark(reasons, found.picks[certain], Reason.FILLED)
    return found.picks


def _pool(
    offered: Offered,
    known: tuple[Sequence[Frame], FloatArray | None],
    indices: IntArray,
    score: FloatArray | None,
    taken: FloatArray | None = None,
) -> Pool:
    """What :func:`choose` needs to know about some of the frames."""
    frames = [offered.frames[i] for i in indices]
    known_frames, known_descriptors = known
    if offered.descriptors is not None and (known_descriptors is not None or not known_frames):
        descriptors = np.asarray(offered.descriptors, dtype=float)[indices]
        before = descriptors[:0] if known_descriptors is None else np.asarray(known_descriptors, dtype=float)
    else:
        elements = sorted({s for f in (*offered.frames, *known_frames) for s in f.species})
        descriptors = invariants(frames, elements)
        before = invariants(known_frames, elements)
    if taken is not None:
        before = np.concatenate([before, taken])
    return Pool(
        np.array([stratum(f) for f in frames], dtype=object),
        descriptors,
        before,
        None if score is None else score[indices],
    )


__all__ = ["Offered", "Selection", "canonical_order", "select"]
