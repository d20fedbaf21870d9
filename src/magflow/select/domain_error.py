r"""The error over the domain, from labels drawn from it at random, with its confidence interval.

Chosen frames are hard ones: their errors say nothing of typical frames. A random label is judged before anything is
learnt from it, so its error is an honest sample. With the mean squared error :math:`m_f` of the :math:`w_f` components
of label f the mean squared error of the domain is :math:`M = \sum w_f m_f / \sum w_f`; labels are independent, the
components of one are not, so the interval follows from the scatter of the labels: :math:`\ln M` is off by
:math:`s = \mathrm{sd}(w_f (m_f - M)) / (\bar w M \sqrt n)`, times a Student factor of n - 1 degrees of freedom, and by
no less than what a scatter of :data:`SCATTER` gives.

An ensemble that can tell what it would have said of the labels it learnt from (:mod:`magflow.core.unseen`) is judged by
all random labels at once; others by the newest ones, as those came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from magflow.core.comparison import compare
from magflow.core.label import LabeledFrame
from magflow.core.prediction import QUANTITIES, EnsemblePrediction

WINDOW = 10
"""Random labels that are enough: of more, the oldest iterations are left out.

Those judged by earlier ensembles met larger errors, so that what is said of the present one errs on the safe side.
"""
FEWEST = 3
"""Random labels without which no interval is given."""
CONFIDENCE = 0.9
"""That the domain's error lies within the interval; half of the rest lies above it."""
SCATTER, UNSEEN_SCATTER = 1.3, 2.5
"""Least standard deviation of the squared errors of labels over their mean: of labels judged as they came, and of those
judged by the newest ensemble as if it had not learnt from them.

Half of the squared error of typical frames sits in a tenth of them, which few labels may hold none of: with 4 to 16
fresh labels, judged by the newest ensemble, a scatter of 1.3 puts the upper end above the truth in 79 to 89 % of the
cases, 2.0 in 91 to 97 %, 2.5 in 95 to 99 %. Judged as they came, by older ensembles whose errors are 1.5 times as
large, 1.3 does it in 96 %, the upper end 2.9 times above the truth; as if unseen, 2.5 does it in 93 %, 2.0 times above
(28 upper ends of 3 to 10 labels, 7 ensembles that learnt from 40 and 60 labels of ABINIT and of a model Hamiltonian).
"""
STILL = 1e-6
"""eV/A; forces below it are what rounding leaves of zero."""


@dataclass(frozen=True)
class Judged:
    """What an ensemble that had not learnt from it was off by on one random label.

    `iteration`: in which it was judged. `errors`: quantity to RMSE (house units; energy per atom) and the number of
    components that is over.
    """

    iteration: int
    errors: Mapping[str, tuple[float, int]]

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Judged:
        """From what :func:`dataclasses.asdict` gives, or its JSON."""
        known = {q: d["errors"][q] for q in QUANTITIES if q in d["errors"]}
        return cls(int(d["iteration"]), {q: (float(size), int(n)) for q, (size, n) in known.items()})


@dataclass(frozen=True)
class DomainError:
    """RMSE over the domain and the ends of its confidence interval, house units; None: too few labels for one."""

    rmse: float
    low: float | None
    high: float | None
    labels: int


def judge_labels(prediction: EnsemblePrediction, labels: Sequence[LabeledFrame], iteration: int) -> list[Judged]:
    """What a prediction for `labels`, in their order, was off by on each.

    Forces that are all zero by symmetry are told right by every potential: such a label says nothing of theirs.
    """
    errors: list[dict[str, tuple[float, int]]] = [{} for _ in labels]
    for quantity in QUANTITIES:
        found = compare(prediction, labels, quantity)
        for k in np.unique(found.owner).tolist():
            rows = found.owner == k
            if quantity == "forces" and abs(found.true[rows]).max() < STILL:
                continue
            mine = found.error[rows]
            errors[k][quantity] = (float(np.sqrt(np.mean(mine**2))), len(mine))
    return [Judged(iteration, e) for e in errors]


def newest(judged: Sequence[Judged]) -> list[Judged]:
    """Those of the last iterations, as many of them as hold :data:`WINDOW` labels."""
    kept: list[Judged] = []
    for iteration in sorted({j.iteration for j in judged}, reverse=True):
        if len(kept) >= WINDOW:
            break
        kept += [j for j in judged if j.iteration == iteration]
    return kept


def domain_errors(judged: Sequence[Judged], scatter: float = SCATTER) -> dict[str, DomainError]:
    """Quantity to its error over the domain; what no label holds is left out. `scatter`: see :data:`SCATTER`."""
    out = {}
    for quantity in QUANTITIES:
        known = [j.errors[quantity] for j in judged if quantity in j.errors]
        if known:
            out[quantity] = _of(np.array([e for e, _ in known]) ** 2, np.array([float(n) for _, n in known]), scatter)
    return out


def upper_ends(errors: Mapping[str, DomainError]) -> dict[str, float]:
    """Quantity to the upper end of its interval, where there is one."""
    return {q: e.high for q, e in errors.items() if e.high is not None}


def labels_needed(ratio: float, scatter: float) -> int | None:
    """Random labels whose interval shows an error `ratio` times below its target to be within it; None: no number does.

    `scatter`: see :data:`SCATTER`.
    """
    if not ratio > 1.0:
        return None
    low, high = FEWEST - 1, FEWEST
    while _width(high, scatter) > ratio:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _width(middle, scatter) <= ratio else (middle, high)
    return high


def labels_missing(errors: Mapping[str, Mapping[str, float | None]], targets: Mapping[str, float]) -> int | None:
    """Random labels more by which errors and scatter such as these are known to be within all targets.

    None where one is not within its target, or has no interval. `errors` are :class:`DomainError` as dictionaries.
    """
    missing = []
    for quantity, target in targets.items():
        error = errors.get(quantity, {})
        rmse, high, labels = error.get("rmse"), error.get("high"), int(error.get("labels") or 0)
        if not rmse or not high:
            return None
        needed = labels_needed(target / rmse, np.log(high / rmse) / np.log(_width(labels, 1.0)))
        if needed is None:
            return None
        missing.append(needed - labels)
    return max(0, *missing) if missing else None


def _width(n: int, scatter: float) -> float:
    """Upper end of the interval over the error, of n labels whose squared errors scatter so."""
    from scipy.stats import t

    return float(np.exp(0.5 * t.ppf(0.5 + 0.5 * CONFIDENCE, n - 1) * scatter / np.sqrt(n)))


def _of(squares: np.ndarray, weights: np.ndarray, least: float) -> DomainError:
    n = len(squares)
    mean = float(weights @ squares / weights.sum())
    if n < FEWEST or mean == 0.0:
        return DomainError(float(np.sqrt(mean)), None, None, n)
    scatter = max(least, np.std(weights * (squares - mean), ddof=1) / (weights.mean() * mean))
    rmse, width = float(np.sqrt(mean)), _width(n, scatter)
    return DomainError(rmse, rmse / width, rmse * width, n)
