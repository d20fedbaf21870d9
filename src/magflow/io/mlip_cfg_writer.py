"""Writing MLIP ``.cfg``; :mod:`magflow.io.mlip_cfg` says what the sections and columns mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.moments import is_collinear
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.io.levels import level_text
from magflow.io.mlip_cfg import (
    DERIVATIVE_COLUMNS,
    ENERGY_DERIVATIVE,
    FORCE_COLUMNS,
    LEVEL_FEATURE,
    MOMENT_COLUMNS,
    POSITION_COLUMNS,
)
from magflow.io.mlip_sections import STRESS_KEYS
from magflow.io.records import Record, Writable, as_record, located, losses_of_targets
from magflow.io.text import write_text


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
    order = list(elements)
    return write_text(path, (_block(count, item, order, en_der_sign) for count, item in enumerate(items, start=1)))


def losses_cfg(record: Record) -> list[str]:
    """What of a record has no place here."""
    lost = losses_of_targets(record)
    lost += [f"the key {key}" for key, value in record.info.items() if not is_feature(key, value)]
    return lost + [f"the column {name}" for name in record.columns]


def _block(count: int, item: Writable, elements: list[str], en_der_sign: int) -> str:
    with located(f"frame {count}"):
        return ("" if count == 1 else "\n") + _format(as_record(item), elements, en_der_sign)


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
    _put(table, POSITION_COLUMNS, frame.positions)
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
        _put(table, FORCE_COLUMNS, label.forces)
    _put(table, MOMENT_COLUMNS, magmoms)
    _put(table, DERIVATIVE_COLUMNS, derivatives)
    rows = [" ".join(_number(v) for v in row) for row in zip(*table.values(), strict=True)]
    lines = ["BEGIN_CFG", " Size", f"    {len(frame)}", " Supercell"]
    lines += ["    " + " ".join(map(_number, vector)) for vector in frame.cell]
    lines += [" AtomData:  " + " ".join(table), *(f"    {row}" for row in rows)]
    if energy is not None:
        lines += [" Energy", f"    {_number(energy)}"]
    if label is not None and label.stress is not None:
        plus = -label.stress * frame.volume
        lines += [" PlusStress:  " + " ".join(STRESS_KEYS), "    " + " ".join(map(_number, plus))]
    lines += [f" Feature   {key}\t{value}" for key, value in record.info.items() if is_feature(key, value)]
    if label is not None and (level := level_text(label.level_of_theory)):
        lines.append(f" Feature   {LEVEL_FEATURE}\t{level}")
    return "\n".join([*lines, "END_CFG", ""])


def _z_to_x(vectors: FloatArray | None) -> FloatArray | None:
    return None if vectors is None else vectors[:, [2, 0, 1]]


def is_feature(key: str, value: object) -> bool:
    """Whether an extra key of a frame can be a feature: one word, and a number or one line of text."""
    one_line = isinstance(value, str) and value.strip() and "\n" not in value and value == value.strip()
    return len(key.split()) == 1 and (bool(one_line) or isinstance(value, int | float))


def _put(table: dict[str, Sequence[Any]], names: tuple[str, ...], values: FloatArray | None) -> None:
    if values is not None:
        table.update(zip(names, values.T, strict=True))


def _number(value: float | int) -> str:
    """Shortest text that reads back as the same number, without an exponent, which some readers do not know."""
    if isinstance(value, int | np.integer):
        return str(value)
    return np.format_float_positional(value, unique=True, trim="0")
