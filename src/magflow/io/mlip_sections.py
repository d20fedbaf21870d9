"""The sections of one configuration in MLIP's ``.cfg``: what stands where, not yet what it means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.io.keyvalues import real, scalar

STRESS_KEYS = ("xx", "yy", "zz", "yz", "xz", "xy")
_MODERN = "rewrite the file with a newer MLIP, which writes PlusStress"


class _Lines:
    """The lines of one configuration, taken from the top."""

    def __init__(self, lines: list[str]) -> None:
        self._lines, self._next = lines, 0

    def __bool__(self) -> bool:
        return self._next < len(self._lines)

    def take(self, count: int) -> list[str]:
        """The next `count` lines, or as many as there are."""
        start = self._next
        self._next += count
        return self._lines[start : self._next]


def parse_sections(block: list[str]) -> dict[str, Any]:
    """Sections of one configuration: size, cell, table (names, columns), energy, plus_stress, features.

    Raises
    ------
    InputError
        Names the section that is unknown, given twice or malformed.
    """
    found: dict[str, Any] = {"features": {}}
    lines = _Lines(block)
    while lines:
        head, rest = [*lines.take(1)[0].split(None, 1), ""][:2]
        section = head.rstrip(":").lower()
        if section == "feature":
            _feature(rest, found["features"])
            continue
        if section not in _SECTIONS:
            _refuse_section(head)
        name, read = _SECTIONS[section]
        if name in found:
            raise InputError("a section is given twice", seen=head)
        found[name] = read(rest, lines, found)
    return found


def _refuse_section(head: str) -> None:
    if head.rstrip(":") in ("Stress", "Virial", "MinusStress", "VirialStress"):
        raise InputError(
            "a stress of another sign or unit than PlusStress", seen=head, expected="PlusStress, eV", hint=_MODERN
        )
    raise InputError("not a section of a .cfg file", seen=head, expected="Size, Supercell, AtomData, ...")


def _size(rest: str, lines: _Lines, found: dict[str, Any]) -> int:
    text = "".join(lines.take(1)).strip()
    if not text.isdecimal() or int(text) < 1:
        raise InputError("Size is malformed", seen=text[:60], expected="a positive integer")
    return int(text)


def _supercell(rest: str, lines: _Lines, found: dict[str, Any]) -> FloatArray:
    return _floats(lines.take(3), 3, "Supercell")


def _atom_data(rest: str, lines: _Lines, found: dict[str, Any]) -> dict[str, FloatArray]:
    names = rest.split()
    if len(set(names)) < len(names):
        raise InputError("AtomData names a column twice", seen=rest)
    if "size" not in found:
        raise InputError("Size is missing", expected="Size before AtomData")
    rows = _floats(lines.take(found["size"]), len(names), "AtomData")
    return dict(zip(names, rows.T, strict=True))


def _energy(rest: str, lines: _Lines, found: dict[str, Any]) -> float:
    return float(_floats(lines.take(1), 1, "Energy")[0, 0])


def _plus_stress(rest: str, lines: _Lines, found: dict[str, Any]) -> FloatArray:
    order = rest.split()
    if sorted(order) != sorted(STRESS_KEYS):
        raise InputError("PlusStress is malformed", seen=rest, expected=" ".join(STRESS_KEYS))
    values = _floats(lines.take(1), 6, "PlusStress")[0]
    return np.array([values[order.index(key)] for key in STRESS_KEYS])


def _feature(rest: str, features: dict[str, Any]) -> None:
    key, _, value = rest.strip().partition("\t")
    if not value:
        key, _, value = rest.strip().partition(" ")
    value = value.strip()
    # MLIP continues a value of several lines by naming the feature again
    features[key] = f"{features[key]}\n{value}" if key in features else scalar(value)


_SECTIONS: dict[str, tuple[str, Callable[[str, _Lines, dict[str, Any]], Any]]] = {
    "size": ("size", _size),
    "supercell": ("cell", _supercell),
    "atomdata": ("table", _atom_data),
    "energy": ("energy", _energy),
    "plusstress": ("plus_stress", _plus_stress),
}


def _floats(lines: list[str], width: int, what: str) -> FloatArray:
    rows = [line.split() for line in lines]
    if not rows or any(len(row) != width for row in rows):
        raise InputError(
            f"{what} is malformed", seen=" ".join(rows[0]) if rows else "nothing", expected=f"{width} numbers"
        )
    try:
        return np.array([[real(word) for word in row] for row in rows])
    except ValueError as error:
        raise InputError(f"{what} holds something that is not a number: {error}") from error
