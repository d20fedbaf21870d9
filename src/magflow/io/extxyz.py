"""Extended XYZ, the one text format frames, labels and predictions travel in.

Lossless (every float is written with all its digits) and readable by ``ase.io.read``. What the reader makes
of a frame:

================  ==================================================================================
``Lattice``       cell, required; ``pbc`` must be true in all directions where it is given
``free_energy``   energy; ``energy`` stands in where there is none (ASE's ``energy`` is the sigma->0 value)
``forces``        also ``force``
``stress``        9 values (3 x 3) or 6 (Voigt xx yy zz yz xz xy), eV/A^3, positive in tension
``virial``        refused unless its sign is told: files disagree about it
``magmoms``       (N,) or (N, 3) muB: achieved moments of a labelled frame, the moments of a bare one
``target_magmoms``, ``initial_magmoms``  moments imposed; they become the moments of the frame
``magnetic_forces``  (N,) or (N, 3) eV/muB, -dE/dm; NaN on atoms that were not constrained
``constrained``   (N,) which atoms were held at their moment
================  ==================================================================================

Everything else is kept in :attr:`Record.info` and :attr:`Record.columns`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from magflow.core.frame import Frame
from magflow.core.label import Cost, Label, LevelOfTheory
from magflow.core.moments import as_vectors
from magflow.core.types import FloatArray
from magflow.core.units import voigt
from magflow.errors import InputError
from magflow.io.extxyz_writer import format_frame, write_extxyz
from magflow.io.keyvalues import parse_comment
from magflow.io.records import LABEL_KEY, Record, build_label, located, read_text

LABEL_INFO = ("energy", "free_energy", "stress", "virial", LABEL_KEY)
REFERENCE = "reference_"
LABEL_COLUMNS = ("forces", "force", "magnetic_forces")
MOMENT_COLUMNS = ("magmoms", "target_magmoms", "initial_magmoms")

__all__ = ["format_frame", "read_extxyz", "write_extxyz"]

_KINDS: dict[str, Callable[[str], Any]] = {
    "S": str,
    "R": float,
    "I": int,
    "L": {"T": True, "True": True, "F": False, "False": False}.__getitem__,
}
_MAX_ATOMS = 10_000_000


def read_extxyz(
    path: str | Path,
    *,
    level_of_theory: LevelOfTheory | None = None,
    virial_sign: int | None = None,
    labels: bool = True,
) -> list[Record]:
    """All frames of a file.

    Parameters
    ----------
    path
        File to read.
    level_of_theory
        Level of labels that do not carry their own. None: the level ``unspecified``.
    virial_sign
        -1 if ``virial`` is -stress x volume (GAP, DeePMD, MACE), +1 if it is +stress x volume.
    labels
        False: make no labels; the frame gets the moments a potential is to be evaluated at (``magmoms``, else the
        targets), and what would have been a label is kept under names that begin with ``reference_``.

    Raises
    ------
    InputError
        Names the file, the frame (counted from 1), its line, and what is missing or wrong.
    """
    lines = read_text(path, "an extended XYZ file").splitlines()
    records: list[Record] = []
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        with located(f"{path}: frame {len(records) + 1} (line {at + 1})"):
            count = _atom_count(lines[at])
            rows = lines[at + 2 : at + 2 + count]
            if len(rows) < count:
                raise InputError("the file ends inside a frame", seen=f"{len(rows)} atoms", expected=f"{count} atoms")
            info = parse_comment(lines[at + 1])
            columns = _columns(rows, str(info.pop("Properties", "species:S:1:pos:R:3")))
            records.append(_record(info, columns, level_of_theory, virial_sign, labels))
        at += 2 + count
    if not records:
        raise InputError("the file holds no frame", where=str(path), expected="an extended XYZ file")
    return records


def _atom_count(line: str) -> int:
    text = line.strip()
    if not text.isdigit() or not 0 < int(text) <= _MAX_ATOMS:
        raise InputError("not a number of atoms", seen=text[:60], expected="a positive integer on a line of its own")
    return int(text)


def _columns(rows: list[str], properties: str) -> dict[str, np.ndarray]:
    """Per-atom columns by name, as ``Properties`` declares them."""
    parts = properties.split(":")
    expected = "name:kind:columns triples, kind S, R, I or L"
    triples = list(zip(parts[::3], parts[1::3], parts[2::3], strict=False))
    if len(parts) % 3 or any(kind not in _KINDS or not n.isdigit() or int(n) < 1 for _, kind, n in triples):
        raise InputError("Properties is malformed", seen=properties[:200], expected=expected)
    if len({name for name, *_ in triples}) < len(triples):
        raise InputError("Properties names a column twice", seen=properties[:200])
    table = [row.split() for row in rows]
    width = sum(int(n) for *_, n in triples)
    for i, row in enumerate(table, start=1):
        if len(row) != width:
            raise InputError(
                f"atom {i} has the wrong number of columns", seen=len(row), expected=f"{width} for {properties[:200]}"
            )
    columns: dict[str, np.ndarray] = {}
    start = 0
    for name, kind, n in triples:
        stop = start + int(n)
        try:
            values = np.array([[_KINDS[kind](word) for word in row[start:stop]] for row in table])
        except (ValueError, KeyError, OverflowError) as error:
            raise InputError(f"column {name} holds something that is not of kind {kind}: {error}") from error
        columns[name] = values[:, 0] if int(n) == 1 else values
        start = stop
    return columns


def _record(
    info: dict[str, Any],
    columns: dict[str, np.ndarray],
    level_of_theory: LevelOfTheory | None,
    virial_sign: int | None,
    labels: bool,
) -> Record:
    cell, species, positions = _geometry(info, columns)
    n = len(species)
    vector_moments = any(columns[name].ndim == 2 for name in MOMENT_COLUMNS if name in columns)
    moments = {name: as_vectors(columns.pop(name), n, where=name) for name in MOMENT_COLUMNS if name in columns}
    achieved = moments.get("magmoms")
    targets = moments.get("target_magmoms", moments.get("initial_magmoms"))
    constrained = columns.pop("constrained", None)
    found = {name: info.pop(name) for name in LABEL_INFO if name in info}
    of_atoms = {name: columns.pop(name) for name in LABEL_COLUMNS if name in columns}
    if not labels:
        _set_aside(found, info)
        _set_aside(of_atoms, columns)
    found |= of_atoms
    meta = found.pop(LABEL_KEY, None) or {}
    is_label = labels and ("energy" in found or "free_energy" in found)
    if targets is None or not labels:
        targets = achieved if achieved is not None else targets
    frame_moments = None if is_label and _get(meta, "non_magnetic_frame") else targets
    frame = Frame(species, cell, positions, frame_moments, constrained)
    label = None
    if is_label:
        label = _label(frame, found, achieved, meta, level_of_theory, virial_sign)
    elif labels and found:
        raise InputError(
            "the frame has " + ", ".join(found) + " but no energy",
            expected="energy or free_energy, or no label at all",
        )
    return Record(frame, label, info, columns, vector_moments)


def _set_aside(found: dict[str, Any], kept: dict[str, Any]) -> None:
    """Put label values into `kept` under ``reference_`` names; those it has already are left as they are."""
    if "free_energy" in found:
        found["energy"] = found.pop("free_energy")
    for name, value in found.items():
        if name != LABEL_KEY:
            kept.setdefault(REFERENCE + name, value)


def _geometry(info: dict[str, Any], columns: dict[str, np.ndarray]) -> tuple[FloatArray, tuple[str, ...], FloatArray]:
    """Cell, species and positions; what is used is taken out of `info` and `columns`."""
    if "Lattice" not in info:
        raise InputError("Lattice is missing", expected='Lattice="ax ay az bx by bz cx cy cz" in A')
    cell = _numbers(info.pop("Lattice"), (9,), "Lattice").reshape(3, 3)
    pbc = info.pop("pbc", True)
    if not np.all(pbc) or np.asarray(pbc).dtype != bool:
        raise InputError(
            "the frame is not periodic in all three directions",
            seen=f"pbc = {pbc}",
            expected='pbc="T T T"',
            hint="put enough vacuum into the cell and declare it periodic",
        )
    if "pos" not in columns:
        raise InputError("column pos is missing", seen=", ".join(columns), expected="species:S:1:pos:R:3")
    if "species" in columns:
        species = tuple(str(s) for s in columns.pop("species"))
        columns.pop("Z", None)
    elif "Z" in columns:
        numbers = columns.pop("Z")
        if numbers.dtype.kind != "i" or not ((numbers > 0) & (numbers < len(chemical_symbols))).all():
            raise InputError("unknown element", seen=numbers.tolist(), expected="atomic numbers")
        species = tuple(chemical_symbols[z] for z in numbers)
    else:
        raise InputError("column species is missing", seen=", ".join(columns), expected="species:S:1:pos:R:3")
    return cell, species, columns.pop("pos")


def _numbers(value: Any, shape: tuple[int, ...], name: str) -> FloatArray:
    array = np.asarray(value)
    if array.dtype.kind not in "if" or array.shape != shape:
        raise InputError(f"{name} is malformed", seen=str(value)[:120], expected=f"{shape[0] if shape else 1} numbers")
    return array.astype(float)


def _get(meta: Any, key: str) -> Any:
    if not isinstance(meta, dict):
        raise InputError(f"{LABEL_KEY} is malformed", seen=str(meta)[:80], expected="a JSON object")
    return meta.get(key)


def _label(
    frame: Frame,
    found: dict[str, Any],
    achieved: FloatArray | None,
    meta: dict[str, Any],
    level_of_theory: LevelOfTheory | None,
    virial_sign: int | None,
) -> Label:
    magnetic = found.get("magnetic_forces")
    if magnetic is not None and magnetic.shape == (len(frame),):
        magnetic = np.where(np.isnan(magnetic)[:, None], np.nan, magnetic[:, None] * np.array([0.0, 0.0, 1.0]))
    try:
        own = LevelOfTheory.from_dict(meta["level_of_theory"]) if "level_of_theory" in meta else None
        extra = {
            "cost": Cost(**meta.get("cost", {})),
            "attempts": int(meta.get("attempts", 1)),
            "details": meta.get("details", {}),
        }
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise InputError(f"{LABEL_KEY} is malformed: {error}", seen=str(meta)[:80]) from error
    energy = found.get("free_energy", found.get("energy"))
    return build_label(
        frame,
        energy=float(_numbers(energy, (), "energy")),
        level_of_theory=own or level_of_theory,
        forces=found.get("forces", found.get("force")),
        stress=_stress(found, frame.volume, virial_sign),
        magmoms=achieved,
        magnetic_forces=magnetic,
        **extra,
    )


def _stress(found: dict[str, Any], volume: float, virial_sign: int | None) -> FloatArray | None:
    """(6,) Voigt, eV/A^3."""
    if "stress" in found:
        values = np.asarray(found["stress"])
        if values.shape == (6,):
            return _numbers(values, (6,), "stress")
        return voigt(_numbers(values, (9,), "stress").reshape(3, 3))
    if "virial" not in found:
        return None
    if virial_sign not in (-1, 1):
        raise InputError(
            "the frame has a virial and no stress, and files disagree about its sign",
            seen=f"virial_sign = {virial_sign}",
            expected="-1 (virial = -stress x volume, the usual one) or +1",
        )
    values = np.asarray(found["virial"])
    virial = _numbers(values, (6,), "virial") if values.shape == (6,) else None
    if virial is None:
        virial = voigt(_numbers(values, (9,), "virial").reshape(3, 3))
    return virial_sign * virial / volume
