"""MLIP-2/MLIP-3 configuration files (``.cfg``), in and out.

Layout: the MLIP manual (Novikov et al., Mach. Learn.: Sci. Technol. 2, 025002, 2021) and the magnetic columns of
MLIP-3. Differences from the house, converted here:

- ``PlusStress`` is minus stress times volume, eV, order xx yy zz yz xz xy.
- collinear moments stand in the **x** column ``magmom_x``, the house has them along z.
- ``en_der_m*`` is +dE/dm in the source of MLIP-3 and -dE/dm in the published Fe-Al set: its sign has to be told.
- types are numbers: which element is which has to be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import LevelOfTheory
from magflow.core.moments import is_collinear
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.io.records import Record, Writable, as_record, build_label, located, read_text, write_text

ENERGY_DERIVATIVE = 1
"""``en_der_m*`` is +dE/dm (MLIP-3's source)."""
MAGNETIC_FORCE = -1
"""``en_der_m*`` is -dE/dm (the published Fe-Al set)."""

_MOMENTS = ("magmom_x", "magmom_y", "magmom_z")
_DERIVATIVES = ("en_der_mx", "en_der_my", "en_der_mz")
_STRESS_KEYS = ["xx", "yy", "zz", "yz", "xz", "xy"]


def read_cfg(
    path: str | Path,
    elements: Sequence[str],
    *,
    en_der_sign: int | None = None,
    level_of_theory: LevelOfTheory | None = None,
) -> list[Record]:
    """All configurations of a file.

    Parameters
    ----------
    elements
        Element of type 0, 1, ...
    en_der_sign
        :data:`ENERGY_DERIVATIVE` or :data:`MAGNETIC_FORCE`; needed when the file has ``en_der_m*`` columns.
    level_of_theory
        Level of the labels. None: the level ``unspecified``.

    Returns
    -------
    list of Record
        Features are in ``info``; ``nbh_grades`` and other columns in ``columns``.

    Raises
    ------
    InputError
        Names the file, the configuration (counted from 1), its line, and what is missing or wrong.
    """
    lines = read_text(path, "an MLIP .cfg file").splitlines()
    starts = [i for i, line in enumerate(lines) if line.strip() == "BEGIN_CFG"]
    if not starts:
        raise InputError("the file holds no configuration", where=str(path), expected="BEGIN_CFG ... END_CFG")
    with located(f"{path}: before the first configuration"):
        _nothing_but_space(lines[: starts[0]])
    records = []
    for count, (start, stop) in enumerate(zip(starts, [*starts[1:], len(lines)], strict=True), start=1):
        with located(f"{path}: configuration {count} (line {start + 1})"):
            block = _block(lines[start + 1 : stop])
            records.append(_record(_parse(block), list(elements), en_der_sign, level_of_theory))
    return records


def _block(lines: list[str]) -> list[str]:
    for i, line in enumerate(lines):
        if line.strip() == "END_CFG":
            _nothing_but_space(lines[i + 1 :])
            return [text for text in lines[:i] if text.strip()]
    raise InputError("the configuration does not end", expected="END_CFG", hint="the file may be truncated")


def _nothing_but_space(lines: list[str]) -> None:
    """Refuse what may be a configuration whose first line is damaged."""
    for line in lines:
        if line.strip():
            raise InputError("something stands outside of BEGIN_CFG and END_CFG", seen=line.strip()[:60])


def _parse(lines: list[str]) -> dict[str, Any]:
    """Sections of one configuration: size, cell, table (names, rows), energy, stress, features."""
    found: dict[str, Any] = {"features": {}, "table": None}
    i = 0
    while i < len(lines):
        head, rest = [*lines[i].split(None, 1), ""][:2]
        i += 1
        match head.rstrip(":"):
            case "Size":
                text = lines[i].strip() if i < len(lines) else ""
                if not text.isdecimal() or int(text) < 1:
                    raise InputError("Size is malformed", seen=text[:60], expected="a positive integer")
                found["size"] = int(text)
                i += 1
            case "Supercell":
                found["cell"] = _floats(lines[i : i + 3], 3, "Supercell")
                i += 3
            case "AtomData":
                names = rest.split()
                if len(set(names)) < len(names):
                    raise InputError("AtomData names a column twice", seen=rest)
                if "size" not in found:
                    raise InputError("Size is missing", expected="Size before AtomData")
                rows = lines[i : i + found["size"]]
                found["table"] = dict(zip(names, _floats(rows, len(names), "AtomData").T, strict=True))
                i += len(rows)
            case "Energy":
                found["energy"] = float(_floats(lines[i : i + 1], 1, "Energy")[0, 0])
                i += 1
            case "PlusStress":
                order = rest.split()
                if sorted(order) != sorted(_STRESS_KEYS):
                    raise InputError("PlusStress is malformed", seen=rest, expected=" ".join(_STRESS_KEYS))
                values = _floats(lines[i : i + 1], 6, "PlusStress")[0]
                found["plus_stress"] = np.array([values[order.index(key)] for key in _STRESS_KEYS])
                i += 1
            case "Feature":
                key, _, value = rest.strip().partition("\t")
                if not value:
                    key, _, value = rest.strip().partition(" ")
                found["features"][key] = value.strip()
            case _:
                raise InputError("not a section of a .cfg file", seen=head, expected="Size, Supercell, AtomData, ...")
    return found


def _floats(lines: list[str], width: int, what: str) -> FloatArray:
    rows = [line.split() for line in lines]
    if not rows or any(len(row) != width for row in rows):
        raise InputError(
            f"{what} is malformed", seen=" ".join(rows[0]) if rows else "nothing", expected=f"{width} numbers"
        )
    try:
        return np.array(rows, dtype=float)
    except ValueError as error:
        raise InputError(f"{what} holds something that is not a number: {error}") from error


def _record(
    found: dict[str, Any], elements: list[str], en_der_sign: int | None, level_of_theory: LevelOfTheory | None
) -> Record:
    for name in ("size", "cell", "table"):
        if found.get(name) is None:
            raise InputError(f"{ {'size': 'Size', 'cell': 'Supercell', 'table': 'AtomData'}[name] } is missing")
    table, n = dict(found["table"]), found["size"]
    table.pop("id", None)
    if len(next(iter(table.values()))) != n or found["cell"].shape != (3, 3):
        raise InputError("the configuration is incomplete", expected=f"{n} atoms and 3 lattice vectors")
    types = _take(table, ("type",), required=True)[:, 0]
    if not np.isin(types, np.arange(len(elements))).all():
        raise InputError(
            "an atom has a type without an element",
            seen=sorted({f"{t:g}" for t in types}),
            expected=f"0 to {len(elements) - 1} ({', '.join(elements)})",
            hint="name the element of every type, in order",
        )
    positions = _take(table, ("cartes_x", "cartes_y", "cartes_z"), required=True)
    magmoms, derivatives = _take(table, _MOMENTS), _take(table, _DERIVATIVES)
    if magmoms is None or not np.any(magmoms[:, 1:]):
        magmoms, derivatives = _x_to_z(magmoms), _x_to_z(derivatives)
    forces = _take(table, ("fx", "fy", "fz"))
    frame = Frame(tuple(elements[int(t)] for t in types), found["cell"], positions, magmoms)
    columns, info = table, dict(found["features"])
    if "energy" not in found:
        return Record(frame, None, info, columns)
    label = build_label(
        frame,
        energy=found["energy"],
        level_of_theory=level_of_theory,
        forces=forces,
        stress=-found["plus_stress"] / frame.volume if "plus_stress" in found else None,
        magmoms=frame.magmoms,
        magnetic_forces=_magnetic_forces(derivatives, en_der_sign),
    )
    return Record(frame, label, info, columns)


def _take(table: dict[str, FloatArray], names: tuple[str, ...], *, required: bool = False) -> Any:
    """(N, k) columns taken out of `table`; None if all are absent and not required."""
    present = [name for name in names if name in table]
    if not present and not required:
        return None
    if len(present) < len(names):
        raise InputError("columns are missing", seen=", ".join(table), expected=", ".join(names))
    return np.column_stack([table.pop(name) for name in names])


def _x_to_z(vectors: FloatArray | None) -> FloatArray | None:
    return None if vectors is None else vectors[:, [1, 2, 0]]


def _z_to_x(vectors: FloatArray | None) -> FloatArray | None:
    return None if vectors is None else vectors[:, [2, 0, 1]]


def _magnetic_forces(derivatives: FloatArray | None, sign: int | None) -> FloatArray | None:
    if derivatives is None:
        return None
    if sign not in (ENERGY_DERIVATIVE, MAGNETIC_FORCE):
        raise InputError(
            "the file has en_der_m* columns, and files disagree about their sign",
            seen=f"en_der_sign = {sign}",
            expected="+1 (dE/dm, MLIP-3) or -1 (-dE/dm, the published Fe-Al set)",
        )
    return -sign * derivatives


def write_cfg(
    path: str | Path, items: Iterable[Writable], elements: Sequence[str], *, en_der_sign: int = ENERGY_DERIVATIVE
) -> int:
    """Write frames, labelled frames or records; returns how many.

    A labelled frame is written with its achieved moments. Numbers have all their digits.

    Raises
    ------
    InputError
        If an element is not in `elements`, or all moments of a frame lie along x (they would be read as collinear
        moments along z).
    """
    blocks = []
    for count, item in enumerate(items, start=1):
        with located(f"frame {count}"):
            blocks.append(_format(as_record(item), list(elements), en_der_sign))
    write_text(path, "\n".join(blocks))
    return len(blocks)


def _format(record: Record, elements: list[str], en_der_sign: int) -> str:
    frame = record.configuration
    # A failed calculation has no energy to write: its frame goes without a label.
    energy = None if record.label is None else record.label.energy
    label = None if energy is None else record.label
    unknown = sorted(set(frame.species) - set(elements))
    if unknown:
        raise InputError("an element has no type", seen=", ".join(unknown), expected="only " + ", ".join(elements))
    table: dict[str, Sequence[Any]] = {
        "id": range(1, len(frame) + 1),
        "type": [elements.index(s) for s in frame.species],
    }
    _put(table, ("cartes_x", "cartes_y", "cartes_z"), frame.positions)
    magmoms = frame.magmoms
    # An atom that was not constrained has relaxed its moment: dE/dm is zero there.
    derivatives = None if label is None or label.magnetic_forces is None else -en_der_sign * label.magnetic_forces
    derivatives = None if derivatives is None else np.nan_to_num(derivatives, nan=0.0)
    if magmoms is None or is_collinear(magmoms):
        magmoms, derivatives = _z_to_x(magmoms), _z_to_x(derivatives)
    elif not np.any(magmoms[:, 1:]):
        raise InputError(
            "all moments lie along x, which this format reads as collinear moments along z",
            hint="rotate the moments to the z axis",
        )
    if label is not None:
        _put(table, ("fx", "fy", "fz"), label.forces)
    _put(table, _MOMENTS, magmoms)
    _put(table, _DERIVATIVES, derivatives)
    rows = [" ".join(_number(v) for v in row) for row in zip(*table.values(), strict=True)]
    lines = ["BEGIN_CFG", " Size", f"    {len(frame)}", " Supercell"]
    lines += ["    " + " ".join(map(_number, vector)) for vector in frame.cell]
    lines += [" AtomData:  " + " ".join(table), *(f"    {row}" for row in rows)]
    if energy is not None:
        lines += [" Energy", f"    {_number(energy)}"]
    if label is not None and label.stress is not None:
        plus = -label.stress * frame.volume
        lines += [" PlusStress:  " + " ".join(_STRESS_KEYS), "    " + " ".join(map(_number, plus))]
    lines += [
        f" Feature   {key}\t{value}" for key, value in record.info.items() if isinstance(value, str | int | float)
    ]
    return "\n".join([*lines, "END_CFG", ""])


def _put(table: dict[str, Sequence[Any]], names: tuple[str, ...], values: FloatArray | None) -> None:
    if values is not None:
        table.update(zip(names, values.T, strict=True))


def _number(value: float | int) -> str:
    """Shortest text that reads back as the same number, without an exponent, which some readers do not know."""
    if isinstance(value, int | np.integer):
        return str(value)
    return np.format_float_positional(value, unique=True, trim="0")
