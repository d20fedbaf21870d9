r"""One score per frame from the calibrated deviations and the extrapolation grade.

With the calibrated frame deviation :math:`\sigma_q`, the target :math:`t_q` and the extrapolation grade
:math:`\gamma`,

.. math:: s = \sqrt{\frac{1}{n}\Big[\sum_q \Big(\frac{\sigma_q}{t_q}\Big)^2
          + \Big(\frac{\min(\gamma, \gamma_{break})}{\gamma_{save}}\Big)^2\Big]}

over the n terms there are. A score of 1 is a frame whose expected error is at the target. The grade is capped
so that one far outlier does not outrank everything that is merely wrong. Accurate, candidate and failed are the
words of DP-GEN (Zhang et al., Comput. Phys. Commun. 253, 107206 (2020)), the grades those of MLIP (Podryabinkin and
Shapeev, Comput. Mater. Sci. 140, 171 (2017)).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from magflow.core.prediction import QUANTITIES
from magflow.core.types import BoolArray, FloatArray
from magflow.errors import InputError
from magflow.select.settings import UNITS, SelectSettings


@dataclass(frozen=True, eq=False)
class Judgement:
    """Verdict on n frames; each frame is exactly one of unknown, accurate, candidate or failed.

    Parameters
    ----------
    score
        (n,) see the module; NaN where unknown.
    unknown, accurate, failed
        (n,) a deviation or grade is not finite; every deviation is at or below its low level; one lies above its
        high level while most of the pool is accurate.
    trust
        Low and high level per quantity, house units.
    """

    score: FloatArray
    unknown: BoolArray
    accurate: BoolArray
    failed: BoolArray
    trust: Mapping[str, tuple[float, float]]

    @property
    def candidate(self) -> BoolArray:
        """(n,) neither unknown, accurate nor failed."""
        return ~(self.unknown | self.accurate | self.failed)


def trust_levels(settings: SelectSettings, targets: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Low and high level of the calibrated frame deviation per quantity looked at, in its house unit.

    Raises
    ------
    InputError
        If the levels are automatic and there is no target, or a target is not positive.
    """
    if settings.trust != "auto":
        levels = {q: getattr(settings.trust, q) for q in QUANTITIES}
        return {q: (level.low, level.high) for q, level in levels.items() if level is not None}
    auto = settings.auto_trust
    unknown = sorted(set(targets) - set(QUANTITIES))
    if unknown or not targets:
        raise InputError(
            "automatic trust levels need a target",
            where="select.trust",
            seen=", ".join(unknown) or "no target",
            expected="targets for some of " + ", ".join(QUANTITIES),
            hint="give targets in the stop section, or low and high in select.trust",
        )
    for quantity, target in targets.items():
        if not (np.isfinite(target) and target > 0):
            raise InputError("a target is not positive", where=f"stop.{quantity}", seen=f"{target} {UNITS[quantity]}")
    return {q: (auto.low * targets[q], auto.high * targets[q]) for q in QUANTITIES if q in targets}


def judge(
    deviations: Mapping[str, FloatArray],
    grades: FloatArray | None,
    settings: SelectSettings,
    targets: Mapping[str, float],
) -> Judgement:
    """Score frames and hold them against the trust levels.

    Parameters
    ----------
    deviations
        Quantity to (n,) calibrated frame deviations (:meth:`EnsemblePrediction.frame_deviation`), house units.
    grades
        (n,) extrapolation grades, or None if the family has none.
    targets
        Quantity to the RMSE aimed at, house units. A quantity without one is divided by its low level.

    Raises
    ------
    InputError
        If no quantity with a trust level has deviations.
    """
    trust = {q: levels for q, levels in trust_levels(settings, targets).items() if q in deviations}
    if not trust:
        raise InputError(
            "no deviation to compare with a trust level", where="select.trust", seen=", ".join(deviations) or "none"
        )
    values = {q: np.asarray(deviations[q], dtype=float) for q in trust}
    terms = [(values[q] / targets.get(q, trust[q][0])) ** 2 for q in trust]
    if grades is not None:
        terms.append((np.minimum(grades, settings.grade_break) / settings.grade_save) ** 2)
    n = len(terms[0])
    finite = np.isfinite(np.array([*values.values()])).all(axis=0)
    low = np.all([values[q] <= trust[q][0] for q in trust], axis=0)
    high = np.any([values[q] > trust[q][1] for q in trust], axis=0)
    if grades is not None:
        # An infinite grade is a verdict (no active set covers the frame), only NaN is the lack of one.
        finite &= ~np.isnan(grades)
        low &= grades <= settings.grade_save
        high |= grades > settings.grade_break
    accurate, high = low & finite, high & finite
    few = accurate.sum() < settings.failed_needs_accurate * max(int(finite.sum()), 1)
    score = np.where(finite, np.sqrt(np.mean(terms, axis=0)), np.nan)
    return Judgement(score, ~finite, accurate, np.zeros(n, dtype=bool) if few else high, trust)
