"""What deviations were worth so far: labels that an ensemble was held against before anything learnt from them.

Of the labels drawn from the domain at random the newest are kept, as for the error over the domain; of the chosen ones,
which are hard, those of the last iteration that judged any: their errors fall as the campaign goes on. A random label
weighs twice as much as a chosen one, because what is predicted is typical more often than hard.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from magflow.core.calibration import OF_ELEMENTS, Calibration, of_element
from magflow.core.comparison import compare
from magflow.core.label import LabeledFrame
from magflow.core.prediction import QUANTITIES, EnsemblePrediction
from magflow.core.types import BoolArray, FloatArray
from magflow.errors import InputError
from magflow.select.domain_error import WINDOW
from magflow.select.likelihood import error_model
from magflow.select.reliability import Reliability, reliability

DRAWN_WEIGHT = 2.0
"""What a random label counts, in chosen ones."""
COLUMNS = ("iteration", "label", "drawn", "quantity", "element", "error", "deviation", "claimed")
KEY = "evidence"
"""Of its array in a document."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """One row per labelled component.

    Parameters
    ----------
    rows
        (n, 8) :data:`COLUMNS`: the iteration that judged it; which of its labels; 1 if that was drawn at random, else
        0; place of the quantity among :data:`~magflow.core.prediction.QUANTITIES`; atomic number, 0 for what is no
        atom's; error, raw deviation, and the deviation that was claimed by what was known before (house units, energy
        per atom).

    Raises
    ------
    InputError
        If the columns are others.
    """

    rows: FloatArray

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or self.rows.shape[1] != len(COLUMNS):
            raise InputError("evidence of another layout", seen=self.rows.shape, expected=f"(n, {len(COLUMNS)})")

    @classmethod
    def none(cls) -> Evidence:
        """No labels."""
        return cls(np.zeros((0, len(COLUMNS))))

    @classmethod
    def of(
        cls,
        prediction: EnsemblePrediction,
        known: Calibration,
        labels: Sequence[LabeledFrame],
        drawn: Collection[str],
        iteration: int,
    ) -> Evidence:
        """From a raw prediction for `labels`; `drawn` are the ids of the frames that were drawn at random."""
        claimed = known.expected(prediction, [item.frame for item in labels])
        at_random = np.array([item.frame.frame_id in drawn for item in labels], dtype=float)
        parts = [np.zeros((0, len(COLUMNS)))]
        for place, quantity in enumerate(QUANTITIES):
            found = compare(prediction, labels, quantity)
            columns = np.zeros((len(found.owner), len(COLUMNS)))
            columns[:, 0], columns[:, 1], columns[:, 3] = iteration, found.owner, place
            columns[:, 2] = at_random[found.owner]
            columns[:, 4], columns[:, 5], columns[:, 6] = found.element, found.error, found.deviation
            columns[:, 7] = compare(claimed, labels, quantity).deviation
            parts.append(columns)
        return cls(np.concatenate(parts))

    def followed_by(self, newer: Evidence) -> Evidence:
        """Both, without what is too old to count."""
        rows = np.concatenate([self.rows, newer.rows])
        keep = np.zeros(len(rows), dtype=bool)
        for drawn in (0.0, 1.0):
            mine = rows[:, 2] == drawn
            labels = 0
            for iteration in sorted(set(rows[mine, 0]), reverse=True):
                if labels >= (WINDOW if drawn else 1):
                    break
                here = mine & (rows[:, 0] == iteration)
                labels += len(np.unique(rows[here, 1]))
                keep |= here
        return Evidence(rows[keep])

    @cached_property
    def drawn(self) -> BoolArray:
        """(n,) whether the row is of a random label."""
        return np.asarray(self.rows[:, 2] > 0.0)

    def calibration(self) -> Calibration:
        """The error models that this evidence makes most probable."""
        models = {}
        for key, mine in self._groups().items():
            rows = self.rows[mine]
            _, label, size = np.unique(rows[:, :2], axis=0, return_inverse=True, return_counts=True)
            weight = np.where(rows[:, 2] > 0.0, DRAWN_WEIGHT, 1.0) / size[label.ravel()]
            models[key] = error_model(rows[:, 6], rows[:, 5], weight)
        return Calibration(models)

    def claims(self) -> dict[str, dict[str, Reliability]]:
        """``typical`` (random labels) and ``chosen`` to quantity to how true the deviations were that were claimed."""
        out: dict[str, dict[str, Reliability]] = {}
        for name, which in (("typical", self.drawn), ("chosen", ~self.drawn)):
            for key, mine in self._groups().items():
                rows = self.rows[mine & which]
                if len(rows):
                    out.setdefault(name, {})[key] = reliability(
                        rows[:, 7], rows[:, 5], labels=len(np.unique(rows[:, :2], axis=0))
                    )
        return out

    def _groups(self) -> dict[str, BoolArray]:
        """Key of a calibration to its rows."""
        out: dict[str, BoolArray] = {}
        for place, quantity in enumerate(QUANTITIES):
            mine: BoolArray = self.rows[:, 3] == place
            if not mine.any():
                continue
            out[quantity] = mine
            numbers = sorted(set(self.rows[mine, 4].astype(int))) if quantity == OF_ELEMENTS else []
            out |= {of_element(chemical_symbols[z]): mine & (self.rows[:, 4] == z) for z in numbers}
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        """What a document keeps."""
        return {KEY: self.rows}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Evidence:
        """Inverse of :meth:`arrays`; none where an older magflow kept none."""
        return cls(np.asarray(arrays[KEY], dtype=float)) if KEY in arrays else cls.none()
