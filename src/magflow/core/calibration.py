r"""What errors to expect for a given deviation: sqrt((scale x deviation)^2 + floor^2).

Members that agree are wrong all the same: their common form leaves an error that more labels do not lower and no
disagreement shows. The floor is that error; one factor alone has to stand for both, and is too small wherever the
members agree. Both belong to a quantity; those of magnetic forces to an element as well, because the moment of iron
and that of aluminium beside it are not one thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.moments import is_collinear
from magflow.core.prediction import LAYOUTS, QUANTITIES, EnsemblePrediction, Prediction
from magflow.core.quantities import scales_of_old
from magflow.core.types import FloatArray
from magflow.errors import InputError

OF_ELEMENTS = "magnetic_forces"
"""The quantity that is calibrated for each element, under ``magnetic_forces Fe``, beside the one for all."""


def of_element(element: str) -> str:
    """The key of the magnetic forces of one element."""
    return f"{OF_ELEMENTS} {element}"


@dataclass(frozen=True)
class ErrorModel:
    """Expected size of an error: `scale` times the deviation and `floor` (house unit; energy per atom), in quadrature.

    Raises
    ------
    InputError
        A scale that is not positive, a floor below zero.
    """

    scale: float = 1.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite([self.scale, self.floor]).all() and self.scale > 0.0 and self.floor >= 0.0):
            raise InputError(
                "calibration is not usable",
                seen=f"scale {self.scale:g}, floor {self.floor:g}",
                expected="a positive scale and a floor of at least 0",
            )

    def of(self, deviation: FloatArray) -> FloatArray:
        """Expected errors for raw deviations."""
        expected: FloatArray = np.hypot(self.scale * deviation, self.floor)
        return expected


AS_IT_IS = ErrorModel()


@dataclass(frozen=True)
class Calibration:
    """Error models by quantity, and by ``magnetic_forces <element>``; what is left out stays as it is.

    Raises
    ------
    InputError
        Of a quantity that nobody predicts.
    """

    models: Mapping[str, ErrorModel] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in self.models:
            quantity, _, element = key.partition(" ")
            if quantity not in QUANTITIES or (element and quantity != OF_ELEMENTS):
                raise InputError("calibration is not usable", seen=key, expected=f"one of {', '.join(QUANTITIES)}")

    def __bool__(self) -> bool:
        return bool(self.models)

    def of(self, quantity: str, element: str | None = None) -> ErrorModel:
        """The error model of a quantity; of an element, if it has one of its own."""
        own = None if element is None else self.models.get(of_element(element))
        return own or self.models.get(quantity, AS_IT_IS)

    def expected(self, prediction: EnsemblePrediction, frames: Sequence[Frame]) -> EnsemblePrediction:
        """A prediction of `frames` whose deviations are the errors to expect in place of the raw ones.

        Moments along z have no magnetic forces across, and none is expected to be wrong there.
        """
        raw = prediction.deviation
        changed: dict[str, Any] = {q: self.of(q).of(getattr(raw, q)) for q in ("forces", "stress") if q in self.models}
        if "energy" in self.models:
            changed["energy"] = self.of("energy").of(raw.energy / raw.counts) * raw.counts
        if raw.magnetic_forces is not None and OF_ELEMENTS in self.models:
            changed[OF_ELEMENTS] = self._of_moments(raw, frames)
        return EnsemblePrediction(prediction.mean, replace(raw, **changed))

    def _of_moments(self, raw: Prediction, frames: Sequence[Frame]) -> FloatArray:
        assert raw.magnetic_forces is not None
        symbols = [s for f in frames for s in f.species]
        of = {s: self.of(OF_ELEMENTS, s) for s in set(symbols)}
        scale, floor = (np.array([getattr(of[s], name) for s in symbols]) for name in ("scale", "floor"))
        floors = np.repeat(floor[:, None], LAYOUTS[OF_ELEMENTS].components[0], axis=1)
        along_z = np.repeat([f.magmoms is None or is_collinear(f.magmoms) for f in frames], raw.counts)
        floors[along_z, :2] = 0.0
        expected: FloatArray = np.hypot(scale[:, None] * raw.magnetic_forces, floors)
        return expected

    def as_dict(self) -> dict[str, dict[str, float]]:
        """JSON-ready."""
        return {key: asdict(model) for key, model in self.models.items()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Calibration:
        """Inverse of :meth:`as_dict`; a number in place of an error model is its scale, as in magflow 0.1.

        Raises
        ------
        InputError
            As the constructor.
        """
        return cls({key: ErrorModel(**model) for key, model in scales_of_old(stored).items()})
