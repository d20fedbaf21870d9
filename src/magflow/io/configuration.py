"""One configuration from any structure file: extended XYZ by our own reader, every other format by ASE's."""

from __future__ import annotations

from pathlib import Path

from magflow.core.frame import Frame
from magflow.errors import InputError
from magflow.io.ase_files import iter_ase
from magflow.io.extxyz import iter_extxyz
from magflow.io.findings import Fate, Findings


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
    read = iter_extxyz if _is_extxyz(path) else iter_ase
    findings = Findings()
    frames = [record.configuration for record in read(path, labels=False, findings=findings)]
    count = len(frames) + findings.count(Fate.LEFT_OUT)
    if count != 1:
        hint = "write the one that is meant to a file of its own"
        raise InputError("not one configuration", where=where, seen=f"{count} configurations", hint=hint)
    return frames[0]


def _is_extxyz(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith((".xyz", ".extxyz"))
