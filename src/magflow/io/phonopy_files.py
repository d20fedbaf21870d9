"""Force constants from files of phonopy: ``phonopy*.yaml`` with FORCE_CONSTANTS or FORCE_SETS in or beside it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.force_constants import ForceConstantLabel, MomentsOf, check_at_rest
from magflow.core.frame import Frame
from magflow.core.label import LabelKind, LevelOfTheory
from magflow.core.types import FloatArray
from magflow.errors import InputError, MagflowError
from magflow.io.records import UNSPECIFIED

CELLS = ("phonopy_params.yaml", "phonopy.yaml", "phonopy_disp.yaml")
"""Files that hold the supercell, in the order in which they are looked for; each may be packed (``.xz``, ``.gz``)."""
CONSTANTS, HDF5, SETS = "FORCE_CONSTANTS", "force_constants.hdf5", "FORCE_SETS"
PACKED = ("", ".xz", ".gz")
ALIKE = 1e-3
"""muB; moments that a symmetry exchanges may differ by so much."""


def is_phonopy(path: Path) -> bool:
    """Whether `path` is a file of phonopy, or a directory with one that holds a supercell."""
    if path.is_dir():
        return any((path / f"{name}{end}").is_file() for name in CELLS for end in PACKED)
    return path.name in (CONSTANTS, HDF5, SETS) or ".yaml" in path.suffixes


def read_phonopy(
    path: Path,
    *,
    level: LevelOfTheory | None = None,
    moments: Mapping[str, float] | None = None,
    clamped: bool = False,
) -> ForceConstantLabel:
    """The force constants of a calculation with phonopy, rows of the atoms of its primitive cell.

    Parameters
    ----------
    path
        The directory, its ``phonopy*.yaml``, FORCE_CONSTANTS, ``force_constants.hdf5`` or FORCE_SETS.
    level
        What they were computed with. None: unspecified, since the files do not say.
    moments
        Element to |m|, muB, where the files hold none, or sizes that were only a guess; signs are those of the files.
    clamped
        The moments were held while atoms were displaced; otherwise those of a magnetic crystal followed.

    Raises
    ------
    InputError
        No supercell, no force constants, damaged files, moments that break the symmetry phonopy used, a crystal that
        is not at rest.
    """
    cell, sets, constants = _files(path)
    phonons = _phonopy(cell)
    if constants is not None:
        array = _constants(phonons, constants)
    else:
        _take_forces(phonons, cell, sets)
        array = np.asarray(phonons.force_constants)
    units = _units(phonons)
    frame = _frame(phonons, units.length, moments or {})
    if constants is None and frame.magmoms is not None:
        _check_moments(phonons, frame, str(cell))
    atoms = np.asarray(phonons.primitive.p2s_map)
    if len(array) == len(frame):
        array = array[atoms]
    held = frame.magmoms is None or clamped
    return ForceConstantLabel(
        frame,
        level or _unspecified(frame, clamped=clamped),
        atoms,
        array * units.constant,
        MomentsOf.CLAMPED if held else MomentsOf.RELAXED,
        str(path),
    )


@dataclass(frozen=True)
class _Units:
    """Factors to A and eV/A^2, and to eV/A."""

    length: float
    force: float

    @property
    def constant(self) -> float:
        return self.force / self.length


def _files(path: Path) -> tuple[Path, Path | None, Path | None]:
    """The file of the supercell, and FORCE_SETS or force constants beside it or named themselves."""
    directory = path if path.is_dir() else path.parent
    if not path.exists():
        raise InputError("no such file", where=str(path), expected="files of phonopy")
    named = path.name if path.is_file() else ""
    if named in ("", CONSTANTS, HDF5, SETS):
        found = [p for name in CELLS for end in PACKED if (p := directory / f"{name}{end}").is_file()]
        if not found:
            raise InputError(
                "force constants without a supercell",
                where=str(path),
                expected=" or ".join(CELLS) + " beside them",
                hint="phonopy -d writes phonopy_disp.yaml",
            )
        cell = found[0]
    else:
        cell = path
    sets = next((p for end in PACKED if (p := directory / f"{SETS}{end}").is_file()), None)
    constants = next((p for name in (CONSTANTS, HDF5) if (p := directory / name).is_file()), None)
    if named == SETS:
        return cell, path, None
    if named in (CONSTANTS, HDF5):
        return cell, None, path
    return cell, sets, constants


def _phonopy(cell: Path) -> Any:
    from phonopy import Phonopy
    from phonopy.interface.phonopy_yaml import PhonopyYaml

    found: Any = PhonopyYaml()
    try:
        found.read(cell)
        unit, matrix = found.unitcell, found.supercell_matrix
        if unit is None or matrix is None:
            raise InputError(
                "force constants without a supercell", where=str(cell), expected="unit_cell and supercell_matrix"
            )
        primitive: Any = "auto" if found.primitive_matrix is None else found.primitive_matrix
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*Point group symmetries")  # a supercell may be longer one way
            warnings.filterwarnings("ignore", message="primitive_matrix defaulted")  # to what was asked for
            phonons: Any = Phonopy(unit, matrix, primitive_matrix=primitive, calculator=found.calculator, log_level=0)
    except MagflowError:
        raise
    except Exception as error:  # phonopy raises what its parsers trip over
        raise _unreadable(cell, error) from error
    phonons.dataset = found.dataset
    if found.force_constants is not None:
        phonons.force_constants = found.force_constants
    return phonons


def _unreadable(path: Path, error: Exception) -> InputError:
    text = f"{type(error).__name__}: {error}"
    return InputError("the files of phonopy cannot be read", where=str(path), seen=text)


def _constants(phonons: Any, path: Path) -> FloatArray:
    """(k, N, 3, 3) from a file."""
    from phonopy.file_IO import parse_FORCE_CONSTANTS, read_force_constants_hdf5

    try:
        read = read_force_constants_hdf5 if path.name == HDF5 else parse_FORCE_CONSTANTS
        array = np.asarray(read(path), dtype=float)
    except Exception as error:
        raise _unreadable(path, error) from error
    n, k = len(phonons.supercell), len(phonons.primitive)
    if array.shape[1:] != (n, 3, 3) or len(array) not in (n, k):
        raise InputError(
            "force constants of another supercell",
            where=str(path),
            seen=f"shape {array.shape}",
            expected=f"({n}, {n}, 3, 3) or ({k}, {n}, 3, 3)",
        )
    return array


def _take_forces(phonons: Any, cell: Path, sets: Path | None) -> None:
    """Force constants of the displacements in `sets` or in the file of the supercell; none if that holds them."""
    from phonopy.file_IO import parse_FORCE_SETS

    if sets is None and phonons.force_constants is not None:
        return
    try:
        if sets is not None:
            phonons.dataset = parse_FORCE_SETS(natom=len(phonons.supercell), filename=sets)
        moves = phonons.dataset or {}
        if "forces" not in moves and not all("forces" in m for m in moves.get("first_atoms") or [{}]):
            hint = "phonopy -f collects the forces of the displaced supercells"
            raise InputError(
                "no force constants", where=str(cell), expected=f"{SETS} or {CONSTANTS} beside it", hint=hint
            )
        check_at_rest(_left(phonons) * _units(phonons).force, str(sets or cell))
        _check_number(phonons, str(sets or cell))
        phonons.produce_force_constants(calculate_full_force_constants=False, show_drift=False)
        phonons.symmetrize_force_constants(show_drift=False)
    except MagflowError:
        raise
    except Exception as error:
        raise _unreadable(sets or cell, error) from error


def _check_number(phonons: Any, where: str) -> None:
    """Whether each atom that no symmetry makes of another is displaced: with moments that is fewer symmetries.

    Raises
    ------
    InputError
        Naming an atom that is not.
    """
    moved = {int(m["number"]) for m in (phonons.dataset or {}).get("first_atoms", [])}
    orbits = np.asarray(phonons.symmetry.get_map_atoms())
    lacking = sorted(set(orbits.tolist()) - {int(orbits[k]) for k in moved})
    if moved and lacking and phonons.supercell.magnetic_moments is not None:
        raise InputError(
            "the moments break the symmetry that phonopy used",
            where=where,
            seen=f"no displacement of atom {lacking[0]}, which with its moment is like no other that is displaced",
            expected="a displaced atom of each kind, moments included",
            hint="make the displacements with MAGMOM, so that phonopy knows the moments",
        )


def _left(phonons: Any) -> FloatArray:
    """(N, 3) forces of the crystal at rest, where displacements come in pairs: half the sum of the two; else zeros.

    Of several pairs the one in which an atom is pulled least: what is of third order is large near the displaced atom.
    """
    moves = (phonons.dataset or {}).get("first_atoms", [])
    pairs = [
        0.5 * (np.asarray(a["forces"]) + np.asarray(b["forces"]))
        for a, b in combinations(moves, 2)
        if a["number"] == b["number"] and np.allclose(np.add(a["displacement"], b["displacement"]), 0.0, atol=1e-6)
    ]
    if not pairs:
        return np.zeros((len(phonons.supercell), 3))
    stacked = np.array(pairs)
    least = np.linalg.norm(stacked, axis=2).argmin(axis=0)
    return np.asarray(stacked[least, np.arange(stacked.shape[1])])


def _units(phonons: Any) -> _Units:
    from phonopy.physical_units import get_calculator_physical_units

    found: Any = get_calculator_physical_units(phonons.calculator)
    return _Units(float(found.distance_to_A), float(found.force_to_eVperA))


def _frame(phonons: Any, length: float, moments: Mapping[str, float]) -> Frame:
    atoms = phonons.supercell
    species, given = tuple(atoms.symbols), atoms.magnetic_moments
    if moments:
        if unknown := sorted(set(species) - set(moments)):
            raise InputError("no moment for an element", where="moments", seen=", ".join(unknown))
        signs = np.ones(len(species)) if given is None else np.where(np.asarray(given, float) < 0.0, -1.0, 1.0)
        given = signs * np.array([moments[s] for s in species])
    return Frame(species, atoms.cell * length, atoms.positions * length, given)


def _check_moments(phonons: Any, frame: Frame, where: str) -> None:
    """Whether each symmetry that phonopy made rows of others by takes every moment to an equal one, or all to -M."""
    magmoms = np.zeros(len(frame)) if frame.magmoms is None else frame.magmoms[:, 2]
    for permutation in np.asarray(phonons.symmetry.atomic_permutations):
        moved = magmoms[permutation]
        apart = min(np.abs(moved - magmoms).max(), np.abs(moved + magmoms).max())
        if apart > ALIKE:
            atom = int(np.abs(moved - magmoms).argmax())
            raise InputError(
                "the moments break the symmetry that phonopy used",
                where=where,
                seen=f"{magmoms[atom]:.3g} and {moved[atom]:.3g} muB on atoms {atom} and {int(permutation[atom])}",
                expected="equal moments on atoms that a symmetry exchanges",
                hint="make the displacements with MAGMOM, so that phonopy knows the moments",
            )


def _unspecified(frame: Frame, *, clamped: bool) -> LevelOfTheory:
    if frame.magmoms is None:
        kind = LabelKind.NON_MAGNETIC
    else:
        kind = LabelKind.CONSTRAINED if clamped else LabelKind.SPIN_POLARISED
    return LevelOfTheory(UNSPECIFIED, "", kind, UNSPECIFIED)
