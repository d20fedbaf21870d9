"""Records made of a potential whose phonons phonopy knows: copper of ASE's EMT, as a table of frequencies."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

PRIMITIVE = [[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]
MESH = (7, 7, 7)
SUPERCELL = [[2, 0, 0], [0, 2, 0], [0, 0, 2]]


def frequencies_of(atoms: Atoms) -> Phonopy:
    """By phonopy alone."""
    unit = PhonopyAtoms(atoms.get_chemical_symbols(), cell=atoms.cell[:], positions=atoms.positions)
    phonons = Phonopy(unit, SUPERCELL, primitive_matrix=PRIMITIVE, log_level=0)
    phonons.generate_displacements(distance=0.01)
    forces = []
    for s in phonons.supercells_with_displacements:
        moved = Atoms(s.symbols, cell=s.cell, positions=s.positions, pbc=True, calculator=EMT())
        forces.append(moved.get_forces())
    phonons.forces = np.array(forces)
    phonons.produce_force_constants(show_drift=False)
    phonons.symmetrize_force_constants(show_drift=False)
    phonons.run_mesh(MESH)
    return phonons


def write_records(folder: Path, lengths: dict[str, float], **changes) -> Path:
    """``table.json.gz`` and ``crystals.extxyz``: copper at each of some lattice constants, A; its path."""
    table: dict[str, dict] = {name: {} for name in ("mp_id", "frequencies", "qpoints", "weights", "q_mesh")}
    crystals = []
    for k, (name, a) in enumerate(lengths.items()):
        atoms = bulk("Cu", a=a, cubic=True)
        mesh = frequencies_of(atoms).mesh
        atoms.info |= {"mp_id": f"mp-{k}", "name": name, "fc2_supercell": SUPERCELL, "primitive_matrix": PRIMITIVE}
        crystals.append(atoms)
        table["mp_id"][str(k)] = f"mp-{k}"
        table["frequencies"][str(k)] = np.asarray(mesh.frequencies).tolist()
        table["qpoints"][str(k)] = np.asarray(mesh.qpoints).tolist()
        table["weights"][str(k)] = np.asarray(mesh.weights).tolist()
        table["q_mesh"][str(k)] = list(MESH)
    path = folder / "table.json.gz"
    path.write_bytes(gzip.compress(json.dumps(table | changes).encode()))
    write(folder / "crystals.extxyz", crystals, format="extxyz")
    return path
