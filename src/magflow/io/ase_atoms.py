"""Frames and labels to and from ``ase.Atoms``.

Geometry, moments and labels come back bit for bit. Moments of a frame travel as ``initial_magmoms``, which is where
ASE's calculators look, those of a labelled frame as ``target_magmoms`` too; a label travels in a
``SinglePointCalculator`` with the names ASE gives its quantities, and the magnetic forces, which ASE has no name for,
in the calculator's results and in ``arrays["magnetic_forces"]``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from magflow.core.label import LevelOfTheory
from magflow.core.moments import is_collinear
from magflow.errors import InputError
from magflow.io.quantities import Quantity
from magflow.io.reading import Geometry, Origin, Reading, assemble
from magflow.io.records import Record, Writable, as_record, check_periodic

_TARGETS = "initial_magmoms"
_CONSTRAINED = "constrained"
_MAGNETIC_FORCES = "magnetic_forces"
_GEOMETRY = ("numbers", "positions")


def to_atoms(item: Writable) -> Atoms:
    """Atoms of a frame, labelled frame or record, periodic in all directions.

    Collinear moments become (N,) values, others (N, 3); a frame without moments gets no moment array at all.
    """
    record = as_record(item)
    frame, label = record.frame, record.label
    atoms = Atoms(list(frame.species), positions=frame.positions, cell=frame.cell, pbc=True)
    atoms.info.update(record.info)
    for name, values in record.columns.items():
        atoms.new_array(name, values)
    if frame.magmoms is not None and Quantity.INITIAL_MAGMOMS not in record.columns:
        set_moments(atoms, frame.magmoms)
    if frame.constrained is not None:
        atoms.new_array(_CONSTRAINED, frame.constrained)
    if label is not None:
        results = {"energy": label.energy, "free_energy": label.energy, "forces": label.forces, "stress": label.stress}
        if label.magmoms is not None:
            results["magmoms"] = label.magmoms[:, 2] if is_collinear(label.magmoms) else label.magmoms
        if frame.magmoms is not None:
            atoms.new_array(Quantity.TARGET_MAGMOMS, frame.magmoms)
        calculator = SinglePointCalculator(atoms, **{k: v for k, v in results.items() if v is not None})
        if label.magnetic_forces is not None:
            atoms.new_array(_MAGNETIC_FORCES, label.magnetic_forces)
            calculator.results[_MAGNETIC_FORCES] = label.magnetic_forces.copy()
        atoms.calc = calculator
    return atoms


def set_moments(atoms: Atoms, magmoms: np.ndarray) -> None:
    """Give `atoms` the moments (N,) or (N, 3), whatever shape it had before.

    ``Atoms.set_initial_magnetic_moments`` refuses to exchange (N,) for (N, 3) (``ase.build.bulk("Fe")`` presets
    (N,)), so the old array is removed first.
    """
    atoms.set_initial_magnetic_moments(None)
    atoms.set_initial_magnetic_moments(magmoms[:, 2] if magmoms.ndim == 2 and is_collinear(magmoms) else magmoms)


def from_atoms(
    atoms: Atoms, level_of_theory: LevelOfTheory | None = None, *, reading: Reading | None = None, where: str = ""
) -> Record:
    """The record of `atoms`: a frame, and a label if there are results for exactly these atoms.

    Results stand in a calculator, or in ``info`` and ``arrays`` under names of :mod:`magflow.io.quantities`. Moments of
    a labelled frame: ``target_magmoms``, else the ``magmoms`` achieved; those of a bare one: ``target_magmoms``, else
    ``initial_magmoms``, else ``magmoms``. Initial moments are never taken for results.

    Parameters
    ----------
    level_of_theory
        Level of the label. None: that of `reading`.
    reading
        How to read, and where findings go.
    where
        The frame's place, for the findings.

    Raises
    ------
    NotPeriodicError
        If the atoms are not periodic in all directions.
    InputError
        On a wrong shape, a number that is not finite, or results that contradict each other.
    """
    reading = reading or Reading()
    check_periodic(atoms.pbc)
    info, columns = dict(atoms.info), {k: v.copy() for k, v in atoms.arrays.items() if k not in _GEOMETRY}
    for name, value in _results(atoms).items():
        target: dict[str, Any] = columns if np.ndim(value) and len(value) == len(atoms) and name != "stress" else info
        if name in target and not np.allclose(target[name], value, equal_nan=True):
            raise InputError("the calculator and the atoms hold different values of one name", seen=name)
        target[name] = np.array(value) if np.ndim(value) else value
    geometry = Geometry(
        tuple(atoms.get_chemical_symbols()),
        np.array(atoms.cell),
        atoms.positions,
        columns.pop(_CONSTRAINED, None),
    )
    return assemble(geometry, info, columns, reading, Origin(level_of_theory), where)


def _results(atoms: Atoms) -> dict[str, Any]:
    """Results of the calculator if they belong to these atoms; nothing is computed."""
    if atoms.calc is None or not getattr(atoms.calc, "results", None):
        return {}
    changed = atoms.calc.check_state(atoms) if hasattr(atoms.calc, "check_state") else []
    return {} if changed else {k: v for k, v in atoms.calc.results.items() if v is not None}
