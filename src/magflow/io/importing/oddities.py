"""What a label gives away by itself, and beside others of its level of theory: no usable label is so."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import Label
from magflow.core.types import FloatArray

_FORCE, _MOMENT, _NET = 100.0, 10.0, 0.1
"""eV/A, muB, eV/A per atom: sizes that no usable label has."""
_STRESS, _ENERGY = 20.0, 1e6
"""eV/A^3 (3200 GPa), eV per atom (all electrons of uranium: 0.8e6): the same."""
OUTLIER, OUTLIER_EV = 12.0, 0.5
"""Deviation of an energy per atom that is told: in units of the spread, and at least so many eV."""
FEWEST = 10
"""Energies from which on a spread is known."""


def label_oddities(frame: Frame, label: Label) -> Iterator[str]:
    """What is wrong about a label that says it succeeded, whatever computed it; nothing for most."""
    arrays = {"forces": label.forces, "stress": label.stress, "moments": label.magmoms}
    known = {"energy": np.atleast_1d(np.asarray(label.energy, float))} | {
        name: array for name, array in arrays.items() if array is not None
    }
    lost = [name for name, array in known.items() if not np.isfinite(array).all()]
    if lost:
        yield f"{lost[0]} not finite"
        return
    if label.energy is not None and abs(label.energy) > _ENERGY * len(frame):
        yield f"an energy above {_ENERGY:g} eV/atom"
    if label.energy == 0.0:
        yield "an energy that is exactly zero"
    if label.stress is not None and np.abs(label.stress).max() > _STRESS:
        yield f"a stress above {_STRESS:g} eV/A^3"
    if label.forces is not None:
        yield from _force_oddities(frame, label.forces)
    if label.magmoms is not None and np.abs(label.magmoms).max() > _MOMENT:
        yield f"a moment above {_MOMENT:g} muB"


def _force_oddities(frame: Frame, forces: FloatArray) -> Iterator[str]:
    if np.abs(forces).max() > _FORCE:
        yield f"a force above {_FORCE:g} eV/A"
    if np.abs(forces.sum(axis=0)).max() > _NET * len(frame):
        yield "forces do not add up to zero (constrained atoms, or a wrong unit?)"
    elif len(frame) > 1 and not forces.any() and _asymmetric(frame):
        yield "all forces are exactly zero"


def _asymmetric(frame: Frame) -> bool:
    """Whether some atom lies off every fraction of sixths of the cell, so that a force can be expected."""
    sixths = 24 * frame.positions @ np.linalg.inv(frame.cell)
    relative = sixths - sixths[0]
    return bool(np.abs(relative - np.rint(relative)).max() > 1e-3)


def energy_residuals(shares: FloatArray, energies: FloatArray) -> FloatArray:
    """(n,) energy per atom less that of its composition, by elements' energies fitted to the median, eV.

    Parameters
    ----------
    shares
        (n, elements) share of each element in the atoms.
    energies
        (n,) eV/atom.
    """
    weights = np.ones(len(energies))
    residuals: FloatArray = energies - np.median(energies)
    for _ in range(10):  # least absolute deviations by reweighting: a second band does not pull the fit
        fit, *_ = np.linalg.lstsq(shares * weights[:, None], energies * weights, rcond=None)
        residuals = energies - shares @ fit
        weights = 1 / np.sqrt(np.maximum(np.abs(residuals), 1e-6))
    return residuals


def deviations(residuals: FloatArray) -> tuple[FloatArray, float]:
    """(n,) distance of each residual from the median, and the one from which on it is far from all others, eV."""
    apart: FloatArray = np.abs(residuals - np.median(residuals))
    return apart, max(OUTLIER * 1.4826 * float(np.median(apart)), OUTLIER_EV)
