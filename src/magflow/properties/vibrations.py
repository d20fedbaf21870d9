"""What force constants of a supercell say of its crystal in five numbers, by phonopy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from magflow.core.frame import Frame
from magflow.core.types import FloatArray
from magflow.properties.harmonic import CAPACITY, ENTROPY, FREE, phonopy_of, thermodynamics_of

MESH = 40.0
"""A, density of the q-point mesh as phonopy counts it."""
TEMPERATURE = 300.0
"""K."""
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
    frequencies = np.asarray(phonons.run_mesh(MESH).frequencies)
    found = thermodynamics_of(phonons, np.array([TEMPERATURE]))
    thermal = (float(found[head][0]) for head in (ENTROPY, FREE, CAPACITY))
    lowest = round(float(frequencies.min()), DIGITS) + 0.0
    return Vibrations(float(frequencies.max()), lowest, *thermal)
