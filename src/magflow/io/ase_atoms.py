"""Frames and labels to and from ``ase.Atoms``.

Geometry, moments and labels come back bit for bit. Moments of a frame travel as ``initial_magmoms``, which is where
ASE's calculators look; a label travels in a ``SinglePointCalculator`` with the names ASE gives its quantities, and
the magnetic forces, which ASE has no name for, in the calculator's results and in ``arrays["magnetic_forces"]``.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from magflow.core.frame import Frame
from magflow.core.label import LevelOfTheory
from magflow.core.moments import as_vectors, is_collinear
from magflow.core.units import voigt
from magflow.errors import InputError
from magflow.io.records import Record, Writable, as_record, build_label

_TARGETS = "initial_magmoms"
_CONSTRAINED = "constrained"
_MAGNETIC_FORCES = "magnetic_forces"
_OWN_ARRAYS = {"numbers", "positions", _TARGETS, _CONSTRAINED, _MAGNETIC_FORCES, "magmoms", "target_magmoms"}


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
    if frame.magmoms is not None:
        set_moments(atoms, frame.magmoms)
    if frame.constrained is not None:
        atoms.new_array(_CONSTRAINED, frame.constrained)
    if label is not None:
        results = {"energy": label.energy, "free_energy": label.energy, "forces": label.forces, "stress": label.stress}
        if label.magmoms is not None:
            results["magmoms"] = label.magmoms[:, 2] if is_collinear(label.magmoms) else label.magmoms
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


def from_atoms(atoms: Atoms, level_of_theory: LevelOfTheory | None = None) -> Record:
    """The record of `atoms`: a frame, and a label if a calculator holds results for exactly these atoms.

    Moments of the frame: ``target_magmoms``, else ``initial_magmoms``, else the ``magmoms`` of the array or of the
    calculator. Achieved moments of the label: ``magmoms`` only; initial moments are never taken for results.

    Raises
    ------
    InputError
        If the atoms are not periodic in all directions or hold a wrong shape or a number that is not finite.
    """
    if not atoms.pbc.all():
        raise InputError(
            "the atoms are not periodic in all three directions",
            seen=f"pbc = {atoms.pbc.tolist()}",
            expected="pbc = True",
            hint="put enough vacuum into the cell and declare it periodic",
        )
    n = len(atoms)
    results = _results(atoms)
    achieved = results.get("magmoms", atoms.arrays.get("magmoms"))
    achieved = None if achieved is None else as_vectors(achieved, n)
    targets = atoms.arrays.get("target_magmoms", atoms.arrays.get(_TARGETS))
    moments = achieved if targets is None else as_vectors(targets, n)
    frame = Frame(
        tuple(atoms.get_chemical_symbols()),
        np.array(atoms.cell),
        atoms.positions,
        moments,
        atoms.arrays.get(_CONSTRAINED),
    )
    columns = {name: values.copy() for name, values in atoms.arrays.items() if name not in _OWN_ARRAYS}
    vector = any(np.ndim(m) == 2 for m in (targets, results.get("magmoms")) if m is not None)
    energy = results.get("free_energy", results.get("energy"))
    if energy is None:
        return Record(frame, None, dict(atoms.info), columns, vector)
    magnetic = results.get(_MAGNETIC_FORCES, atoms.arrays.get(_MAGNETIC_FORCES))
    stress = results.get("stress")
    label = build_label(
        frame,
        energy=float(energy),
        level_of_theory=level_of_theory,
        forces=_copied(results.get("forces")),
        stress=None if stress is None else voigt(stress) if np.shape(stress) == (3, 3) else _copied(stress),
        magmoms=achieved,
        magnetic_forces=_along_z(magnetic),
    )
    return Record(frame, label, dict(atoms.info), columns, vector)


def _results(atoms: Atoms) -> dict[str, np.ndarray]:
    """Results of the calculator if they belong to these atoms; nothing is computed."""
    if atoms.calc is None or not getattr(atoms.calc, "results", None):
        return {}
    changed = atoms.calc.check_state(atoms) if hasattr(atoms.calc, "check_state") else []
    return {} if changed else dict(atoms.calc.results)


def _copied(values: np.ndarray | None) -> np.ndarray | None:
    return None if values is None else np.array(values, dtype=float)


def _along_z(values: np.ndarray | None) -> np.ndarray | None:
    """(N, 3) from (N,) collinear magnetic forces."""
    if values is None or np.ndim(values) == 2:
        return _copied(values)
    vectors = np.zeros((len(values), 3))
    vectors[:, 2] = values
    vectors[np.isnan(values)] = np.nan
    return vectors
