"""One configuration from any structure file: extended XYZ by our own reader, mcif by pymatgen, others by ASE."""

from __future__ import annotations

from pathlib import Path

from magflow.core.frame import Frame
from magflow.errors import InputError
from magflow.io.ase_files import iter_ase
from magflow.io.extxyz import iter_extxyz
from magflow.io.findings import Fate, Findings
from magflow.io.records import located
from magflow.io.structure import from_structure


def read_configuration(path: Path, where: str | None = None, index: int | None = None) -> Frame:
    """The one configuration of a file, or one of several, with the moments it carries, if any.

    Parameters
    ----------
    where
        How errors name the file. None: its path.
    index
        Which one, counted from 0, or from the end if it is negative. None: there has to be one alone.

    Raises
    ------
    InputError
        If there is no such file, it cannot be read, it holds more or less than one configuration, or none of this
        number.
    """
    where = where or str(path)
    if not path.is_file():
        raise InputError("no such structure file", where=where)
    read = iter_extxyz if _is_extxyz(path) else iter_ase
    if path.name.endswith(".mcif"):
        return _from_mcif(path, where)
    findings = Findings()
    frames = [record.configuration for record in read(path, labels=False, findings=findings)]
    count = len(frames) + findings.count(Fate.LEFT_OUT)
    if index is not None:
        if not -len(frames) <= index < len(frames) or len(frames) < count:
            known = f"{len(frames)} that can be read of {count}"
            raise InputError("no configuration of this number", where=where, seen=index, expected=known)
        return frames[index]
    if count != 1:
        hint = f"name the one that is meant, as {path.name}@0 for the first"
        raise InputError("not one configuration", where=where, seen=f"{count} configurations", hint=hint)
    return frames[0]


def _is_extxyz(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith((".xyz", ".extxyz"))


def _from_mcif(path: Path, where: str) -> Frame:
    """A magnetic CIF, by pymatgen: ASE reads the atoms of one and leaves the moments out."""
    from pymatgen.core import Structure

    try:
        structure = Structure.from_file(path)
    # pymatgen's parser raises whatever it trips over; the file is the user's, so it is an input error
    except Exception as error:
        raise InputError(f"the structure file cannot be read: {type(error).__name__}: {error}", where=where) from error
    with located(where):
        return from_structure(structure)
