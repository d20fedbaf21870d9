"""How long the rest will take: said only of what has been timed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from magflow.presentation.formats import plural, seconds
from magflow.studies.tm.result import Case, TmFit


class Pace:
    """Seconds on the clock per atom learnt from, by contender and what becomes of moments."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], list[float]] = {}

    def note(self, fit: TmFit) -> None:
        """Learn from a fit that has ended."""
        if fit.failure is None and fit.wall_seconds is not None and fit.atoms:
            key = (fit.case.contender, str(fit.case.reading))
            self._seen.setdefault(key, []).append(fit.wall_seconds / fit.atoms)

    def told(self, rest: Sequence[tuple[Case, int]]) -> str:
        """``; about 12 min left``, from the fits that are to come and the atoms that each learns from.

        What a contender takes per atom is the median of its fits so far. Those of which there is none yet are counted,
        not guessed.
        """
        known, unknown = 0.0, 0
        for case, atoms in rest:
            seen = self._seen.get((case.contender, str(case.reading)))
            if seen is None:
                unknown += 1
            else:
                known += float(np.median(seen)) * atoms
        if not known:
            return ""
        more = f", and {plural(unknown, 'fit')} of a kind not timed yet" if unknown else ""
        return f"; about {seconds(known, 2)} left{more}"
