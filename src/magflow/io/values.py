"""The values a file gives for the quantities of one frame: checked against each other, brought to the house's units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import Label, LevelOfTheory
from magflow.core.moments import as_vectors
from magflow.core.types import FloatArray
from magflow.core.units import voigt
from magflow.errors import InputError
from magflow.io.quantities import MOMENTS, Quantity
from magflow.io.records import Moments, build_label

_RELATIVE, _ABSOLUTE = 1e-4, 1e-6
"""How far two statements of one number may be apart: files round."""
_STRESS_RELATIVE, _STRESS_ABSOLUTE = 0.01, 2e-4
"""The same of a stress and a virial over the volume, eV/A^3."""


def as_numbers(value: Any, shape: tuple[int, ...], name: str) -> FloatArray:
    """`value` as floats of `shape`.

    Raises
    ------
    InputError
        If it holds anything but numbers, or not as many.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "if" or array.shape != shape:
        raise InputError(f"{name} is malformed", seen=str(value)[:120], expected=f"{shape[0] if shape else 1} numbers")
    return array.astype(float)


class Values:
    """The values that stand for quantities in one frame.

    Parameters
    ----------
    found
        Quantity to (name, factor) of everything that stands for it.
    info, columns
        What the frame holds by name; what is used is taken out.
    """

    def __init__(
        self,
        found: Mapping[Quantity, tuple[tuple[str, float], ...]],
        info: dict[str, Any],
        columns: dict[str, np.ndarray],
    ) -> None:
        self._found, self._info, self._columns = found, info, columns
        self._values: dict[Quantity, Any] = {}
        self.vector_moments = False

    def take(self) -> None:
        """Take all values out of the frame.

        Raises
        ------
        InputError
            If a value is no number, or two names stand for one quantity and disagree.
        """
        for quantity, names in self._found.items():
            source = self._columns if quantity.per_atom else self._info
            values = [_scaled(source.pop(name), factor, name) for name, factor in names]
            for (name, _), value in zip(names[1:], values[1:], strict=True):
                if not _agree(values[0], value):
                    _refuse_two(quantity, names[0][0], name)
            self._values[quantity] = values[0]
        self._look_at_moments()

    def set_aside(self, prefix: str) -> None:
        """Take the moments only; values of labels get names with `prefix`, those that have such names keep them."""
        aside: dict[str, Any] = {}
        for quantity, names in self._found.items():
            source: dict[str, Any] = self._columns if quantity.per_atom else self._info
            for name, factor in names:
                if quantity in MOMENTS:
                    self._values.setdefault(quantity, _scaled(source.pop(name), factor, name))
                elif name == quantity:
                    aside[name] = source.pop(name)
        if Quantity.FREE_ENERGY in aside:
            aside[Quantity.ENERGY] = aside.pop(Quantity.FREE_ENERGY)
        for name, value in aside.items():
            target: dict[str, Any] = self._columns if Quantity(name).per_atom else self._info
            target.setdefault(prefix + name, value)
        self._look_at_moments()

    def _look_at_moments(self) -> None:
        self.vector_moments = any(np.ndim(self._values[q]) == 2 for q in MOMENTS if q in self._values)

    @property
    def energy(self) -> Any:
        """Free energy, else energy, as the file has it; None without either."""
        return self._values.get(Quantity.FREE_ENERGY, self._values.get(Quantity.ENERGY))

    def moments(self, n: int) -> Moments:
        """The moments of `n` atoms."""
        achieved, targets, initial = (
            as_vectors(self._values[q], n, where=str(q)) if q in self._values else None for q in MOMENTS
        )
        return Moments(achieved, targets, initial)

    def unused_moments(self, used: tuple[FloatArray | None, ...]) -> dict[str, np.ndarray]:
        """Moments as the file has them, by the house's name, that are none of the `used` ones."""
        unused = {}
        for quantity in MOMENTS:
            values = self._values.get(quantity)
            if values is None:
                continue
            vectors = as_vectors(values, len(values))
            if not any(m is not None and np.array_equal(m, vectors) for m in used):
                unused[str(quantity)] = values
        return unused

    def refuse_without_energy(self, *, wanted: bool) -> None:
        """Refuse values of a label where there is no energy and labels are `wanted`.

        Raises
        ------
        InputError
            Names the values.
        """
        of_label = [str(q) for q in self._values if q not in MOMENTS]
        if wanted and of_label:
            raise InputError(
                "the frame has " + ", ".join(of_label) + " but no energy",
                seen="the keys " + (", ".join(self._info) or "none"),
                expected="energy or free_energy, or no label at all",
                hint="--keys energy=NAME says which key is the energy",
            )

    def label(
        self, frame: Frame, achieved: FloatArray | None, level_of_theory: LevelOfTheory | None, **how: Any
    ) -> Label:
        """The label of `frame`; ``virial_sign`` is that of the reader, all else goes to :func:`build_label`."""
        magnetic = self._values.get(Quantity.MAGNETIC_FORCES)
        return build_label(
            frame,
            energy=float(as_numbers(self.energy, (), "energy")),
            level_of_theory=level_of_theory,
            forces=self._values.get(Quantity.FORCES),
            stress=self._stress(frame.volume, how.pop("virial_sign")),
            magmoms=achieved,
            magnetic_forces=None if magnetic is None else along_z(magnetic),
            **how,
        )

    def _stress(self, volume: float, virial_sign: int | None) -> FloatArray | None:
        """(6,) Voigt, eV/A^3."""
        stress = _six(self._values, Quantity.STRESS)
        virial = _six(self._values, Quantity.VIRIAL)
        if virial is None:
            return stress
        signs = (-1, 1) if virial_sign is None else (virial_sign,)
        if stress is not None:
            off = min(np.abs(sign * virial / volume - stress).max() for sign in signs)
            if off > _STRESS_ABSOLUTE + _STRESS_RELATIVE * np.abs(stress).max():
                raise InputError(
                    "stress and virial of the frame contradict each other",
                    seen=f"stress x volume = {_short(stress * volume)} eV, virial = {_short(virial)} eV",
                    expected="virial = -stress x volume or +stress x volume",
                    hint="--keys virial=none or --keys stress=none takes the other",
                )
            return stress
        if virial_sign not in (-1, 1):
            raise InputError(
                "the frame has a virial and no stress, and files disagree about its sign",
                seen=", ".join(f"{q} from {names[0][0]}" for q, names in self._found.items()),
                expected="-1 (virial = -stress x volume, the usual one) or +1",
                hint="say it with --virial-sign, or leave it out with --keys virial=none",
            )
        return virial_sign * virial / volume


def along_z(values: Any) -> FloatArray:
    """(N, 3) magnetic forces, from (N,) collinear ones; NaN marks a whole atom."""
    array = np.array(values, dtype=float)
    if array.ndim != 1:
        return array
    return np.where(np.isnan(array)[:, None], np.nan, array[:, None] * np.array([0.0, 0.0, 1.0]))


def _scaled(value: Any, factor: float, name: str) -> Any:
    array = np.asarray(value)
    if array.dtype.kind not in "if":
        raise InputError(f"{name} is malformed", seen=str(value)[:120], expected="numbers")
    return array if factor == 1.0 else array * factor


def _agree(a: Any, b: Any) -> bool:
    if np.shape(a) != np.shape(b):
        if np.size(a) not in (6, 9):
            return False
        six = [_voigt(v) for v in (a, b)]
        return all(v is not None for v in six) and _agree(*six)
    return bool(np.allclose(a, b, rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True))


def _voigt(value: Any) -> FloatArray | None:
    if np.size(value) == 9:
        return voigt(np.reshape(value, (3, 3)))
    return np.asarray(value) if np.shape(value) == (6,) else None


def _refuse_two(quantity: Quantity, first: str, second: str) -> None:
    raise InputError(
        f"two names stand for {quantity} and disagree",
        seen=f"{first} and {second}",
        expected="one, or equal values",
        hint=f"say which is meant: --keys {quantity}={first} or --keys {quantity}={second}",
    )


def _six(values: Mapping[Quantity, Any], quantity: Quantity) -> FloatArray | None:
    """(6,) Voigt of a stress or virial; None without one."""
    if quantity not in values:
        return None
    value = np.asarray(values[quantity])
    value = value.ravel() if value.shape == (3, 3) else value
    if value.shape == (6,):
        return as_numbers(value, (6,), quantity)
    full = as_numbers(value, (9,), quantity).reshape(3, 3)
    if np.abs(full - full.T).max() > _ABSOLUTE + _STRESS_RELATIVE * np.abs(full).max():
        raise InputError(f"{quantity} is not symmetric", seen=_short(full.ravel()), expected="a symmetric 3 x 3 tensor")
    return voigt(full)


def _short(numbers: FloatArray) -> str:
    return " ".join(f"{x:.4g}" for x in numbers)
