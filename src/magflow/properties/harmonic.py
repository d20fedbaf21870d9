"""Between frames, phonopy and curves: a supercell as phonopy takes it, and what phonopy gives, in columns."""

from __future__ import annotations

import warnings
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.moments import collinear
from magflow.core.types import FloatArray, IntArray
from magflow.explore.symmetry import SYMPREC, spglib_cell
from magflow.properties.measurement import Curve

if TYPE_CHECKING:
    from phonopy import Phonopy

BANDS = "bands "
"""Curves of bands are called by the ends of their stretch: ``bands 1: G-H``."""
DISTANCE, Q, BRANCH = "distance (1/A)", ("q1", "q2", "q3"), "branch "
DOS, FREQUENCY, STATES = "density of states", "frequency (THz)", "states (1/THz/atom)"
THERMODYNAMICS, TEMPERATURE = "thermodynamics", "temperature (K)"
FREE, ENTROPY, CAPACITY = "free energy (kJ/mol)", "entropy (J/(K mol))", "heat capacity (J/(K mol))"
COARSE = 15.0
"""A; density of the coarser of two meshes for thermal displacements, as phonopy counts it."""
SPACING = 0.01
"""1/A between q-points along the bands."""
GRID = 201
"""Frequencies at which the density of states is told."""


@lru_cache(maxsize=1)
def phonopy_of(supercell: Frame) -> Phonopy:
    """Phonopy for a perfect supercell; its primitive cell is the one that the supercell repeats, moments included.

    Its symmetry takes phonopy longer than all else: the last one is kept, and each reading sets its own forces.
    """
    return phonopy_in(supercell, np.eye(3, dtype=np.int64), _primitive_matrix(supercell))


def phonopy_in(crystal: Frame, supercell: IntArray, primitive: FloatArray) -> Phonopy:
    """Phonopy for a supercell of a unit cell.

    Parameters
    ----------
    supercell
        (3, 3) columns: the supercell in cell vectors of `crystal`.
    primitive
        (3, 3) columns: the primitive cell in them.
    """
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    atoms = PhonopyAtoms(
        symbols=crystal.species,
        cell=crystal.cell,
        positions=crystal.positions,
        magnetic_moments=None if crystal.magmoms is None else collinear(crystal.magmoms),
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Point group symmetries")  # a supercell may be longer one way
        return Phonopy(atoms, supercell, primitive_matrix=primitive, symprec=SYMPREC, log_level=0)


def _primitive_matrix(supercell: Frame) -> FloatArray:
    """(3, 3) columns: the lattice of the translations of a supercell in its own vectors.

    Translations that reverse all moments count: without spin-orbit they change no force constant.
    """
    import spglib

    cell, fractional, numbers = spglib_cell(supercell)
    moments = np.zeros(len(supercell)) if supercell.magmoms is None else collinear(supercell.magmoms)
    magnetic: Any = (cell, fractional, numbers, moments)
    found: Any = spglib.get_magnetic_symmetry(magnetic, symprec=SYMPREC)
    pure = np.all(found["rotations"] == np.eye(3, dtype=int), axis=(1, 2))
    points = np.unique(np.round(found["translations"][pure] % 1.0, 6) % 1.0, axis=0)
    grid: Any = (cell, points, np.ones(len(points), dtype=int))
    found = spglib.standardize_cell(grid, to_primitive=True, no_idealize=True, symprec=SYMPREC)
    matrix: FloatArray = np.linalg.solve(cell.T, found[0].T)
    return np.rint(matrix * len(points)) / len(points)


def bands_of(phonons: Phonopy) -> dict[str, Curve]:
    """Frequencies along the high-symmetry lines of the primitive cell (Setyawan and Curtarolo, as ASE has them)."""
    from ase import Atoms

    primitive = phonons.primitive
    path = Atoms(cell=primitive.cell, pbc=True).cell.bandpath(eps=SYMPREC)
    reciprocal = np.linalg.inv(primitive.cell).T
    curves: dict[str, Curve] = {}
    start = 0.0
    for names in _stretches(path.path):
        a, b = (path.special_points[n] for n in names)
        length = float(np.linalg.norm((b - a) @ reciprocal))
        share = np.linspace(0.0, 1.0, max(2, round(length / SPACING) + 1))
        q = a + share[:, None] * (b - a)
        found = np.asarray(phonons.run_qpoints(q).frequencies)
        curves[f"{BANDS}{len(curves) + 1}: {names[0]}-{names[1]}"] = {
            DISTANCE: start + share * length,
            **{head: q[:, k] for k, head in enumerate(Q)},
            **{f"{BRANCH}{k + 1} (THz)": found[:, k] for k in range(found.shape[1])},
        }
        start += length
    return curves


def _stretches(path: str) -> list[tuple[str, str]]:
    """The ends of each stretch of a path such as ``GHNGPH,PN``."""
    from ase.dft.kpoints import parse_path_string

    return [pair for line in parse_path_string(path) for pair in pairwise(line)]


def states_of(phonons: Phonopy, frequencies: FloatArray) -> Curve:
    """Density of states per atom on the mesh that was run last, by the tetrahedron method; its integral is 3.

    Parameters
    ----------
    frequencies
        (q-points, branches) THz, of that mesh.
    """
    low, high = min(0.0, float(frequencies.min())), float(frequencies.max())
    dos = phonons.run_total_dos(freq_min=low, freq_max=high, freq_pitch=(high - low) / (GRID - 1))
    return {FREQUENCY: np.array(dos.frequency_points), STATES: np.array(dos.dos) / len(phonons.primitive)}


def thermodynamics_of(phonons: Phonopy, temperatures: FloatArray) -> Curve:
    """Free energy, entropy and heat capacity at constant volume, per mole of atoms, on the mesh that was run last."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*acoustic mode")  # nearly zero as they are
        found = phonons.run_thermal_properties(temperatures=temperatures, exclude_gamma_acoustic=True)
    n = len(phonons.primitive)
    return {
        TEMPERATURE: np.array(found.temperatures),
        FREE: np.array(found.free_energy) / n,
        ENTROPY: np.array(found.entropy) / n,
        CAPACITY: np.array(found.heat_capacity) / n,
    }


def thermal_displacements(phonons: Phonopy, temperatures: FloatArray) -> dict[str, FloatArray]:
    """(temperatures,) A^2 by element: the mean of <u_x^2>, <u_y^2> and <u_z^2> over its atoms.

    Phonopy sums over a mesh; the waves about Gamma, where modes are softest, that a mesh of n^3 points misses count as
    1/n. Two meshes, both without Gamma and the second with twice as many points along each axis, are extrapolated: of
    phonopy's examples NaCl and Cr within 2e-4 of what meshes of 12 and 16 points an axis lead to.

    It is the last mesh that stays set.
    """
    lengths = np.linalg.norm(np.linalg.inv(phonons.primitive.cell), axis=0)
    divisions = 2 * np.maximum(1, np.rint(0.5 * COARSE * lengths).astype(int))
    coarse, fine = (_displaced_on(phonons, n * divisions, temperatures) for n in (1, 2))
    squares, symbols = 2.0 * fine - coarse, np.array(phonons.primitive.symbols)
    return {str(e): squares[:, symbols == e].mean(axis=1) for e in dict.fromkeys(phonons.primitive.symbols)}


def _displaced_on(phonons: Phonopy, divisions: IntArray, temperatures: FloatArray) -> FloatArray:
    """(temperatures, atoms) A^2 on one mesh."""
    phonons.run_mesh(divisions, with_eigenvectors=True, is_mesh_symmetry=False)
    found = np.asarray(phonons.run_thermal_displacements(temperatures=temperatures).thermal_displacements, float)
    squares: FloatArray = found.reshape(len(temperatures), -1, 3).mean(axis=2)
    return squares
