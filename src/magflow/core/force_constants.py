"""Force constants as labels: second derivatives of the energy by the positions, at one level of theory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from magflow.core.arrays import digest
from magflow.core.frame import Frame
from magflow.core.label import LevelOfTheory
from magflow.core.terms import MomentsOf as MomentsOf
from magflow.core.types import FloatArray, IntArray
from magflow.core.units import EV_PER_A3_IN_GPA
from magflow.errors import InputError

AT_REST = 0.02
"""eV/A; a force on an atom of the reference structure above it says that this is no equilibrium."""


STRESS_AT_REST = 2.0
"""GPa; a component of the stress of the reference structure above it: the cell is not that of the crystal at rest. In
iron that is 0.4 % of the lattice constant, and some 2 % of a frequency."""


@dataclass(frozen=True, eq=False)
class ForceConstantLabel:
    """Rows of the force constants of one supercell.

    Parameters
    ----------
    frame
        The supercell that nothing is displaced in, with its moments.
    level_of_theory
        What they were computed with; a potential that stands in for DFT says so in its `code`.
    atoms
        (k,) the atoms whose rows are known, each once.
    array
        (k, N, 3, 3) eV/A^2, as phonopy orders them: ``array[i, j, a, b]`` is the derivative of the energy by component
        a of atom ``atoms[i]`` and component b of atom j.
    moments
        What the moments do; of no meaning where `frame` has none.
    source
        Where they come from, for people.

    Raises
    ------
    InputError
        No atoms, atoms that are not in the supercell or come twice, an array of another shape or not finite.
    """

    frame: Frame
    level_of_theory: LevelOfTheory
    atoms: IntArray
    array: FloatArray
    moments: MomentsOf = MomentsOf.CLAMPED
    source: str = ""

    def __post_init__(self) -> None:
        atoms, array, n = np.asarray(self.atoms, dtype=np.int64), np.asarray(self.array, dtype=float), len(self.frame)
        known = atoms.ndim == 1 and len(atoms) > 0 and len(np.unique(atoms)) == len(atoms)
        if not known or atoms.min() < 0 or atoms.max() >= n:
            raise InputError(
                "force constants of no atom of the supercell",
                where=self.source or None,
                seen=atoms.tolist(),
                expected=f"different atoms from 0 to {n - 1}",
            )
        if array.shape != (len(atoms), n, 3, 3):
            raise InputError(
                "force constants of another supercell",
                where=self.source or None,
                seen=f"shape {array.shape}",
                expected=f"({len(atoms)}, {n}, 3, 3): rows of {len(atoms)} of {n} atoms",
            )
        if not np.isfinite(array).all():
            raise InputError("a force constant is not finite", where=self.source or None)
        object.__setattr__(self, "atoms", atoms)
        object.__setattr__(self, "array", array)

    def __repr__(self) -> str:
        level = self.level_of_theory
        rows = f"{len(self.atoms)} of {len(self.frame)} atoms"
        return f"<ForceConstantLabel {self.frame.formula} {self.frame.ordering}: {rows}, {level.code} {level.version}>"

    @cached_property
    def label_id(self) -> str:
        """24 hex digits of frame, level of theory, rows and what the moments do; not of the numbers."""
        names = (self.frame.frame_id, self.level_of_theory.fingerprint, self.moments)
        return digest([*(name.encode() for name in names), self.atoms.tobytes()])

    @property
    def directions(self) -> FloatArray:
        """(3k, N, 4) unit displacements of the atoms, for products with a Hessian."""
        units = np.zeros((len(self.atoms), 3, len(self.frame), 4))
        for k, atom in enumerate(self.atoms):
            units[k, :, atom, :3] = np.eye(3)
        return units.reshape(-1, len(self.frame), 4)

    @property
    def columns(self) -> FloatArray:
        """(3k, N, 3) eV/A^2, what the Hessian makes of each of `directions`."""
        return self.array.transpose(0, 2, 1, 3).reshape(-1, len(self.frame), 3)

    @classmethod
    def from_columns(
        cls,
        frame: Frame,
        level_of_theory: LevelOfTheory,
        atoms: IntArray,
        columns: FloatArray,
        *,
        moments: MomentsOf = MomentsOf.CLAMPED,
        source: str = "",
    ) -> ForceConstantLabel:
        """Inverse of :attr:`columns`."""
        array = np.ascontiguousarray(columns.reshape(len(atoms), 3, len(frame), 3).transpose(0, 2, 1, 3))
        return cls(frame, level_of_theory, atoms, array, moments, source)


def check_clamped(label: ForceConstantLabel) -> None:
    """Refuse force constants that are no second derivatives at fixed moments.

    Raises
    ------
    InputError
        If the moments follow the atoms.
    """
    if label.moments is not MomentsOf.CLAMPED:
        raise InputError(
            "these force constants are those of moments that follow the atoms",
            where=label.source or repr(label),
            expected="moments clamped",
            hint="take them as clamped with --clamped (clamped=True in Python) if that is meant",
        )


def check_at_rest(forces: FloatArray, where: str) -> None:
    """Refuse a reference structure whose atoms are pulled away.

    Parameters
    ----------
    forces
        (N, 3) eV/A, left on the atoms.
    where
        How the error names it.

    Raises
    ------
    InputError
        Naming the largest force.
    """
    size = np.linalg.norm(forces, axis=1)
    if size.max() > AT_REST:
        raise InputError(
            "the crystal is not at rest",
            where=where,
            seen=f"a residual force of {size.max():.3g} eV/A on atom {int(size.argmax())}",
            expected=f"at most {AT_REST:g} eV/A",
            hint="relax its atoms at this level of theory first",
        )


def check_cell_at_rest(stress: FloatArray, where: str) -> None:
    """Refuse a reference structure whose cell is under stress.

    Parameters
    ----------
    stress
        (6,) eV/A^3, left.
    where
        How the error names it.

    Raises
    ------
    InputError
        Naming the largest component.
    """
    worst = float(np.abs(stress).max() * EV_PER_A3_IN_GPA)
    if worst > STRESS_AT_REST:
        raise InputError(
            "the crystal is not at rest",
            where=where,
            seen=f"a residual stress of {worst:.3g} GPa",
            expected=f"at most {STRESS_AT_REST:g} GPa",
            hint="relax its cell at this level of theory first",
        )
