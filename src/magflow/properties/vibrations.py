"""What force constants of a supercell, or frequencies on a mesh, say of a crystal in five numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from magflow.core.frame import Frame
from magflow.core.types import FloatArray
from magflow.properties.harmonic import CAPACITY, ENTROPY, FREE, phonopy_of, thermodynamics_of

if TYPE_CHECKING:
    from phonopy import Phonopy

MESH = 40.0
"""A, density of the q-point mesh as phonopy counts it."""
TEMPERATURE = 300.0
"""K."""
IMAGINARY = 0.05
"""THz; imaginary frequencies below it are the noise of the acoustic modes at Gamma."""
COMPARED = ("highest", "entropy", "free_energy", "heat_capacity")
"""Of :class:`Vibrations`: what mean errors are over."""
HEADS = {
    "highest": "Highest frequency (THz)",
    "entropy": "Entropy (J/(K mol))",
    "free_energy": "Free energy (kJ/mol)",
    "heat_capacity": "Heat capacity (J/(K mol))",
}
"""What they are called in tables."""
DIGITS = 4
"""Of the lowest frequency: at Gamma it is zero but for rounding."""


@dataclass(frozen=True)
class Vibrations:
    """Harmonic vibrations of a crystal; thermodynamic functions at :data:`TEMPERATURE`, per mole of atoms.

    Parameters
    ----------
    highest, lowest
        THz, frequencies on the mesh; imaginary ones are negative.
    entropy, free_energy, heat_capacity
        J/(K mol), kJ/mol, J/(K mol); modes of imaginary frequency are left out.
    """

    highest: float
    lowest: float
    entropy: float
    free_energy: float
    heat_capacity: float


def vibrations_of(frame: Frame, constants: FloatArray) -> Vibrations:
    """Vibrations of the crystal that `frame` repeats.

    Parameters
    ----------
    constants
        (N, N, 3, 3) eV/A^2; made symmetric, and rid of what a translation of the crystal would do.
    """
    phonons = phonopy_of(frame)
    phonons.force_constants = np.ascontiguousarray(constants)
    phonons.symmetrize_force_constants(show_drift=False)
    return vibrations_on(phonons, MESH)


def vibrations_on(phonons: Phonopy, mesh: float | Sequence[int]) -> Vibrations:
    """Vibrations of what phonopy has force constants of, on a mesh of q-points: a density, A, or its divisions."""
    frequencies = np.asarray(phonons.run_mesh(mesh).frequencies)
    found = thermodynamics_of(phonons, np.array([TEMPERATURE]))
    return _told(frequencies, *(float(found[head][0]) for head in (ENTROPY, FREE, CAPACITY)))


def vibrations_from(qpoints: FloatArray, weights: FloatArray, frequencies: FloatArray) -> Vibrations:
    """Vibrations of a crystal of which frequencies on a mesh are all that is known: sums over harmonic oscillators.

    Phonopy, which :func:`vibrations_on` asks, wants force constants. The three modes at Gamma that are nearest to zero,
    and modes of imaginary frequency, are left out of the sums, as phonopy does with ``exclude_gamma_acoustic``.

    Parameters
    ----------
    qpoints
        (n, 3) reduced.
    weights
        (n,) how many points of the mesh each stands for.
    frequencies
        (n, 3 x atoms) THz.
    """
    from phonopy.physical_units import get_physical_units

    units = get_physical_units()
    counted = frequencies.astype(float)
    gamma = np.flatnonzero(np.abs(qpoints).max(axis=1) < 1e-9)
    for k in gamma:
        counted[k, np.argsort(np.abs(counted[k]))[:3]] = 0.0
    real = counted > 0.0
    energy = units.THzToEv * counted[real]
    share = np.broadcast_to(weights[:, None], counted.shape)[real] / (weights.sum() * counted.shape[1] / 3)
    kt = units.KB * TEMPERATURE
    x = energy / kt
    occupied = 1.0 / np.expm1(x)
    free = energy / 2.0 + kt * np.log1p(-np.exp(-x))
    entropy = units.KB * (x * occupied - np.log1p(-np.exp(-x)))
    capacity = units.KB * x**2 * occupied * (occupied + 1.0)
    per_mole = units.EvTokJmol * np.array([1e3, 1.0, 1e3])
    sums = per_mole * [share @ entropy, share @ free, share @ capacity]
    return _told(frequencies, *map(float, sums))


def _told(frequencies: FloatArray, entropy: float, free_energy: float, heat_capacity: float) -> Vibrations:
    lowest = round(float(frequencies.min()), DIGITS) + 0.0
    return Vibrations(float(frequencies.max()), lowest, entropy, free_energy, heat_capacity)
