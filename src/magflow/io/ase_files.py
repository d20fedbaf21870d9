"""Frames in files that ASE reads: its databases and trajectories, with the results of their calculators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from ase import Atoms

from magflow.core.label import LevelOfTheory
from magflow.errors import InputError
from magflow.io.ase_atoms import from_atoms
from magflow.io.findings import Findings
from magflow.io.quantities import Keys
from magflow.io.reading import Reading, periodic, reading_of
from magflow.io.records import Record

_OF_CIF = {"occupancy", "spacegroup", "unit_cell"}
"""What ASE puts beside the atoms of a CIF that is neither a number nor of use here."""


def iter_ase(
    path: str | Path,
    *,
    keys: Keys | None = None,
    level_of_theory: LevelOfTheory | None = None,
    virial_sign: int | None = None,
    labels: bool = True,
    findings: Findings | None = None,
    form: str | None = None,
) -> Iterator[Record]:
    """The frames of a file, one after the other; other parameters as in :func:`magflow.io.extxyz.iter_extxyz`.

    Parameters
    ----------
    form
        ASE's name for the format. None: ASE looks for itself.

    Raises
    ------
    InputError
        Names the file, the frame (counted from 1), and what is missing or wrong.
    """
    reading = reading_of(keys, level_of_theory, virial_sign, findings, labels=labels)
    yield from periodic(_frames(Path(path), reading, form), reading.findings)
    reading.check_keys(str(path))


def _frames(path: Path, reading: Reading, form: str | None) -> Iterator[tuple[str, Callable[[], Record]]]:
    """Place of each frame, and what makes its record."""
    where = ""
    for count, atoms in enumerate(_images(path, form), start=1):
        where = f"{path}: frame {count}"
        yield where, partial(_record, atoms, reading, where)
    if not where:
        raise InputError("the file holds no frame", where=str(path))


def _record(atoms: Atoms, reading: Reading, where: str) -> Record:
    for key in _OF_CIF & set(atoms.info):
        value = atoms.info.pop(key)
        if key == "occupancy":
            _check_occupancies(value)
    atoms.arrays.pop("spacegroup_kinds", None)
    return from_atoms(atoms, reading.level_of_theory, reading=reading, where=where)


def _check_occupancies(sites: Mapping[str, Mapping[str, float]]) -> None:
    """Refuse mixed sites: ASE keeps the most frequent element of each, and lists all beside the atoms."""
    mixed = next((site for site in sites.values() if list(site.values()) != [1.0]), None)
    if mixed is not None:
        raise InputError(
            "the structure has sites with mixed occupation",
            seen=", ".join(f"{element} {share:g}" for element, share in mixed.items()),
            expected="one element per site",
            hint="enumerate ordered structures first",
        )


def _images(path: Path, form: str | None) -> Iterator[Atoms]:
    try:
        yield from _rows(path) if _is_database(path) else _others(path, form)
    except FileNotFoundError as error:
        raise InputError("no such structure file", where=str(path)) from error
    # ASE's readers raise whatever their parsing trips over; the file is the user's, so it is an input error
    except Exception as error:
        raise InputError(f"the file cannot be read: {type(error).__name__}: {error}", where=str(path)) from error


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(4096)
    return head.startswith(b"SQLite format 3") or (head.startswith(b"{") and b'"unique_id"' in head)


def _rows(path: Path) -> Iterator[Atoms]:
    """Atoms of a database with the key-value pairs and data of their rows, which ``ase.io.read`` leaves behind."""
    from ase.db import connect

    with path.open("rb") as file:
        kind = "json" if file.read(1) == b"{" else "db"
    for row in connect(str(path), type=kind).select():
        atoms = row.toatoms()
        atoms.info |= {**row.key_value_pairs, **row.data}
        yield atoms


def _others(path: Path, form: str | None) -> Iterator[Atoms]:
    from ase.io import iread

    yield from iread(path, index=":", format=form, do_not_split_by_at_sign=True)
