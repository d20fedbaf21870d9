"""Force constants as files of phonopy, which phonopy itself writes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.files import replace_file
from magflow.core.force_constants import ForceConstantLabel
from magflow.core.frame import Frame
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.properties.charges import charged
from magflow.properties.displaced import complete
from magflow.properties.harmonic import phonopy_of

FILE, CONSTANTS = "phonopy_params.yaml", "FORCE_CONSTANTS"
"""The supercell with all there is, and the force constants alone, which other programs read, too."""


def write_phonopy(directory: Path, label: ForceConstantLabel) -> Path:
    """Write the supercell with its moments and all its force constants, eV/A^2 (:func:`write_cell`).

    Rows that are not known are those that symmetry makes of the others.

    Raises
    ------
    InputError
        If it does not make all of them.
    StoreError
        If the file cannot be written.
    """
    full = complete(label)
    if full is None:
        raise InputError(
            "the rows that are known do not make all force constants by symmetry",
            where=label.source or repr(label),
            seen=f"rows of atoms {label.atoms.tolist()}",
        )
    said = f"moments {label.moments}" if label.frame.magmoms is not None else ""
    return write_cell(directory, label.frame, full, said)


def write_cell(directory: Path, frame: Frame, constants: FloatArray, note: str = "", *, born: str = "") -> Path:
    """Write :data:`FILE` and :data:`CONSTANTS`; returns the path of the first.

    Parameters
    ----------
    frame
        The supercell.
    constants
        (N, N, 3, 3) eV/A^2.
    note
        Becomes the comment that opens :data:`FILE`.
    born
        Text of a BORN file, whose charges :data:`FILE` takes along; may be empty.

    Raises
    ------
    StoreError
        If a file cannot be written.
    """
    from phonopy.file_IO import write_FORCE_CONSTANTS

    phonons: Any = charged(phonopy_of(frame), born)
    phonons.force_constants = np.ascontiguousarray(constants)
    with tempfile.TemporaryDirectory(prefix="magflow-phonopy-") as name:
        cell, array = Path(name) / FILE, Path(name) / CONSTANTS
        phonons.save(cell, settings={"force_constants": True, "force_sets": False, "displacements": False})
        write_FORCE_CONSTANTS(phonons.force_constants, array)
        opening = f"# {note}\n".encode() if note else b""
        replace_file(directory / FILE, opening + cell.read_bytes())
        replace_file(directory / CONSTANTS, array.read_bytes())
    return directory / FILE
