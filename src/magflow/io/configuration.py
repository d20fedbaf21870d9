"""One configuration from any structure file: extended XYZ by our own reader, every other format by ASE's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms

from magflow.core.frame import Frame
from magflow.errors import InputError
from magflow.io.extxyz import read_extxyz


def read_configuration(path: Path, where: str | None = None) -> Frame:
    """The one configuration of a file, with the moments it carries, if any.

    Parameters
    ----------
    where
        How errors name the file. None: its path.

    Raises
    ------
    InputError
        If there is no such file, it cannot be read, or it holds more or less than one configuration.
    """
    where = where or str(path)
    if not path.is_file():
        raise InputError("no such structure file", where=where)
    if path.suffix in {".xyz", ".extxyz"}:
        frames = [r.configuration for r in read_extxyz(path, labels=False)]
    else:
        frames = [_from_atoms(a) for a in _read_ase(path, where)]
    if len(frames) != 1:
        hint = "write the one that is meant to a file of its own"
        raise InputError("not one configuration", where=where, seen=f"{len(frames)} configurations", hint=hint)
    return frames[0]


def _read_ase(path: Path, where: str) -> list[Atoms]:
    from ase.io import read

    try:
        images = read(path, index=":")
    # ASE's readers raise whatever their parsing trips over; the file is the user's, so it is an input error
    except Exception as error:
        raise InputError(f"the structure file cannot be read: {type(error).__name__}: {error}", where=where) from error
    return images if isinstance(images, list) else [images]


def _from_atoms(atoms: Atoms) -> Frame:
    moments = atoms.get_initial_magnetic_moments() if atoms.has("initial_magmoms") else None
    return Frame(tuple(atoms.get_chemical_symbols()), np.array(atoms.cell), atoms.positions, moments)
