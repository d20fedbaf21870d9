"""Labels of made-up metals, and families whose relative errors of forces are known exactly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from magflow.core.frame import Frame
from magflow.core.label import Cost, Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.core.prediction import Prediction
from magflow.core.protocols import FitReport
from magflow.errors import MissingToolError
from magflow.studies.tm.rows import Row, Sorted

LEVEL = LevelOfTheory("made-up", "1", LabelKind.NON_MAGNETIC, "none")


def truth(frame: Frame) -> tuple[float, np.ndarray]:
    """Energy and forces of a frame: a smooth function of its positions, with no more physics than that."""
    return float(np.cos(frame.positions).sum()), np.sin(frame.positions)


def labels(element: str, n: int, seed: int, *, moments: bool = False) -> list[LabeledFrame]:
    """`n` labels of two atoms each."""
    rng = np.random.default_rng(seed)
    items = []
    for _ in range(n):
        magmoms = rng.uniform(1.0, 2.0, 2) if moments else None
        frame = Frame((element, element), 3.0 * np.eye(3), rng.uniform(0.0, 2.9, (2, 3)), magmoms)
        energy, forces = truth(frame)
        label = Label(frame.frame_id, LEVEL, energy=energy, forces=forces, magmoms=frame.magmoms)
        items.append(LabeledFrame(frame, label))
    return items


def row(element: str, n: int, seed: int = 0, *, name: str = "", groups: Sequence[str] = ("",), **options: Any) -> Row:
    """Labels in a row; groups in turns."""
    items = labels(element, n, seed, **options)
    strata = [{"group": groups[k % len(groups)]} for k in range(n)]
    return Row(name or element, tuple(Sorted(i, s) for i, s in zip(items, strata, strict=True)))


class OffPotential:
    """Forces that are off by a factor of 1 + `error`; energies that are right."""

    family = "off"
    cutoff = 3.0

    def __init__(self, species: Sequence[str], error: float) -> None:
        self.species, self.error = tuple(species), error

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        known = [truth(frame) for frame in frames]
        counts = np.array([len(frame) for frame in frames])
        forces = np.concatenate([(1.0 + self.error) * forces for _, forces in known])
        return Prediction(counts, np.array([energy for energy, _ in known]), forces, np.zeros((len(frames), 6)))

    def to_bytes(self) -> bytes:
        return json.dumps([self.species, self.error]).encode()


class OffFamily(BaseModel):
    """Relative errors of forces of `errors[element]` / sqrt(labels), a thousandth more with each hundred of the seed.

    ``fits`` counts what was fitted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str] = "off"
    magnetic: ClassVar[bool] = True
    needs_moments: ClassVar[bool] = False
    fits: ClassVar[list[tuple[str, int]]] = []

    errors: dict[str, float]
    unread: float = 1.0
    """Factor of the error where moments are not read."""

    def fit(self, train: Sequence[LabeledFrame], *, elements: Sequence[str], seed: int, **rest: Any) -> Any:
        (element,) = elements
        self.fits.append((element, len(train)))
        error = self.errors[element] / np.sqrt(len(train)) * (1.0 + 1e-5 * (seed % 100))
        if train[0].configuration.magmoms is None:
            error *= self.unread
        return OffPotential(elements, error), FitReport(True, 1, {}, Cost(0.5, 0.5))

    def load(self, data: bytes) -> OffPotential:
        return OffPotential(*json.loads(data))


class BreakingFamily(OffFamily):
    """Breaks down on one element with an error that no house class describes."""

    def fit(self, train: Sequence[LabeledFrame], *, elements: Sequence[str], seed: int, **rest: Any) -> Any:
        if elements[0] not in self.errors:
            self.fits.append((elements[0], len(train)))
            raise ZeroDivisionError("no such\nmetal")
        return super().fit(train, elements=elements, seed=seed)


class ToollessFamily(OffFamily):
    """Its program is not there."""

    def fit(self, train: Sequence[LabeledFrame], **rest: Any) -> Any:
        raise MissingToolError("no interpreter", hint="install it")
