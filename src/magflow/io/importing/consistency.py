"""Whether energies, forces, stresses and magnetic forces of neighbouring frames belong together.

Between two frames of the same atoms that lie close to each other the energy changes by the work done,

    dE = -F.dr + V s:e - H.dM,

each factor the mean of both frames. A set in which forces or stresses have another unit or sign than the energies gives
a slope other than one: 27.2 for hartree, 160.2 for GPa, -1 for a stress of the opposite sign.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np

from magflow.core.label import LabeledFrame
from magflow.core.types import FloatArray
from magflow.core.units import BOHR, EV_PER_A3_IN_GPA, HARTREE, tensor

_CLOSE = 0.3
"""A; the largest displacement between two frames that are compared."""
_STRAINED = 0.08
"""The largest strain between them."""
_PAIRS, _TRIES = 400, 4000
"""Pairs that are enough, and pairs of one list of species that are looked at for them."""
_FEWEST = 6
_TRIMS = 5
_SURE = 0.15
"""Standard error of a slope, relative to it, up to which it says something."""
_NEAR = 0.25
"""How far the logarithm of a slope may be from that of a known factor."""
_OFF = 2.5
"""A slope beyond this factor is told whatever it means."""

_KNOWN = {
    -1.0: "the opposite sign",
    HARTREE: "hartree beside energies in eV",
    1 / HARTREE: "the energies are in hartree",
    HARTREE / BOHR: "hartree/bohr",
    HARTREE / BOHR / 2: "rydberg/bohr",
    HARTREE / 2: "rydberg",
    1 / EV_PER_A3_IN_GPA: "GPa",
    -1 / EV_PER_A3_IN_GPA: "GPa, and the opposite sign",
    0.1 / EV_PER_A3_IN_GPA: "kB",
    -0.1 / EV_PER_A3_IN_GPA: "kB of the opposite sign, as VASP prints them",
}
"""What a slope means: the house's value is the slope times the file's."""
_WORKS = ("forces", "stress", "magnetic_forces")


@dataclass(frozen=True)
class Slope:
    """dE over the work of one quantity, its standard error, and the pairs of frames it comes from."""

    quantity: str
    value: float
    error: float
    pairs: int

    @property
    def _known(self) -> str | None:
        """The unit or sign that such a slope is known for."""
        for factor, meaning in _KNOWN.items():
            if factor * self.value > 0 and abs(np.log(self.value / factor)) < _NEAR:
                return meaning
        return None

    @property
    def suspicious(self) -> bool:
        """Whether the quantity does not belong to the energies, beyond doubt."""
        sure = self.pairs >= _FEWEST and self.error < _SURE * abs(self.value)
        return sure and (self._known is not None or not 1 / _OFF < self.value < _OFF)

    @property
    def meaning(self) -> str:
        """What the slope says, in words."""
        guess = f": {self._known}?" if self._known else ""
        return f"{self.quantity} times {self.value:.3g} would give the energies{guess}"


def slopes(items: Sequence[LabeledFrame]) -> list[Slope]:
    """The slope of every quantity that neighbouring frames of `items` determine."""
    rows = list(_pairs(items))
    if len(rows) < _FEWEST:
        return []
    difference, works = np.array([row[0] for row in rows]), np.array([row[1:] for row in rows])
    used = [k for k in range(len(_WORKS)) if np.count_nonzero(works[:, k]) >= _FEWEST]
    if not used:
        return []
    values, errors = _fit(works[:, used], difference)
    return [
        Slope(_WORKS[k], float(value), float(error), len(rows))
        for k, value, error in zip(used, values, errors, strict=True)
    ]


def _fit(works: FloatArray, difference: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Slopes of all works together and their standard errors, by least squares without the odd pairs."""
    kept = np.ones(len(difference), bool)
    for _ in range(_TRIMS):
        slope = np.asarray(np.linalg.lstsq(works[kept], difference[kept], rcond=None)[0], dtype=np.float64)
        off = np.abs(difference - works @ slope)
        kept = off <= max(4 * 1.4826 * float(np.median(off)), 1e-9)
    freedom = max(int(kept.sum()) - works.shape[1], 1)
    normal = works[kept].T @ works[kept]
    variance = float(np.sum(off[kept] ** 2)) / freedom
    return slope, np.sqrt(np.maximum(np.diag(np.linalg.pinv(normal)) * variance, 0.0))


def _pairs(items: Sequence[LabeledFrame]) -> Iterator[tuple[float, float, float, float]]:
    """Energy difference and the works of forces, stress and magnetic forces, eV, of neighbours."""
    groups: dict[tuple[object, ...], list[LabeledFrame]] = {}
    for item in items:
        key = (item.frame.species, item.label.level_of_theory.fingerprint, item.configuration.magmoms is None)
        groups.setdefault(key, []).append(item)
    tried = (pair for group in groups.values() for pair in islice(_neighbours(group), _TRIES))
    yield from islice((row for a, b in tried if (row := _works(a, b)) is not None), _PAIRS)


def _neighbours(group: list[LabeledFrame]) -> Iterator[tuple[LabeledFrame, LabeledFrame]]:
    """Each frame with the next one, and with the one of the nearest volume."""
    yield from pairwise(group)
    by_volume = sorted(group, key=lambda item: item.frame.volume)
    yield from pairwise(by_volume)


def _works(a: LabeledFrame, b: LabeledFrame) -> tuple[float, float, float, float] | None:
    """None if the frames are too far apart, or lack what the work would be done by."""
    middle = 0.5 * (a.frame.cell + b.frame.cell)
    gradient = np.linalg.solve(middle, b.frame.cell - a.frame.cell)
    strain = 0.5 * (gradient + gradient.T)
    if np.abs(strain).max() > _STRAINED:
        return None
    inner = b.frame.positions @ np.linalg.inv(b.frame.cell) - a.frame.positions @ np.linalg.inv(a.frame.cell)
    moved = (inner - np.rint(inner)) @ middle
    if np.abs(moved).max() > _CLOSE:
        return None
    forces = _mean_work(a.label.forces, b.label.forces, -moved)
    stress, magnetic = _stress_work(a, b, strain), _magnetic_work(a, b)
    if forces is None or stress is None or magnetic is None:
        return None
    return float(b.label.energy or 0) - float(a.label.energy or 0), forces, stress, magnetic


def _mean_work(first: FloatArray | None, second: FloatArray | None, path: FloatArray) -> float | None:
    if not np.abs(path).max(initial=0.0) > 1e-9:
        return 0.0
    if first is None or second is None:
        return None
    return float(np.sum(0.5 * (first + second) * path))


def _stress_work(a: LabeledFrame, b: LabeledFrame, strain: FloatArray) -> float | None:
    if not np.abs(strain).max() > 1e-9:
        return 0.0
    if a.label.stress is None or b.label.stress is None:
        return None
    mean = 0.5 * (tensor(a.label.stress) * a.frame.volume + tensor(b.label.stress) * b.frame.volume)
    return float(np.sum(mean * strain))


def _magnetic_work(a: LabeledFrame, b: LabeledFrame) -> float | None:
    first, second = a.configuration.magmoms, b.configuration.magmoms
    if first is None or second is None:
        return 0.0
    path = second - first
    if np.abs(path).max() > 1.0:
        return None
    if a.label.magnetic_forces is None or b.label.magnetic_forces is None:
        return 0.0  # free moments: the energy does not change with them
    return _mean_work(np.nan_to_num(a.label.magnetic_forces), np.nan_to_num(b.label.magnetic_forces), -path)
