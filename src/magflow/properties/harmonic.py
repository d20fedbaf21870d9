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
    from phonopy.structure.atoms import PhonopyAtoms

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


def phonopy_of(supercell: Frame) -> Phonopy:
    """Phonopy for a perfect supercell; its primitive cell is the one that the supercell repeats, moments included.

    Translations that reverse all moments count, as they change no force constant without spin-orbit, unless the lattice
    that they make is more symmetric than the crystal (layers up and down on an fcc lattice): phonopy would take the
    symmetry of the lattice for that of the waves. The search for symmetry takes longer than all else: the last one is
    kept, and each reading sets its own forces; charges there are none until it sets them, too.
    """
    phonons = _searched(supercell)
    phonons.nac_params = None
    return phonons


@lru_cache(maxsize=1)
def _searched(supercell: Frame) -> Phonopy:
    once = np.eye(3, dtype=np.int64)
    small, kept = primitive_matrices(supercell)
    smaller = phonopy_in(supercell, once, small)
    if kept is small:
        return smaller
    larger = phonopy_in(supercell, once, kept)
    return smaller if _operations(smaller) == _operations(larger) else larger


def _operations(phonons: Phonopy) -> int:
    """Of the point group that phonopy finds in its primitive cell."""
    return len(phonons.primitive_symmetry.pointgroup_operations)


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

    atoms = phonopy_atoms(crystal)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Point group symmetries")  # a supercell may be longer one way
        return Phonopy(atoms, supercell, primitive_matrix=primitive, symprec=SYMPREC, log_level=0)


def phonopy_atoms(crystal: Frame) -> PhonopyAtoms:
    """A crystal as phonopy takes it, its moments along one axis."""
    from phonopy.structure.atoms import PhonopyAtoms

    return PhonopyAtoms(
        symbols=crystal.species,
        cell=crystal.cell,
        positions=crystal.positions,
        magnetic_moments=None if crystal.magmoms is None else collinear(crystal.magmoms),
    )


def primitive_matrices(supercell: Frame) -> tuple[FloatArray, FloatArray]:
    """(3, 3) columns each: the lattice of the translations of a supercell, in its own vectors.

    The first counts those that reverse all moments, the second those alone that keep them. Spglib's search for magnetic
    symmetry grows with the cube of the atoms: it is asked of the cell that the latter leave.
    """
    import spglib

    cell, fractional, numbers = spglib_cell(supercell)
    moments = np.zeros(len(supercell)) if supercell.magmoms is None else collinear(supercell.magmoms)
    pairs = np.column_stack([numbers, _classes(moments)])
    first, kinds = np.unique(pairs, axis=0, return_index=True, return_inverse=True)[1:]
    lattice, places, kinds = _primitive(cell, fractional, kinds.ravel())
    kept = _in_vectors_of(cell, lattice, len(supercell) // len(places))
    magnetic: Any = (lattice, places, np.asarray(numbers)[first][kinds], moments[first][kinds])
    found: Any = spglib.get_magnetic_symmetry(magnetic, symprec=SYMPREC)
    pure = np.all(found["rotations"] == np.eye(3, dtype=int), axis=(1, 2))
    points = np.unique(np.round(found["translations"][pure] % 1.0, 6) % 1.0, axis=0)
    if len(points) == 1:
        return kept, kept
    smaller = _primitive(lattice, points, np.ones(len(points), dtype=int))[0]
    return _in_vectors_of(cell, smaller, len(points) * len(supercell) // len(places)), kept


def _classes(moments: FloatArray) -> IntArray:
    """(N,) number of the moment of each atom; those nearer than :data:`SYMPREC` to each other are one."""
    order = np.argsort(moments)
    classes = np.zeros(len(moments), dtype=int)
    classes[order[1:]] = np.cumsum(np.diff(moments[order]) > SYMPREC)
    return classes


def _primitive(cell: FloatArray, fractional: FloatArray, kinds: IntArray) -> tuple[FloatArray, FloatArray, IntArray]:
    """Vectors, reduced positions and kinds of the primitive cell, which is not turned."""
    import spglib

    crystal: Any = (cell, fractional, kinds)
    found: Any = spglib.standardize_cell(crystal, to_primitive=True, no_idealize=True, symprec=SYMPREC)
    lattice, places, kinds = found
    return lattice, places, kinds


def _in_vectors_of(cell: FloatArray, lattice: FloatArray, cells: int) -> FloatArray:
    """(3, 3) columns: vectors of a lattice of which `cells` cells fill one of `cell`, in the vectors of the latter."""
    return np.asarray(np.rint(np.linalg.solve(cell.T, lattice.T) * cells) / cells)


def bands_of(phonons: Phonopy) -> dict[str, Curve]:
    """Frequencies along the high-symmetry lines of the primitive cell (Setyawan and Curtarolo, as ASE has them).

    With charges those of Gamma are those along the line.
    """
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
        along = None if phonons.nac_params is None else b - a
        found = np.asarray(phonons.run_qpoints(q, nac_q_direction=along).frequencies)
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
