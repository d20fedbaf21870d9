"""What is asked of labels before a program of its own reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from magflow.core.comparison import rmse
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.prediction import EnsemblePrediction, Prediction
from magflow.core.types import FloatArray
from magflow.errors import InputError


def check(items: Sequence[LabeledFrame], species: Sequence[str], *, magnetic: bool, part: str, without: str) -> None:
    """Refuse labels a model cannot learn from.

    Parameters
    ----------
    part
        What they are for, in messages.
    without
        The family that learns from frames without moments.

    Raises
    ------
    InputError
        Naming the frame: an unknown element, a force or stress that is not finite, moments that are missing.
    """
    for i, item in enumerate(items):
        where = f"{part} frame {i} ({item.frame.formula})"
        if unknown := sorted(set(item.frame.species) - set(species)):
            raise InputError("an element is not in the list", where=where, seen=unknown, expected=", ".join(species))
        for name in ("forces", "stress"):
            values = getattr(item.label, name)
            if values is not None and not np.isfinite(values).all():
                raise InputError(f"{name} are not finite", where=where)
        if magnetic and item.configuration.magmoms is None:
            raise InputError(
                "the frame has no moments",
                where=where,
                expected="moments on every frame, zero where there are none",
                hint=f"the family {without} learns from frames without moments",
            )


def check_frame(frame: Frame, species: Sequence[str], *, magnetic: bool, where: str) -> None:
    """Refuse a frame that a model cannot read.

    Raises
    ------
    InputError
        If it holds an unknown element or lacks moments.
    """
    if unknown := sorted(set(frame.species) - set(species)):
        raise InputError(
            "the potential does not know an element", where=where, seen=unknown, expected=", ".join(species)
        )
    if magnetic and frame.magmoms is None:
        raise InputError("the frame has no moments", where=where, expected="moments on every frame")


def largest_moments(items: Sequence[LabeledFrame], species: Sequence[str]) -> list[float]:
    """Per species, the largest moment in the labels, muB."""
    largest = dict.fromkeys(species, 0.0)
    for item in items:
        moments = item.configuration.magmoms
        if moments is None:
            continue
        for symbol, size in zip(item.frame.species, np.linalg.norm(moments, axis=1), strict=True):
            largest[symbol] = max(largest[symbol], float(size))
    return list(largest.values())


def atomic_energies(items: Sequence[LabeledFrame], species: Sequence[str], energy: FloatArray) -> FloatArray:
    """(species,) eV, the energies of atoms that come nearest to `energy` (n,), the shortest such vector."""
    counts = [Counter(item.frame.species) for item in items]
    composition = np.array([[count[s] for s in species] for count in counts], dtype=float)
    atoms = composition.sum(axis=1)
    return np.asarray(np.linalg.lstsq(composition / atoms[:, None], energy / atoms, rcond=None)[0])


class Predicts(Protocol):
    """A potential."""

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        """What it says of some frames."""


def errors(potential: Predicts, items: Sequence[LabeledFrame]) -> dict[str, float]:
    """RMSE by quantity, house units; energy per atom, and only components that are labelled."""
    prediction = potential.predict([item.configuration for item in items])
    return rmse(EnsemblePrediction.from_members([prediction]), items)
