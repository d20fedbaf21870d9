"""Force constants from labels of displaced atoms, from a potential, and those that symmetry makes of a few rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from magflow.core.force_constants import ForceConstantLabel, MomentsOf, check_at_rest
from magflow.core.frame import Frame
from magflow.core.hessian import by_displacements
from magflow.core.label import LabeledFrame, LabelKind, LevelOfTheory
from magflow.core.release import __version__
from magflow.core.types import FloatArray, IntArray
from magflow.errors import InputError
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.properties.harmonic import phonopy_of

if TYPE_CHECKING:
    from phonopy import Phonopy

FURTHEST = 0.15
"""A; an atom that is further from its place in the perfect crystal makes the frame one of another crystal."""
MOVED = 1e-5
"""A; an atom nearer to its place than this is in it."""
STEP = 1e-3
"""A; displacements of a potential that has no second derivatives."""


def displaced_frames(perfect: Frame, distance: float) -> list[Frame]:
    """Frames with one atom of a perfect supercell displaced, as few as its symmetry allows (phonopy chooses them).

    Parameters
    ----------
    distance
        A.
    """
    phonons = phonopy_of(perfect)
    phonons.generate_displacements(distance=distance)
    return [perfect.replace(positions=s.positions) for s in phonons.supercells_with_displacements or ()]


def of_displacements(items: Sequence[LabeledFrame], source: str = "") -> list[ForceConstantLabel]:
    """Rows of force constants from labels of crystals, each with frames in which one of its atoms is displaced.

    A crystal is a frame whose cell and moments are those of others that differ by one displaced atom. What symmetry
    says of an atom is made use of, as phonopy does it: a row may need one displacement only.

    Parameters
    ----------
    items
        Labels of one level of theory: perfect crystals and displaced ones.
    source
        How errors and labels name where they are from.

    Raises
    ------
    InputError
        No crystal with displaced atoms, a frame that belongs to none, displacements that do not span space, labels
        without forces, a crystal that is not at rest.
    """
    left = list(items)
    found = []
    while left:
        known = [(item, mine) for item in left if (mine := _displaced(item.frame, left))]
        if not known:
            raise InputError(
                "a frame is no crystal with one of its atoms displaced",
                where=source or None,
                seen=repr(left[0].frame),
                expected="the perfect supercell in the same file, with its label, and frames with one atom displaced",
            )
        perfect, mine = min(known, key=lambda pair: _largest_force(pair[0]))
        forces = perfect.label.forces
        if forces is None:
            raise InputError("a label has no forces", where=source or None, seen=repr(perfect.frame))
        check_at_rest(forces, f"{source}: {perfect.frame.formula}".removeprefix(": "))
        found.append(of_crystal(perfect.frame, mine, forces, source))
        left = [item for item in left if item is not perfect and all(item is not other for other in mine)]
    return found


def of_crystal(
    perfect: Frame, displaced: Sequence[LabeledFrame], still: FloatArray, source: str = ""
) -> ForceConstantLabel:
    """Rows of the displaced atoms of one crystal.

    Parameters
    ----------
    still
        (N, 3) eV/A, forces on the atoms of `perfect`, which are taken off.

    Raises
    ------
    InputError
        Displacements that do not span space with the symmetry of their atom, labels without forces, no displacement.
    """
    if not displaced:
        raise InputError("no displaced atoms", where=source or None, seen=repr(perfect))
    moves: dict[int, list[tuple[FloatArray, FloatArray]]] = {}
    for item in displaced:
        moved = moved_by(perfect, item.frame)
        if item.label.forces is None:
            raise InputError("a label has no forces", where=source or None, seen=repr(item.frame))
        atom = int(np.linalg.norm(moved, axis=1).argmax())
        moves.setdefault(atom, []).append((moved[atom], item.label.forces - still))
    phonons = phonopy_of(perfect)
    level = displaced[0].label.level_of_theory
    rows = [_row(phonons, atom, found, source) for atom, found in sorted(moves.items())]
    return ForceConstantLabel(perfect, level, np.array(sorted(moves)), np.array(rows), MomentsOf.at(level.kind), source)


def of_potential(ensemble: PotentialEnsemble, frame: Frame, atoms: Sequence[int] | None = None) -> ForceConstantLabel:
    """Rows of the mean energy of an ensemble, at clamped moments: a potential as a teacher of another.

    Exact where the family has second derivatives that are force constants, by central differences otherwise.

    Parameters
    ----------
    frame
        Supercell at rest.
    atoms
        Whose rows; None: one of each kind that no symmetry of the supercell exchanges.

    Raises
    ------
    InputError
        What the potential refuses; a crystal that is not at rest.
    """
    source = f"teacher {ensemble.identity}"
    check_at_rest(ensemble.predict([frame]).mean.forces, source)
    chosen = np.array(phonopy_of(frame).symmetry.get_independent_atoms() if atoms is None else atoms, dtype=np.int64)
    level = LevelOfTheory("magflow", __version__, _kind(frame), source)
    return ForceConstantLabel.from_columns(frame, level, chosen, columns_of(ensemble, frame, chosen), source=source)


def columns_of(ensemble: PotentialEnsemble, frame: Frame, atoms: IntArray) -> FloatArray:
    """(3k, N, 3) eV/A^2, columns of the Hessian of the mean energy for x, y and z of each of `atoms`.

    Of an ensemble that is rough, what its forces change over displacements that do not see it.
    """
    units = np.zeros((3 * len(atoms), len(frame), 4))
    for k, atom in enumerate(atoms):
        units[3 * k : 3 * k + 3, atom, :3] = np.eye(3)
    if ensemble.gives_hessian and not ensemble.roughness:
        return ensemble.hessian_vector_product(frame, units)[..., :3]
    return by_displacements(lambda sides: ensemble.predict(sides).mean, frame, units, ensemble.roughness or STEP)


def complete(label: ForceConstantLabel) -> FloatArray | None:
    """(N, N, 3, 3) eV/A^2, all rows of the supercell by its symmetry; None if it does not make them of those known."""
    from phonopy.harmonic.force_constants import distribute_force_constants

    phonons: Any = phonopy_of(label.frame)
    permutations, n = np.asarray(phonons.symmetry.atomic_permutations), len(label.frame)
    if len(np.unique(permutations[:, label.atoms])) < n:
        return None
    full = np.zeros((n, n, 3, 3))
    full[label.atoms] = label.array
    rotations = phonons.symmetry.symmetry_operations["rotations"]
    lattice = np.ascontiguousarray(label.frame.cell.T)
    distribute_force_constants(full, label.atoms, lattice, rotations, permutations)
    return full


def moved_by(perfect: Frame, frame: Frame) -> FloatArray:
    """(N, 3) A, how far each atom is from its place; infinite where species, cell or moments are others."""
    same = perfect.species == frame.species and np.allclose(perfect.cell, frame.cell, atol=1e-6)
    if not same or not _same_moments(perfect, frame):
        return np.full((len(perfect), 3), np.inf)
    reduced = (frame.positions - perfect.positions) @ np.linalg.inv(perfect.cell)
    return np.asarray((reduced - np.rint(reduced)) @ perfect.cell)


def _same_moments(a: Frame, b: Frame) -> bool:
    if a.magmoms is None or b.magmoms is None:
        return a.magmoms is b.magmoms
    return bool(np.allclose(a.magmoms, b.magmoms, atol=1e-6))


def _displaced(perfect: Frame, items: Sequence[LabeledFrame]) -> list[LabeledFrame]:
    """Those of `items` in which one atom of `perfect` is displaced."""
    found = []
    for item in items:
        if len(item.frame) == len(perfect):
            size = np.linalg.norm(moved_by(perfect, item.frame), axis=1)
            if (size > MOVED).sum() == 1 and size.max() < FURTHEST:
                found.append(item)
    return found


def _largest_force(item: LabeledFrame) -> float:
    """eV/A, which is least on a perfect crystal."""
    return 0.0 if item.label.forces is None else float(np.abs(item.label.forces).max())


def _row(phonons: Phonopy, atom: int, moves: Sequence[tuple[FloatArray, FloatArray]], source: str) -> FloatArray:
    """(N, 3, 3) of one atom: phonopy's least squares over what its site symmetry makes of `moves`."""
    from phonopy.harmonic.force_constants import solve_force_constants
    from phonopy.utils import similarity_transformation

    supercell: Any = phonons.supercell
    symmetry: Any = phonons.symmetry
    site = symmetry.get_site_symmetry(atom)
    displacements, forces = [u for u, _ in moves], [f for _, f in moves]
    turned = [similarity_transformation(supercell.cell.T, r) @ u for r in site for u in displacements]
    if np.linalg.matrix_rank(np.array(turned), tol=1e-3 * np.linalg.norm(displacements[0])) < 3:
        raise InputError(
            "the displacements of an atom do not span space",
            where=source or None,
            seen=f"atom {atom} of {len(supercell)}: {len(moves)} displacements",
            expected="with the symmetry of its site, three directions",
        )
    row: FloatArray = np.zeros((1, len(supercell), 3, 3))
    solve_force_constants(
        row, atom, displacements, forces, supercell, site, symmetry.tolerance, atom_list=np.array([atom])
    )
    return np.asarray(row[0])


def _kind(frame: Frame) -> LabelKind:
    return LabelKind.NON_MAGNETIC if frame.magmoms is None else LabelKind.CONSTRAINED
