"""What the eigenvalues of a label say of its electrons: the density of states at the Fermi level, and the d band."""

from __future__ import annotations

import numpy as np

from magflow.core.types import FloatArray

BROADENING = 0.3
"""eV; standard deviation of the Gaussian that broadens a state, the same at every smearing of the occupations."""
WINDOW = 10.0
"""eV on either side of the Fermi level within which states count as the d band; semicore states lie below."""


def electronic_structure(
    energies: FloatArray, weights: FloatArray, n_atoms: int, d_character: FloatArray | None = None
) -> dict[str, float]:
    """Numbers to keep with a label, by name with their unit.

    Parameters
    ----------
    energies
        (spins, k-points, bands) eV from the Fermi level.
    weights
        (k-points,) of sum 1.
    d_character
        (spins, k-points, bands) share of each state in l = 2 within the augmentation spheres of all atoms.

    Returns
    -------
    dict
        ``dos_fermi_per_ev_atom``: states/eV/atom of both spins (``ase.spectrum.dosdata``), and with a `d_character`
        ``d_centre_ev``: mean energy of d character from the Fermi level, empty states included, and ``d_width_ev``:
        root of its second moment about that mean (B. Hammer and J. K. Norskov, Adv. Catal. 45, 71 (2000)).
    """
    from ase.spectrum.dosdata import RawDOSData

    share = np.broadcast_to(weights[None, :, None] * 2.0 / len(energies), energies.shape)
    states = RawDOSData(energies.ravel(), share.ravel())
    grid = states.sample_grid(3, xmin=-BROADENING, xmax=BROADENING, width=BROADENING)
    found = {"dos_fermi_per_ev_atom": float(grid.get_weights()[1]) / n_atoms}
    if d_character is None:
        return found
    mass = np.where(np.abs(energies) <= WINDOW, share * d_character, 0.0)
    if mass.sum() > 0.0:
        centre = float(np.average(energies, weights=mass))
        found["d_centre_ev"] = centre
        found["d_width_ev"] = float(np.sqrt(np.average((energies - centre) ** 2, weights=mass)))
    return found
