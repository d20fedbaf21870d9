"""Extended XYZ, the one text format frames, labels and predictions travel in.

Lossless (every float is written with all its digits) and readable by ``ase.io.read``. What the reader makes
of a frame, under these names or those other programs use (:mod:`magflow.io.quantities`):

================  ==================================================================================
``Lattice``       cell; a frame without one, or whose ``pbc`` is not true throughout, is left out and counted
``free_energy``   energy; ``energy`` stands in where there is none (ASE's ``energy`` is the sigma->0 value)
``forces``        eV/A
``stress``        9 values (3 x 3) or 6 (Voigt xx yy zz yz xz xy), eV/A^3, positive in tension
``virial``        refused unless its sign is told or a stress beside it tells it: files disagree
``magmoms``       (N,) or (N, 3) muB: achieved moments of a labelled frame, the moments of a bare one
``target_magmoms``  moments imposed; they become the moments of the frame
``initial_magmoms``  moments a calculation started from: never those a label belongs to
``magnetic_forces``  (N,) or (N, 3) eV/muB, -dE/dm; NaN on atoms that were not constrained
``constrained``   (N,) which atoms were held at their moment
================  ==================================================================================

Everything else is kept in :attr:`Record.info` and :attr:`Record.columns`, and counted in the findings.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from magflow.core.label import Cost, LevelOfTheory
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.io.extxyz_writer import format_frame, write_extxyz
from magflow.io.findings import Findings
from magflow.io.keyvalues import parse_comment, real
from magflow.io.levels import level_from_text
from magflow.io.quantities import Keys
from magflow.io.reading import Geometry, Origin, Reading, assemble, periodic, reading_of
from magflow.io.records import LABEL_KEY, Record, check_periodic
from magflow.io.text import read_lines
from magflow.io.values import as_numbers

WHAT = "an extended XYZ file"

__all__ = ["format_frame", "iter_extxyz", "read_extxyz", "write_extxyz"]

_KINDS: dict[str, Callable[[str], Any]] = {
    "S": str,
    "R": real,
    "I": int,
    "L": {"T": True, "True": True, "TRUE": True, "F": False, "False": False, "FALSE": False}.__getitem__,
}
_MAX_ATOMS = 10_000_000


def read_extxyz(path: str | Path, **options: Any) -> list[Record]:
    """All frames of a file; options and errors are those of :func:`iter_extxyz`."""
    return list(iter_extxyz(path, **options))


def iter_extxyz(
    path: str | Path,
    *,
    keys: Keys | None = None,
    level_of_theory: LevelOfTheory | None = None,
    virial_sign: int | None = None,
    labels: bool = True,
    findings: Findings | None = None,
) -> Iterator[Record]:
    """The frames of a file, one after the other.

    Parameters
    ----------
    path
        File to read, plain or gzip.
    keys
        The names that stand for quantities, where those known by default do not do.
    level_of_theory
        Level of labels that do not carry their own. None: the level ``unspecified``.
    virial_sign
        -1 if ``virial`` is -stress x volume (GAP, DeePMD, MACE), +1 if it is +stress x volume.
    labels
        False: make no labels; the frame gets the moments a potential is to be evaluated at (``magmoms``, else the
        targets), and what would have been a label is kept under names that begin with ``reference_``.
    findings
        Filled while the file is read.

    Raises
    ------
    InputError
        Names the file, the frame (counted from 1), its line, and what is missing or wrong.
    """
    reading = reading_of(keys, level_of_theory, virial_sign, findings, labels=labels)
    yield from periodic(_frames(path, reading), reading.findings)
    reading.check_keys(str(path))


def _frames(path: str | Path, reading: Reading) -> Iterator[tuple[str, Callable[[], Record]]]:
    """Place of each frame, and what reads it; a frame takes its own lines."""
    numbered = enumerate(read_lines(path, WHAT), start=1)
    count = 0
    for number, line in numbered:
        if line.strip():
            count += 1
            where = f"{path}: frame {count} (line {number})"
            yield where, partial(_frame, line, numbered, reading, where)
    if not count:
        raise InputError("the file holds no frame", where=str(path), expected=WHAT)


def _frame(line: str, numbered: Iterator[tuple[int, str]], reading: Reading, where: str) -> Record:
    n = _atom_count(line)
    comment = next(numbered, (0, ""))[1]
    rows = [row.split() for _, row in islice(numbered, n)]
    if len(rows) < n:
        raise InputError("the file ends inside a frame", seen=f"{len(rows)} atoms", expected=f"{n} atoms")
    info = parse_comment(comment)
    columns = _columns(rows, str(info.pop("Properties", "species:S:1:pos:R:3")))
    return _record(info, columns, reading, where)


def _atom_count(line: str) -> int:
    text = line.strip()
    if not text.isdigit() or not 0 < int(text) <= _MAX_ATOMS:
        raise InputError("not a number of atoms", seen=text[:60], expected="a positive integer on a line of its own")
    return int(text)


@lru_cache(maxsize=1024)
def _declared(properties: str) -> tuple[tuple[str, str, int], ...]:
    """(name, kind, width) of the columns ``Properties`` declares."""
    parts = properties.split(":")
    triples = list(zip(parts[::3], parts[1::3], parts[2::3], strict=False))
    if len(parts) % 3 or any(kind not in _KINDS or not n.isdigit() or int(n) < 1 for _, kind, n in triples):
        expected = "name:kind:columns triples, kind S, R, I or L"
        raise InputError("Properties is malformed", seen=properties[:200], expected=expected)
    if len({name for name, *_ in triples}) < len(triples):
        raise InputError("Properties names a column twice", seen=properties[:200])
    return tuple((name, kind, int(n)) for name, kind, n in triples)


def _columns(table: list[list[str]], properties: str) -> dict[str, np.ndarray]:
    """Per-atom columns by name, as ``Properties`` declares them."""
    triples = _declared(properties)
    width = sum(n for *_, n in triples)
    for i, row in enumerate(table, start=1):
        if len(row) != width:
            raise InputError(
                f"atom {i} has the wrong number of columns", seen=len(row), expected=f"{width} for {properties[:200]}"
            )
    columns: dict[str, np.ndarray] = {}
    start = 0
    for name, kind, n in triples:
        stop = start + n
        try:
            if kind == "R":
                values = _reals(table, start, stop)
            else:
                values = np.array([[_KINDS[kind](word) for word in row[start:stop]] for row in table])
        except (ValueError, KeyError, OverflowError) as error:
            raise InputError(f"column {name} holds something that is not of kind {kind}: {error}") from error
        columns[name] = values[:, 0] if n == 1 else values
        start = stop
    return columns


def _reals(table: list[list[str]], start: int, stop: int) -> FloatArray:
    words = [word for row in table for word in row[start:stop]]
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = [real(word) for word in words]
    return np.array(values).reshape(len(table), stop - start)


def _record(info: dict[str, Any], columns: dict[str, np.ndarray], reading: Reading, where: str) -> Record:
    meta = _meta(info.pop(LABEL_KEY, None))
    return assemble(_geometry(info, columns), info, columns, reading, _origin(meta), where)


def _geometry(info: dict[str, Any], columns: dict[str, np.ndarray]) -> Geometry:
    """The geometry; what is used is taken out of `info` and `columns`."""
    lattice, pbc = _pop(info, "lattice"), _pop(info, "pbc")
    if np.asarray(pbc).dtype.kind == "i" and set(np.ravel(pbc).tolist()) <= {0, 1}:
        pbc = np.asarray(pbc, dtype=bool)  # 1 1 1 is a habit of some
    check_periodic(lattice is not None if pbc is None else pbc, cell=lattice is not None)
    size = 3 if np.shape(lattice) == (3,) else 9
    cell = as_numbers(lattice, (size,), "Lattice")
    if "pos" not in columns:
        raise InputError("column pos is missing", seen=", ".join(columns), expected="species:S:1:pos:R:3")
    matrix = np.diag(cell) if size == 3 else cell.reshape(3, 3)
    return Geometry(_species(columns), matrix, columns.pop("pos"), columns.pop("constrained", None))


def _pop(info: dict[str, Any], lower: str) -> Any:
    """Take out the key that is `lower` in any case."""
    name = next((key for key in info if key.lower() == lower), None)
    return None if name is None else info.pop(name)


def _species(columns: dict[str, np.ndarray]) -> tuple[str, ...]:
    species = columns.pop("species", None)
    numbers = columns.pop("Z", None)
    if species is None and numbers is None:
        raise InputError("column species is missing", seen=", ".join(columns), expected="species:S:1:pos:R:3")
    named = None if species is None else tuple(_symbol(s) for s in species.tolist())
    if numbers is None:
        return named or ()
    if numbers.dtype.kind != "i" or not ((numbers > 0) & (numbers < len(chemical_symbols))).all():
        raise InputError("unknown element", seen=numbers.tolist(), expected="atomic numbers")
    numbered = tuple(chemical_symbols[z] for z in numbers)
    if named is not None and named != numbered:
        raise InputError("the columns species and Z name different elements", seen=f"{named[:8]} and {numbered[:8]}")
    return numbered


@lru_cache(maxsize=256)
def _symbol(word: object) -> str:
    """A chemical symbol, in the case it is written in; unknown ones as they are."""
    text = sys.intern(str(word))
    return text if text in atomic_numbers else text.capitalize()


def _meta(meta: Any) -> dict[str, Any]:
    if meta is None:
        return {}
    if not isinstance(meta, dict):
        raise InputError(f"{LABEL_KEY} is malformed", seen=str(meta)[:80], expected="a JSON object")
    return meta


def _origin(meta: dict[str, Any]) -> Origin:
    try:
        level = level_from_text(json.dumps(meta["level_of_theory"])) if "level_of_theory" in meta else None
        extra = {
            "cost": Cost(**meta.get("cost", {})),
            "attempts": int(meta.get("attempts", 1)),
            "details": meta.get("details", {}),
        }
    except (TypeError, ValueError) as error:
        raise InputError(f"{LABEL_KEY} is malformed: {error}", seen=str(meta)[:80]) from error
    return Origin(level, bool(meta.get("non_magnetic_frame")), extra)
