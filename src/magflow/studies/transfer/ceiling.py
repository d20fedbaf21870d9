r"""How much non-magnetic labels can save at most, whatever is done with them.

Linearised at a good fit, a potential is a Gaussian process with as many unknowns p as it has parameters: its prior is
that of the fit, and each labelled number, in units of its noise, adds a row a = dy/dp. What n labels leave of a
predicted number is

    v = a^T (1 + sum_labels a' a'^T)^-1 a        (rows whitened by the prior).

Rows of non-magnetic labels, as frames at zero moments, add to the sum what those labels can say; a weight of
:data:`EXACT` on each is a non-magnetic surface known without error where they lie. How many magnetic labels the same v
takes with and without them is a factor that no way to fit has a part in. It is one of variance alone: a model too
small for its labels has a bias besides, which no label lowers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.prediction import QUANTITIES
from magflow.core.types import FloatArray, IntArray
from magflow.core.undecided import Undecided
from magflow.core.versions import known_fields

EXACT = 1e4
"""Weight of a row that is known without error, in rows with the noise of the fit."""
STEPS, FEWEST_SHARE = 12, 8
"""Numbers of labels looked at beside given knowledge: those asked for and so many, from an eighth of the fewest on."""


class Given(StrEnum):
    """What is known before the first magnetic label."""

    NOTHING = "nothing"
    LABELS = "the non-magnetic labels"
    SURFACE = "an exact non-magnetic surface"


@dataclass(frozen=True)
class Expected:
    """The error to expect of some magnetic labels.

    Parameters
    ----------
    seed
        Of the draw of the labels.
    rmse
        Quantity to root mean variance over the test labels, in units of its noise.
    """

    given: Given
    seed: int
    magnetic_labels: int
    rmse: Mapping[str, float]

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Expected:
        """From what :func:`dataclasses.asdict` makes of it."""
        return cls(**known_fields(cls, d) | {"given": Given(d["given"])})


@dataclass(frozen=True, eq=False)
class Linearised:
    """A family around one fit, with its prior alone.

    Parameters
    ----------
    non_magnetic
        (P, P) sum of a a^T over the rows of non-magnetic labels.
    asked
        (4, P, P) mean of a a^T over those of the test frames, by quantity; zero for one without labels.
    """

    undecided: Undecided
    non_magnetic: FloatArray
    asked: FloatArray

    @classmethod
    def of(cls, undecided: Undecided, zero: Sequence[LabeledFrame], test: Sequence[LabeledFrame]) -> Linearised:
        """From labels at zero moments and test labels."""
        rows = undecided.rows([item.configuration for item in test]).values
        kind = _kinds([item.frame for item in test])
        asked = np.stack([_gram(rows[kind == k]) / max(int((kind == k).sum()), 1) for k in range(len(QUANTITIES))])
        known = undecided.rows([item.configuration for item in zero]).values
        return cls(undecided, _gram(known), asked)

    def expected(
        self, magnetic: Sequence[LabeledFrame], sizes: Iterable[int], given: Given, seed: int
    ) -> list[Expected]:
        """Errors to expect with the first n of the `magnetic` labels, n of `sizes`."""
        rows = self.undecided.rows([item.configuration for item in magnetic])
        weight = {Given.NOTHING: 0.0, Given.LABELS: 1.0, Given.SURFACE: EXACT}[given]
        normal = np.eye(len(self.non_magnetic)) + weight * self.non_magnetic
        out, done = [], 0
        for n in sorted(set(sizes)):
            normal = normal + _gram(rows.values[rows.begin[done] : rows.begin[n]])
            done = n
            left = np.einsum("kij,ij->k", self.asked, _inverse(normal))
            errors = {name: float(np.sqrt(v)) for name, v in zip(QUANTITIES, left, strict=True) if v > 0.0}
            out.append(Expected(given, seed, n, errors))
        return out


def expected_errors(
    linearised: Linearised, draws: Mapping[int, Sequence[LabeledFrame]], sizes: Sequence[int]
) -> tuple[Expected, ...]:
    """Errors to expect of fits from scratch to so many labels, and of fewer with what non-magnetic labels tell.

    Parameters
    ----------
    draws
        Seed to magnetic labels in the order in which they come, as many as the largest of `sizes`.
    """
    fewest = max(1, min(sizes) // FEWEST_SHARE)
    between = [*sizes, *np.geomspace(fewest, max(sizes), STEPS).round().astype(int).tolist()]
    out: list[Expected] = []
    with threadpool_limits(limits=1, user_api="blas"):
        for seed, magnetic in draws.items():
            out += linearised.expected(magnetic, sizes, Given.NOTHING, seed)
            for given in (Given.LABELS, Given.SURFACE):
                out += linearised.expected(magnetic, between, given, seed)
    return tuple(out)


def _kinds(frames: Sequence[Frame]) -> IntArray:
    """Index of the quantity of each row of `frames`, in the order of :class:`~magflow.core.undecided.Undecided`."""
    kinds = [np.repeat(np.arange(4), [1, 3 * len(f), 6, len(f)]) for f in frames]
    return np.concatenate(kinds) if kinds else np.zeros(0, dtype=np.int64)


def _gram(rows: FloatArray) -> FloatArray:
    product: FloatArray = rows.T @ rows
    return product


def _inverse(matrix: FloatArray) -> FloatArray:
    from scipy.linalg import cho_solve, cholesky  # who shows a finished transfer needs none of it

    lower = cholesky(matrix, lower=True, check_finite=False)
    inverse: FloatArray = cho_solve((lower, True), np.eye(len(matrix)), check_finite=False)
    return inverse
