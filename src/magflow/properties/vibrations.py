"""What force constants of a supercell, or frequencies on a mesh, say of a crystal in five numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from magflow.core.frame import Frame
from magflow.core.types import FloatArray
from magflow.core.units import KB
from magflow.properties.harmonic import phonopy_of

MESH = 40.0
"""A, density of the q-point mesh as phonopy counts it."""
TEMPERATURE = 300.0
"""K."""
H = 4.135667696e-3
"""eV/THz, Planck's constant."""
PER_MOLE = 96485.33212
"""J/mol of 1 eV."""
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
    mesh = phonons.run_mesh(MESH)
    return vibrations_from(np.asarray(mesh.qpoints), np.asarray(mesh.weights), np.asarray(mesh.frequencies))


def vibrations_from(qpoints: FloatArray, weights: FloatArray, frequencies: FloatArray) -> Vibrations:
    """Vibrations of a crystal whose frequencies on a mesh are known: sums over harmonic oscillators.

    The three modes at Gamma that are nearest to zero, and modes of imaginary frequency, are left out of the sums, as
    phonopy does with ``exclude_gamma_acoustic``.

    Parameters
    ----------
    qpoints
        (n, 3) reduced.
    weights
        (n,) how many points of the mesh each stands for.
    frequencies
        (n, 3 x atoms) THz.
    """
    counted = frequencies.astype(float)
    gamma = np.flatnonzero(np.abs(qpoints).max(axis=1) < 1e-9)
    for k in gamma:
        counted[k, np.argsort(np.abs(counted[k]))[:3]] = 0.0
    real = counted > 0.0
    energy = H * counted[real]
    share = np.broadcast_to(weights[:, None], counted.shape)[real] / (weights.sum() * counted.shape[1] / 3)
    kt = KB * TEMPERATURE
    x = energy / kt
    occupied = 1.0 / np.expm1(x)
    free = energy / 2.0 + kt * np.log1p(-np.exp(-x))
    entropy = KB * (x * occupied - np.log1p(-np.exp(-x)))
    capacity = KB * x**2 * occupied * (occupied + 1.0)
    lowest = round(float(frequencies.min()), DIGITS) + 0.0
    sums = [float(share @ values) * PER_MOLE for values in (entropy, free / 1e3, capacity)]
    return Vibrations(float(frequencies.max()), lowest, *sums)
