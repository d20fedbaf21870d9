"""What a potential gets wrong on test labels, beside the size of what it has to get right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from magflow.core.comparison import Compared, compare
from magflow.core.prediction import QUANTITIES
from magflow.core.types import FloatArray
from magflow.core.versions import known_fields
from magflow.errors import InputError
from magflow.potentials.ensemble import PotentialEnsemble, as_labelled
from magflow.studies.tm.rows import Sorted

THIRDS = ("calm", "middle", "violent")
"""Strata of test labels by the root mean square of their forces: what a temperature does, where nobody told it."""
FORCES = "forces"
"""Kind of these strata."""


@dataclass(frozen=True)
class Score:
    """Errors of one quantity on some labels, house units (energy in eV/atom).

    Parameters
    ----------
    labels, n
        Labels, and labelled components.
    rmse, mae
        Root mean square and mean absolute error.
    rms, mean_abs
        Root mean square and mean absolute value of what the labels say; of energies less their mean.
    """

    labels: int
    n: int
    rmse: float
    mae: float
    rms: float
    mean_abs: float

    @classmethod
    def of(cls, compared: Compared, chosen: np.ndarray) -> Score | None:
        """Of the `chosen` (n,) labels; None where they say nothing of it."""
        mine = chosen[compared.owner]
        error, true = compared.error[mine], compared.true[mine]
        if not len(error):
            return None
        sizes = (_rms(error), np.abs(error).mean(), _rms(true), np.abs(true).mean())
        return cls(len(set(compared.owner[mine].tolist())), len(error), *(float(f"{x:.6g}") for x in sizes))

    @property
    def relative(self) -> float | None:
        """RMSE over the root mean square of the labels; None where that is zero by symmetry."""
        return self.rmse / self.rms if self.rms > 1e-6 else None

    @property
    def relative_mae(self) -> float | None:
        """Mean absolute error over the mean absolute value of the labels."""
        return self.mae / self.mean_abs if self.mean_abs > 1e-6 else None


Scores = Mapping[str, Score]
"""By quantity."""


@dataclass(frozen=True)
class Judgement:
    """All scores on the test labels of one fit.

    Parameters
    ----------
    strata
        Kind of stratum to stratum to scores.
    """

    whole: Scores
    strata: Mapping[str, Mapping[str, Scores]]

    def as_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, d: Mapping[str, object]) -> Judgement:
        """Inverse of :meth:`as_dict`."""

        def scores(found: Mapping[str, Mapping[str, float]]) -> Scores:
            return {q: Score(**known_fields(Score, s)) for q, s in found.items()}

        kinds: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]] = d["strata"]  # type: ignore[assignment]
        strata = {kind: {name: scores(s) for name, s in named.items()} for kind, named in kinds.items()}
        return cls(scores(d["whole"]), strata)  # type: ignore[arg-type]


def judge(ensemble: PotentialEnsemble, tested: Sequence[Sorted]) -> Judgement:
    """Hold a potential against labels.

    Raises
    ------
    InputError
        If a prediction is not finite.
    """
    items = [member.item for member in tested]
    prediction = as_labelled(ensemble, items)
    compared = {q: compare(prediction, items, q) for q in QUANTITIES}
    if wrong := [q for q, c in compared.items() if not np.isfinite(c.predicted).all()]:
        raise InputError("predictions are not finite", seen=", ".join(wrong))
    compared["energy"] = _less_mean(compared["energy"])
    everything = _scores(compared, np.ones(len(items), dtype=bool))
    strata: dict[str, dict[str, Scores]] = {}
    for kind, names in _strata(tested):
        strata[kind] = {name: _scores(compared, names == name) for name in dict.fromkeys(sorted(names, key=_order))}
    return Judgement(everything, strata)


def _less_mean(energies: Compared) -> Compared:
    """Energies less the mean of the labels, which a potential gets right by a constant."""
    mean = energies.true.mean() if len(energies.true) else 0.0
    return Compared(
        energies.true - mean, energies.predicted - mean, energies.deviation, energies.owner, energies.element
    )


def _scores(compared: Mapping[str, Compared], chosen: np.ndarray) -> dict[str, Score]:
    found = {q: Score.of(c, chosen) for q, c in compared.items()}
    return {q: score for q, score in found.items() if score is not None}


def _strata(tested: Sequence[Sorted]) -> Iterator[tuple[str, np.ndarray]]:
    """Kind of stratum, and the stratum of each label."""
    for kind in sorted({kind for member in tested for kind in member.strata}):
        yield kind, np.array([member.strata.get(kind, "not told") for member in tested])
    size = np.array([0.0 if m.item.label.forces is None else _rms(m.item.label.forces) for m in tested])
    if len(tested) >= len(THIRDS) and size.any():
        rank = np.argsort(np.argsort(size, kind="stable"), kind="stable")
        yield FORCES, np.array(THIRDS)[rank * len(THIRDS) // len(tested)]


def _order(name: str) -> tuple[float, str]:
    """Temperatures by size, thirds from calm to violent, all else by name."""
    if name in THIRDS:
        return float(THIRDS.index(name)), name
    try:
        return float(name), name
    except ValueError:
        return np.inf, name


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
