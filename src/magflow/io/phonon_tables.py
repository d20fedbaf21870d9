"""Reference phonons as a JSON table of frequencies with the structures in extended XYZ beside it.

The table is the one that pandas writes by columns, as k_SRME keeps phononDB's calculations: ``mp_id``, ``frequencies``
(THz), ``qpoints``, ``weights``, ``q_mesh``, each from row to value. A structure says by ``mp_id`` which row is its own,
and in which supercell (``fc2_supercell``) and primitive cell (``primitive_matrix``) it was computed.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.phonon_record import PhononRecord, Spectrum
from magflow.core.versions import FORMAT
from magflow.errors import InputError, MagflowError

COLUMNS = ("mp_id", "frequencies", "qpoints", "weights", "q_mesh")
ENDS = (".json", ".json.gz")
IDENTITY, SUPERCELL, PRIMITIVE, NAME = "mp_id", "fc2_supercell", "primitive_matrix", "name"
"""Of a structure: which row is its own, and how it was computed."""


def is_table(path: Path) -> bool:
    """Whether `path` is named as a table and is no file of magflow's."""
    if not path.name.endswith(ENDS) or not path.is_file():
        return False
    content = _content(path)
    return isinstance(content, dict) and FORMAT not in content


def read_table(path: Path, structures: Path | None = None) -> list[PhononRecord]:
    """The records of a table, in the order of the structures.

    Parameters
    ----------
    path
        ``.json`` or ``.json.gz``.
    structures
        Extended XYZ; None: the only one beside the table.

    Raises
    ------
    InputError
        No structures or several files of them, a column or key that is missing, a structure without a row, numbers
        that do not fit each other.
    """
    content = _content(path)
    missing = [name for name in COLUMNS if not isinstance(content, dict) or not isinstance(content.get(name), dict)]
    if missing:
        raise InputError(
            "no table of phonons",
            where=str(path),
            seen=f"without {', '.join(missing)}",
            expected="columns " + ", ".join(COLUMNS) + ", each from row to value",
        )
    rows = {str(value): row for row, value in content["mp_id"].items()}
    found = [_record(atoms, content, rows, path) for atoms in _structures(structures or _beside(path))]
    if not found:
        raise InputError("no structures", where=str(structures or _beside(path)))
    return found


def _content(path: Path) -> Any:
    try:
        data = path.read_bytes()
        return json.loads(gzip.decompress(data) if path.name.endswith(".gz") else data)
    except (OSError, EOFError, ValueError, RecursionError) as error:
        raise InputError("the table of phonons cannot be read", where=str(path), seen=str(error)) from error


def _beside(path: Path) -> Path:
    found = sorted(path.parent.glob("*.extxyz"))
    if len(found) != 1:
        raise InputError(
            "which structures belong to the table is not told",
            where=str(path),
            seen=f"{len(found)} files .extxyz beside it",
            expected="one, or --structures FILE",
        )
    return found[0]


def _structures(path: Path) -> list[Any]:
    from ase.io import read

    try:
        return list(read(path, index=":", format="extxyz"))
    except Exception as error:  # ASE raises what its parsers trip over
        raise InputError("the structures cannot be read", where=str(path), seen=str(error)) from error


def _record(atoms: Any, content: Mapping[str, Any], rows: Mapping[str, str], path: Path) -> PhononRecord:
    info = atoms.info
    who = str(info.get(IDENTITY, ""))
    if who not in rows:
        raise InputError(
            "a structure has no row in the table", where=str(path), seen=who or f"no {IDENTITY}", expected=IDENTITY
        )
    name = " ".join(dict.fromkeys(str(word) for word in (info.get(NAME, atoms.get_chemical_formula()), who)))
    if SUPERCELL not in info:
        raise InputError("a structure without a supercell", where=f"{path}: {name}", expected=f"{SUPERCELL}=")
    row = rows[who]
    try:
        values = {column: content[column][row] for column in COLUMNS}
        a, b, c = (int(n) for n in values["q_mesh"])
        spectrum = Spectrum((a, b, c), values["qpoints"], values["weights"], values["frequencies"])
        frame = Frame(tuple(atoms.get_chemical_symbols()), np.array(atoms.cell), atoms.positions)
        return PhononRecord(name, frame, info[SUPERCELL], info.get(PRIMITIVE, np.eye(3)), spectrum)
    except MagflowError as error:
        error.where = f"{path}: {name}"
        raise
    except (KeyError, ValueError, TypeError) as error:
        raise InputError("a row of the table cannot be read", where=f"{path}: {name}", seen=str(error)) from error
