"""Between frames and phono3py: supercells with two atoms displaced, and the heat that phonons carry."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.types import FloatArray, IntArray
from magflow.explore.symmetry import SYMPREC
from magflow.properties.harmonic import phonopy_atoms, primitive_matrices

if TYPE_CHECKING:
    from phono3py import Phono3py

Repeats = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Transport:
    """What the relaxation-time approximation gives.

    Parameters
    ----------
    temperatures
        (t,) K.
    kappa
        (t, 6) W/(m K), components xx yy zz yz xz xy.
    frequencies
        (modes,) THz, from the lowest to the highest.
    shares
        (t, modes) W/(m K), what each mode adds to the mean of xx, yy and zz.
    """

    temperatures: FloatArray
    kappa: FloatArray
    frequencies: FloatArray
    shares: FloatArray

    @property
    def mean(self) -> FloatArray:
        """(t,) mean of xx, yy and zz, W/(m K)."""
        return np.asarray(self.kappa[:, :3].mean(axis=1))


def missing() -> str:
    """Why phono3py cannot be asked; empty if it can."""
    return "" if find_spec("phono3py") else "phono3py is not installed: pip install 'magflow[conductivity]'"


@lru_cache(maxsize=1)
def phono3py_of(crystal: Frame, third: Repeats, second: Repeats) -> Phono3py:
    """Phono3py for a crystal; waves are those of the cell whose translations keep the moments.

    The last one is kept, for its symmetry: each reading sets its own force constants.

    Parameters
    ----------
    third, second
        Repeats of the crystal for force constants of third and of second order.
    """
    from phono3py import Phono3py

    with warnings.catch_warnings(), redirect_stdout(StringIO()):  # it prints that a supercell is longer one way
        warnings.simplefilter("ignore")
        return Phono3py(
            phonopy_atoms(crystal),
            np.diag(third),
            primitive_matrix=primitive_matrices(crystal)[1],
            phonon_supercell_matrix=np.diag(second),
            symprec=SYMPREC,
        )


def displaced_pairs(phonons: Phono3py, crystal: Frame, distance: float, furthest: float | None) -> list[Frame]:
    """The perfect supercell of third order, and those with one and with two of its atoms displaced.

    Their atoms come in the order of phono3py.

    Parameters
    ----------
    phonons
        Made of `crystal`; keeps the displacements.
    distance
        Of a displaced atom, A.
    furthest
        Atoms further apart, A, are not displaced together; None: all pairs are.
    """
    phonons.generate_displacements(distance=distance, cutoff_pair_distance=furthest)
    cell = phonons.supercell
    of = np.array([cell.u2u_map[atom] for atom in cell.s2u_map])
    perfect = Frame(
        tuple(cell.symbols),
        cell.cell,
        cell.positions,
        None if crystal.magmoms is None else crystal.magmoms[of],
        None if crystal.constrained is None else crystal.constrained[of],
    )
    made = phonons.supercells_with_displacements
    return [perfect, *(perfect.replace(positions=s.positions) for s in made if s is not None)]


def solve_third_order(phonons: Phono3py, forces: FloatArray) -> None:
    """Force constants of third order, made symmetric.

    Parameters
    ----------
    phonons
        With displacements (:func:`displaced_pairs`).
    forces
        (n, N, 3) eV/A of the displaced supercells, without what acts on the perfect one.
    """
    every: list[Any] = []
    left = iter(forces)
    for made in phonons.supercells_with_displacements:
        every.append(np.zeros_like(forces[0]) if made is None else next(left))
    phonons.forces = np.array(every)
    phonons.produce_fc3()
    phonons.symmetrize_fc3()


def in_order_of(cell: Any, frame: Frame) -> IntArray:
    """(N,) which atom of `frame` each atom of phonopy's `cell`, the same supercell, is."""
    places = frame.positions @ np.linalg.inv(frame.cell)
    between = cell.scaled_positions[:, None] - places[None]
    return np.asarray(np.linalg.norm((between - np.rint(between)) @ frame.cell, axis=2).argmin(axis=1))


def transport(
    phonons: Phono3py, temperatures: Sequence[float] | FloatArray, mesh: float, *, isotopes: bool
) -> Transport:
    """The heat that phonons carry, each for its lifetime (the relaxation-time approximation).

    Weights are averaged over degenerate branches: what diagonalisation picks within them would else count, on coarse
    meshes by several per cent.

    Parameters
    ----------
    phonons
        With force constants of second and third order.
    mesh
        Density of the q-point mesh as phonopy counts it, A.
    isotopes
        Whether the masses of natural isotopes scatter, too.
    """
    phonons.mesh_numbers = mesh
    phonons.init_phph_interaction(average_degenerate_weights=True, exclude_gamma_acoustic=True)
    phonons.run_thermal_conductivity(temperatures=temperatures, is_isotope=isotopes)
    found: Any = phonons.thermal_conductivity
    points = float(np.prod(found.mesh_numbers))
    modes = np.asarray(found.mode_kappa)[0, ..., :3].mean(axis=-1).reshape(len(found.temperatures), -1) / points
    frequencies = np.asarray(found.frequencies).ravel()
    order = np.argsort(frequencies)
    return Transport(np.asarray(found.temperatures), np.asarray(found.kappa)[0], frequencies[order], modes[:, order])
