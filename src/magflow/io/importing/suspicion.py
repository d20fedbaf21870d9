"""What looks wrong about labels: told, never mended."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from ase.data import atomic_numbers, covalent_radii

from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.neighbours import NeighborList
from magflow.core.types import FloatArray
from magflow.core.units import EV_PER_A3_IN_GPA, HARTREE
from magflow.io.importing.consistency import slopes
from magflow.io.importing.oddities import FEWEST, deviations, energy_residuals, label_oddities

_OVERLAP = 0.5
"""Distance over the sum of covalent radii below which two atoms overlap."""
_SMALL = 64
"""Atoms up to which all pairs are looked at; beyond, neighbours are searched for."""
_STRESS = 2.0
"""eV/A^3 (320 GPa); a set whose typical stress is larger is in another unit."""
_VOLUMES = (3.0, 200.0)
"""A^3 per atom."""
_BAND_SHARE, _BAND_EV, _BAND_GAP = 0.03, 0.3, 8.0
"""Two bands: each at least this share of the labels; the gap at least so many eV/atom, and half as many times the
spread of the wider one."""


@dataclass(frozen=True)
class Suspicion:
    """One thing that looks wrong.

    Parameters
    ----------
    what
        One sentence.
    count
        Labels it is about.
    first
        Index of the first of them.
    """

    what: str
    count: int
    first: int | None = None

    def as_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return {"what": self.what, "labels": self.count, "first": self.first}


def suspicions(items: Sequence[LabeledFrame]) -> list[Suspicion]:
    """All that looks wrong about `items`."""
    return [*_levels(items), *_bands_and_outliers(items), *_units(items), *_single(items)]


def _levels(items: Sequence[LabeledFrame]) -> Iterator[Suspicion]:
    counts = Counter(item.label.level_of_theory.fingerprint for item in items)
    if len(counts) > 1:
        smaller = len(items) - counts.most_common(1)[0][1]
        yield Suspicion(f"{len(counts)} levels of theory in one set: their energies do not compare", smaller)


def _units(items: Sequence[LabeledFrame]) -> Iterator[Suspicion]:
    told = [slope for slope in slopes(items) if slope.suspicious]
    for slope in told:
        yield Suspicion(slope.meaning, len(items))
    sizes = [np.abs(item.label.stress).max() for item in items if item.label.stress is not None]
    if len(sizes) >= FEWEST and np.median(sizes) > _STRESS and not any(s.quantity == "stress" for s in told):
        typical = float(np.median(sizes))
        yield Suspicion(
            f"a typical stress is {typical:.3g} eV/A^3 ({typical * EV_PER_A3_IN_GPA:.0f} GPa): in GPa or kB?",
            len(sizes),
        )


def _bands_and_outliers(items: Sequence[LabeledFrame]) -> Iterator[Suspicion]:
    """Energies per atom beyond what the composition explains, per level of theory."""
    levels: dict[str, list[int]] = defaultdict(list)
    for i, item in enumerate(items):
        levels[item.label.level_of_theory.fingerprint].append(i)
    for members in levels.values():
        if len(members) >= FEWEST:
            index = np.array(members)
            yield from _of_one_level(_residuals([items[i] for i in members]), [items[i] for i in members], index)


def _residuals(items: Sequence[LabeledFrame]) -> FloatArray:
    """(n,) energy per atom less that of its composition, by elements' energies fitted to the median, eV."""
    elements = sorted({s for item in items for s in item.frame.species})
    shares = np.array([[item.frame.species.count(e) / len(item.frame) for e in elements] for item in items])
    energies = np.array([float(item.label.energy or 0.0) / len(item.frame) for item in items])
    return energy_residuals(shares, energies)


def _of_one_level(residuals: FloatArray, items: Sequence[LabeledFrame], index: np.ndarray) -> Iterator[Suspicion]:
    band = _split(residuals)
    if band is not None:
        low, high = residuals < band, residuals >= band
        small = low if low.sum() < high.sum() else high
        apart = float(np.median(residuals[high]) - np.median(residuals[low]))
        ratio = _ratio(items, small)
        hint = f"; their energies differ by a factor of {ratio:.4g}: hartree?" if ratio else ""
        yield Suspicion(
            f"energies fall into two bands {apart:.3g} eV/atom apart ({low.sum()} and {high.sum()} labels){hint}",
            int(small.sum()),
            int(index[small][0]),
        )
        return
    distances, limit = deviations(residuals)
    far = distances > limit
    if far.any():
        what = f"energies up to {distances.max():.3g} eV/atom away from all others"
        yield Suspicion(what, int(far.sum()), int(index[far][0]))


def _split(residuals: FloatArray) -> float | None:
    """The middle of the gap between two bands; None if there is one band."""
    ordered = np.sort(residuals)
    gaps = np.diff(ordered)
    few = max(2, int(np.ceil(_BAND_SHARE * len(ordered))))
    inner = gaps[few - 1 : len(gaps) - few + 1]
    if not inner.size:
        return None
    at = int(inner.argmax()) + few - 1
    width = max(float(np.subtract(*np.percentile(part, [90, 10]))) for part in (ordered[: at + 1], ordered[at + 1 :]))
    if gaps[at] < max(_BAND_EV, _BAND_GAP * width / 2):
        return None
    return float(0.5 * (ordered[at] + ordered[at + 1]))


def _ratio(items: Sequence[LabeledFrame], small: np.ndarray) -> float | None:
    """How many times the energies of the larger band are those of the smaller, if it is hartree or rydberg."""
    per_atom = np.array([float(item.label.energy or 0.0) / len(item.frame) for item in items])
    ratio = float(np.median(per_atom[~small]) / np.median(per_atom[small]))
    known = (HARTREE, 1 / HARTREE, HARTREE / 2, 2 / HARTREE)
    return ratio if any(abs(ratio / k - 1) < 0.1 for k in known) else None


def _single(items: Sequence[LabeledFrame]) -> Iterator[Suspicion]:
    """What a label alone gives away."""
    found: dict[str, list[int]] = defaultdict(list)
    for i, item in enumerate(items):
        for what in _oddities(item):
            found[what].append(i)
    for what, members in found.items():
        yield Suspicion(what, len(members), members[0])


def _oddities(item: LabeledFrame) -> Iterator[str]:
    frame, label = item.frame, item.label
    if _overlapping(frame):
        yield "atoms overlap"
    per_atom = frame.volume / len(frame)
    if not _VOLUMES[0] < per_atom < _VOLUMES[1]:
        yield f"a volume per atom outside {_VOLUMES[0]:g} to {_VOLUMES[1]:g} A^3"
    yield from label_oddities(frame, label)


def _overlapping(frame: Frame) -> bool:
    radii = _radii(frame.species)
    reach = float(_OVERLAP * 2 * radii.max())
    inverse = np.linalg.inv(frame.cell)
    widths = 1 / np.sqrt((inverse**2).sum(axis=0))
    if len(frame) > _SMALL or reach > 0.5 * widths.min():
        search = NeighborList(cutoff=reach, full_list=False)
        i, j, d = search.compute(frame.positions, frame.cell, periodic=True, quantities="ijd")
        return bool(np.any(d < _OVERLAP * (radii[i.astype(int)] + radii[j.astype(int)])))
    # a vector shorter than half the width of the cell is the one whose fractional components are rounded to zero
    fractions = frame.positions @ inverse
    apart = fractions[:, None] - fractions
    apart = (apart - np.rint(apart)) @ frame.cell
    distances = np.einsum("ijk,ijk->ij", apart, apart)
    limits = (_OVERLAP * (radii[:, None] + radii)) ** 2
    np.fill_diagonal(distances, np.inf)
    return bool((distances < limits).any())


@lru_cache(maxsize=1024)
def _radii(species: tuple[str, ...]) -> FloatArray:
    return np.array([covalent_radii[atomic_numbers[s]] for s in species])
