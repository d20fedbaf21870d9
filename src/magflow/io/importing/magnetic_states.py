"""Whether labels hold several magnetic states at alike geometries, and how much of their energies that hides.

A potential that reads no moments gives one energy to one geometry. Where a set holds several magnetic states there, it
learns their mean, and the rest is an error that no number of labels and no larger model takes away; parity plots show
bands. That floor is the noise of the energies as a function of the geometry alone, less the noise that is left when
the moments are known, too (:mod:`magflow.io.importing.unexplained`), each composition for itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from magflow.core.label import LabeledFrame
from magflow.core.types import FloatArray, IntArray
from magflow.io.importing.environments import environments, magnetism
from magflow.io.importing.unexplained import unexplained

FEWEST, MOST = 20, 800
"""Labels from which on noise can be told from shape, and those that are enough: more are drawn from."""
LEAST, SURE = 0.003, 5.0
"""eV/atom, and nats of evidence for the moments, from which on states are told apart."""
LEAST_UNKNOWN, SHARE_UNKNOWN = 0.005, 0.1
"""eV/atom, and share of the spread, from which on noise is told where no moments are known."""


@dataclass(frozen=True)
class MagneticStates:
    """What geometry does not decide of the energies of a set.

    Parameters
    ----------
    labels
        That were looked at.
    spread
        Standard deviation of their energies beyond the composition, eV/atom.
    without_moments
        The part of it that no smooth function of the geometry explains, eV/atom.
    with_moments
        The part that none of geometry and moments explains, eV/atom; None where moments are not known.
    evidence
        Logarithm of the Bayes factor for the moments; None where they are not known.
    """

    labels: int
    spread: float
    without_moments: float
    with_moments: float | None = None
    evidence: float | None = None

    @property
    def floor(self) -> float:
        """RMSE, eV/atom, that no potential which reads no moments can go below on such labels."""
        left = 0.0 if self.with_moments is None else self.with_moments
        return float(np.sqrt(max(self.without_moments**2 - left**2, 0.0)))

    @property
    def mixed(self) -> bool:
        """Whether there are several magnetic states at alike geometries, or something else that geometry hides."""
        if self.evidence is None:
            return self.floor >= max(LEAST_UNKNOWN, SHARE_UNKNOWN * self.spread)
        return self.floor >= LEAST and self.evidence >= SURE

    @property
    def meaning(self) -> str:
        """One sentence."""
        floor, spread = 1e3 * self.floor, 1e3 * self.spread
        of = f"{floor:.3g} of the {spread:.3g} meV/atom by which energies of one composition scatter"
        if self.evidence is None:
            return f"{of} do not follow from the geometry: several magnetic states, or labels that are not converged"
        if not self.mixed:
            return f"energies follow from the geometry (but for {floor:.2g} of {spread:.3g} meV/atom)"
        return f"several magnetic states: {of} cannot be learnt without reading moments"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, eV/atom."""
        return {**asdict(self), "floor": self.floor, "mixed": self.mixed}


def magnetic_states(items: Sequence[LabeledFrame]) -> MagneticStates | None:
    """Look at the labels of the most frequent level of theory among `items`.

    Up to :data:`MOST` of them, drawn evenly. None where they are too few.
    """
    counts = Counter(item.label.level_of_theory.fingerprint for item in items)
    most = [item for item in items if item.label.level_of_theory.fingerprint == counts.most_common(1)[0][0]]
    if len(most) < FEWEST:
        return None
    some = [most[k] for k in np.linspace(0, len(most) - 1, min(len(most), MOST)).round().astype(int)]
    elements = sorted({s for item in some for s in item.frame.species})
    shares = np.array([[item.frame.species.count(e) / len(item.frame) for e in elements] for item in some])
    known = all(item.configuration.magmoms is not None for item in some)
    parts = [_of_part([some[k] for k in part], shares[part], elements, known) for part in _parts(shares)]
    if not parts:
        return None
    labels = sum(part.labels for part in parts)
    weights = np.array([part.labels for part in parts]) / labels

    def pooled(values: Sequence[float]) -> float:
        return float(np.sqrt(weights @ np.square(values)))

    return MagneticStates(
        labels,
        pooled([part.spread for part in parts]),
        pooled([part.without_moments for part in parts]),
        pooled([part.with_moments or 0.0 for part in parts]) if known else None,
        sum(part.evidence or 0.0 for part in parts) if known else None,
    )


def _parts(shares: FloatArray) -> list[IntArray]:
    """Rows of each composition that has enough labels, and of all others together, if they are enough.

    The same two states lie further apart in one composition than in another, and a Gaussian process has one noise.
    """
    _, which, counts = np.unique(shares.round(6), axis=0, return_inverse=True, return_counts=True)
    which = np.where(counts[which.ravel()] >= FEWEST, which.ravel(), -1)
    parts = [np.flatnonzero(which == k) for k in np.unique(which)]
    return [part for part in parts if len(part) >= FEWEST + np.linalg.matrix_rank(shares[part]) - 1]


def _of_part(items: Sequence[LabeledFrame], shares: FloatArray, elements: Sequence[str], known: bool) -> MagneticStates:
    frames = [item.configuration for item in items]
    energies: FloatArray = np.array([float(item.label.energy or 0.0) / len(item.frame) for item in items])
    around = environments(frames, elements)
    bare = unexplained([around], shares, energies)
    if not known:
        return MagneticStates(len(items), bare.spread, bare.noise)
    aware = unexplained([around, magnetism(frames, elements)], shares, energies)
    return MagneticStates(len(items), bare.spread, bare.noise, aware.noise, aware.evidence - bare.evidence)
