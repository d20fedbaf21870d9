"""A state of a structure as an ensemble sees it: numbers with their units, and how far they are to be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from magflow.core.frame import Frame
from magflow.core.prediction import EnsemblePrediction, Prediction
from magflow.core.units import EV_PER_A3_IN_GPA
from magflow.explore.geometry import nearest_distance
from magflow.io.predictions import why_outside
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.limits import grades_of, shortest_known


class Row(NamedTuple):
    """One number of a state."""

    name: str
    unit: str
    value: float


@dataclass(frozen=True, eq=False)
class State:
    """One state of the structure and what the ensemble says of it.

    Parameters
    ----------
    grade
        Extrapolation grade; None if the family has none.
    shortest_known
        Shortest distance the members were fitted on, A; 0 if they do not say.
    """

    frame: Frame
    prediction: EnsemblePrediction
    grade: float | None
    shortest_known: float = 0.0

    @property
    def mean(self) -> Prediction:
        """Of the ensemble."""
        return self.prediction.mean

    @property
    def outside(self) -> list[str]:
        """Why it lies outside the training set; empty if it does not."""
        reasons = why_outside(self.prediction, self.grade)
        shortest = nearest_distance(self.frame)
        if shortest < self.shortest_known:
            reasons.append(f"atoms {shortest:.3f} A apart, fitted down to {self.shortest_known:.3f} A")
        return reasons

    def rows(self) -> list[Row]:
        """What a person reads."""
        frame, mean = self.frame, self.mean
        rows = [
            Row("energy", "eV/atom", float(mean.energy_per_atom[0])),
            Row("volume", "A^3/atom", frame.volume / len(frame)),
            *self._lattice(),
            *self._moments(),
            Row("shortest distance", "A", nearest_distance(frame)),
            Row("pressure", "GPa", -float(mean.stress[0, :3].mean()) * EV_PER_A3_IN_GPA),
            Row("largest force", "eV/A", float(np.linalg.norm(mean.forces, axis=1).max())),
        ]
        if mean.magnetic_forces is not None:
            rows.append(Row("largest magnetic force", "eV/muB", float(np.abs(mean.magnetic_forces).max())))
        return rows + self._trust()

    def _lattice(self) -> list[Row]:
        cell = self.frame.cell
        lengths = np.linalg.norm(cell, axis=1)
        rows = [Row(name, "A", float(x)) for name, x in zip("abc", lengths, strict=True)]
        for name, (i, j) in {"alpha": (1, 2), "beta": (0, 2), "gamma": (0, 1)}.items():
            cosine = np.clip(cell[i] @ cell[j] / (lengths[i] * lengths[j]), -1.0, 1.0)
            rows.append(Row(name, "degrees", float(np.degrees(np.arccos(cosine)))))
        return rows

    def _moments(self) -> list[Row]:
        if self.frame.magmoms is None:
            return []
        species, m = np.array(self.frame.species), self.frame.magmoms[:, 2]
        rows = []
        for element in dict.fromkeys(self.frame.species):
            mine = m[species == element]
            rows.append(Row(f"{element} moment, mean", "muB", float(mine.mean())))
            rows.append(Row(f"{element} moment, mean of |m|", "muB", float(np.abs(mine).mean())))
        return rows

    def _trust(self) -> list[Row]:
        def largest(quantity: str, factor: float) -> float:
            return factor * float(self.prediction.frame_deviation(quantity)[0])

        rows = [
            Row("deviation of the energy", "meV/atom", largest("energy", 1e3)),
            Row("largest deviation of a force", "meV/A", largest("forces", 1e3)),
            Row("largest deviation of the stress", "GPa", largest("stress", EV_PER_A3_IN_GPA)),
        ]
        if self.mean.magnetic_forces is not None:
            rows.append(Row("largest deviation of a magnetic force", "meV/muB", largest("magnetic_forces", 1e3)))
        return rows if self.grade is None else [*rows, Row("extrapolation grade", "", self.grade)]


def states(ensemble: PotentialEnsemble, frames: Sequence[Frame]) -> list[State]:
    """What the ensemble says of each frame."""
    prediction, grades = ensemble.predict(frames), grades_of(ensemble, frames)
    shortest = shortest_known(ensemble)
    return [
        State(
            frame,
            EnsemblePrediction(prediction.mean.frame(i), prediction.deviation.frame(i)),
            None if grades is None else float(grades[i]),
            shortest,
        )
        for i, frame in enumerate(frames)
    ]
