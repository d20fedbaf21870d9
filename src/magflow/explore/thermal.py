"""How hot a crystal of an element is: melting point, Debye temperature, and what its atoms are displaced by."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from scipy.constants import Boltzmann, angstrom, atomic_mass, giga, hbar

from magflow.errors import InputError


def melting_point(element: str) -> float:
    """Of the element at ambient pressure, K, from pymatgen's table.

    Raises
    ------
    InputError
        If the table has none.
    """
    found = _table(element).get("Melting point")
    if found is None or not isinstance(value := _element(element).melting_point, float):
        raise InputError(f"no melting point is known of {element}", hint=f"say it in K: --melting {element}=...")
    return float(value)


def debye_temperature(element: str) -> float:
    """Of the polycrystal at 0 K, from its elastic constants at room temperature, K.

    hbar/k (6 pi^2 n)^(1/3) v with 3/v^3 = 1/v_l^3 + 2/v_t^3 (O. L. Anderson, J. Phys. Chem. Solids 24, 909 (1963));
    density, Young's modulus and Poisson's ratio are those of pymatgen's table. Copper 342 K
    (calorimetry: 343 K), titanium 400 (420), tungsten 381 (400), zirconium 231 (291).

    Raises
    ------
    InputError
        If the table lacks one of them.
    """
    words, x = _table(element), _element(element)
    if any(words.get(key) is None for key in ("Youngs modulus", "Poissons ratio", "Density of solid")):
        raise InputError(
            f"no elastic constants are known of {element}",
            hint=f"say the Debye temperature in K: --debye {element}=...",
        )
    young, ratio, density = giga * float(x.youngs_modulus), float(x.poissons_ratio), float(x.density_of_solid)
    shear = young / (2.0 * (1.0 + ratio))
    transverse = np.sqrt(shear / density)
    longitudinal = np.sqrt(shear / density * (2.0 - 2.0 * ratio) / (1.0 - 2.0 * ratio))
    velocity = (3.0 / (longitudinal**-3 + 2.0 * transverse**-3)) ** (1 / 3)
    number = density / (_mass(element) * atomic_mass)
    return float(hbar / Boltzmann * (6.0 * np.pi**2 * number) ** (1 / 3) * velocity)


def debye_displacement(element: str, temperature: float, debye: float) -> float:
    """Root of <u^2>, all three directions together, of a classical Debye crystal, A.

    <u^2> = 9 hbar^2 T / (m k theta^2), the limit of high temperatures (B. T. M. Willis and A. W. Pryor, Thermal
    Vibrations in Crystallography, 1975). Nuclei are classical, as in molecular dynamics.

    Parameters
    ----------
    temperature, debye
        K.
    """
    mean_square = 9.0 * hbar**2 * temperature / (_mass(element) * atomic_mass * Boltzmann * debye**2)
    return float(np.sqrt(mean_square) / angstrom)


def _mass(element: str) -> float:
    return float(atomic_masses[atomic_numbers[element]])


def _element(element: str) -> Any:
    from pymatgen.core import Element

    return Element(element)


def _table(element: str) -> dict[str, Any]:
    """What pymatgen lists of an element, without what it marks as unknown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {key: value for key, value in _element(element).data.items() if value not in (None, "no data")}
