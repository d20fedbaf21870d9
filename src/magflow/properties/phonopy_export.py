"""Force constants as a file of phonopy, which phonopy itself writes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.files import replace_file
from magflow.core.force_constants import ForceConstantLabel
from magflow.errors import InputError
from magflow.properties.displaced import complete
from magflow.properties.harmonic import phonopy_of

FILE = "phonopy_params.yaml"


def write_phonopy(directory: Path, label: ForceConstantLabel) -> Path:
    """Write :data:`FILE`: the supercell with its moments and all its force constants, eV/A^2; returns its path.

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
    phonons: Any = phonopy_of(label.frame)
    phonons.force_constants = np.ascontiguousarray(full)
    with tempfile.TemporaryDirectory(prefix="magflow-phonopy-") as name:
        written = Path(name) / FILE
        phonons.save(written, settings={"force_constants": True, "force_sets": False, "displacements": False})
        replace_file(directory / FILE, written.read_bytes())
    return directory / FILE
