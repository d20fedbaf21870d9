"""Frames in files that ASE reads: its databases and trajectories, with the results of their calculators."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


def iter_ase(
    path: str | Path,
    *,
    keys: Keys | None = None,
    level_of_theory: LevelOfTheory | None = None,
    virial_sign: int | None = None,
    labels: bool = True,
    findings: Findings | None = None,
) -> Iterator[Record]:
    """The frames of a file, one after the other; parameters as in :func:`magflow.io.extxyz.iter_extxyz`.

    Raises
    ------
    InputError
        Names the file, the frame (counted from 1), and what is missing or wrong.
    """
    reading = reading_of(keys, level_of_theory, virial_sign, findings, labels=labels)
    yield from periodic(_frames(Path(path), reading), reading.findings)
    reading.check_keys(str(path))


def _frames(path: Path, reading: Reading) -> Iterator[tuple[str, Callable[[], Record]]]:
    """Place of each frame, and what makes its record."""
    where = ""
    for count, atoms in enumerate(_images(path), start=1):
        where = f"{path}: frame {count}"
        yield where, partial(from_atoms, atoms, reading.level_of_theory, reading=reading, where=where)
    if not where:
        raise InputError("the file holds no frame", where=str(path))


def _images(path: Path) -> Iterator[Atoms]:
    try:
        yield from _rows(path) if _is_database(path) else _others(path)
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


def _others(path: Path) -> Iterator[Atoms]:
    from ase.io import iread

    yield from iread(path, index=":")
