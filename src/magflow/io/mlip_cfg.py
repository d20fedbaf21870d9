"""MLIP-2/MLIP-3 configuration files (``.cfg``).

Layout: the MLIP manual (Novikov et al., Mach. Learn.: Sci. Technol. 2, 025002, 2021) and the magnetic columns of
MLIP-3. Differences from the house, converted here:

- ``PlusStress`` is minus stress times volume, eV, order xx yy zz yz xz xy.
- collinear moments stand in the **x** column ``magmom_x``, the house has them along z.
- ``en_der_m*`` is +dE/dm in the source of MLIP-3 and -dE/dm in the published Fe-Al set: its sign has to be told.
- types are numbers: which element is which has to be told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from magflow.core.frame import Frame
from magflow.core.label import LevelOfTheory
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.io.findings import Fate, Findings
from magflow.io.levels import level_from_text
from magflow.io.mlip_sections import parse_sections
from magflow.io.reading import periodic
from magflow.io.records import NotPeriodicError, Record, build_label
from magflow.io.text import read_lines

ENERGY_DERIVATIVE = 1
"""``en_der_m*`` is +dE/dm (MLIP-3's source)."""
MAGNETIC_FORCE = -1
"""``en_der_m*`` is -dE/dm (the published Fe-Al set)."""

POSITION_COLUMNS = ("cartes_x", "cartes_y", "cartes_z")
FORCE_COLUMNS = ("fx", "fy", "fz")
MOMENT_COLUMNS = ("magmom_x", "magmom_y", "magmom_z")
DERIVATIVE_COLUMNS = ("en_der_mx", "en_der_my", "en_der_mz")
LEVEL_FEATURE = "magflow_level"
"""Feature that carries the level of theory of a label magflow wrote."""


def read_cfg(path: str | Path, elements: Sequence[str], **options: Any) -> list[Record]:
    """All configurations of a file; options and errors are those of :func:`iter_cfg`."""
    return list(iter_cfg(path, elements, **options))


def iter_cfg(
    path: str | Path,
    elements: Sequence[str],
    *,
    en_der_sign: int | None = None,
    level_of_theory: LevelOfTheory | None = None,
    findings: Findings | None = None,
) -> Iterator[Record]:
    """The configurations of a file, one after the other.

    Parameters
    ----------
    elements
        Element of type 0, 1, ...
    en_der_sign
        :data:`ENERGY_DERIVATIVE` or :data:`MAGNETIC_FORCE`; needed when the file has ``en_der_m*`` columns.
    level_of_theory
        Level of the labels. None: the level ``unspecified``.
    findings
        Filled while the file is read.

    Yields
    ------
    Record
        Features are in ``info``; ``nbh_grades`` and other columns in ``columns``.

    Raises
    ------
    InputError
        Names the file, the configuration (counted from 1), its line, and what is missing or wrong.
    """
    findings = Findings() if findings is None else findings
    read = partial(_read, elements=_symbols(elements), en_der_sign=en_der_sign, level_of_theory=level_of_theory)
    built = ((where, partial(read, block)) for where, block in _blocks(path))
    for record in periodic(built, findings):
        for name in record.info:
            findings.note(Fate.EXTRA, f"the feature {name}", str(path))
        for name in record.columns:
            findings.note(Fate.EXTRA, f"the column {name}", str(path))
        findings.count_record(record)
        yield record


def _read(
    block: list[str], elements: list[str], en_der_sign: int | None, level_of_theory: LevelOfTheory | None
) -> Record:
    return _record(parse_sections(block), elements, en_der_sign, level_of_theory)


def _symbols(elements: Sequence[str]) -> list[str]:
    unknown = [e for e in elements if not atomic_numbers.get(e)]
    if unknown or len(set(elements)) < len(elements):
        raise InputError(
            "not a list of elements", seen=", ".join(elements), expected="the chemical symbol of type 0, 1, ..., once"
        )
    return list(elements)


def _blocks(path: str | Path) -> Iterator[tuple[str, list[str]]]:
    """Place of every configuration, and its lines with text between BEGIN_CFG and END_CFG."""
    count, where, stray = 0, f"{path}: before the first configuration", ""
    block: list[str] | None = None
    for number, line in enumerate(read_lines(path, "an MLIP .cfg file"), start=1):
        text = line.strip()
        if block is None and text == "BEGIN_CFG":
            _nothing_but_space(stray, where)
            count += 1
            where, block = f"{path}: configuration {count} (line {number})", []
        elif block is not None and text == "END_CFG":
            yield where, block
            block = None
        elif block is not None and text == "BEGIN_CFG":
            break
        elif block is not None and text:
            block.append(line)
        elif text:
            stray = stray or text
            if count:
                _nothing_but_space(stray, where)
    if block is not None:
        raise InputError(
            "the configuration does not end", where=where, expected="END_CFG", hint="the file may be truncated"
        )
    if not count:
        raise InputError("the file holds no configuration", where=str(path), expected="BEGIN_CFG ... END_CFG")


def _nothing_but_space(stray: str, where: str) -> None:
    """Refuse what may be a configuration whose first line is damaged."""
    if stray:
        raise InputError("something stands outside of BEGIN_CFG and END_CFG", where=where, seen=stray[:60])


def _record(
    found: dict[str, Any], elements: list[str], en_der_sign: int | None, level_of_theory: LevelOfTheory | None
) -> Record:
    for name, title in (("size", "Size"), ("table", "AtomData")):
        if name not in found:
            raise InputError(f"{title} is missing")
    if "cell" not in found:
        raise NotPeriodicError("Supercell is missing", hint="put enough vacuum into a cell and declare it")
    table, n = dict(found["table"]), found["size"]
    table.pop("id", None)
    if not table or len(next(iter(table.values()))) != n or found["cell"].shape != (3, 3):
        raise InputError("the configuration is incomplete", expected=f"{n} atoms and 3 lattice vectors")
    species = _species(table, elements, n)
    positions = _positions(table, found["cell"])
    magmoms, derivatives = _take(table, MOMENT_COLUMNS), _take(table, DERIVATIVE_COLUMNS)
    if magmoms is None or not np.any(magmoms[:, 1:]):
        magmoms, derivatives = _x_to_z(magmoms), _x_to_z(derivatives)
    forces = _take(table, FORCE_COLUMNS)
    frame = Frame(species, found["cell"], positions, magmoms)
    columns, info = table, dict(found["features"])
    level = level_from_text(info.pop(LEVEL_FEATURE, None)) or level_of_theory
    if "energy" not in found:
        _refuse_without_energy(found, forces, derivatives)
        return Record(frame, None, info, columns)
    label = build_label(
        frame,
        energy=found["energy"],
        level_of_theory=level,
        forces=forces,
        stress=-found["plus_stress"] / frame.volume if "plus_stress" in found else None,
        magmoms=frame.magmoms,
        magnetic_forces=_magnetic_forces(derivatives, en_der_sign),
    )
    return Record(frame, label, info, columns)


def _refuse_without_energy(found: dict[str, Any], forces: FloatArray | None, derivatives: FloatArray | None) -> None:
    there = {"forces": forces, "PlusStress": found.get("plus_stress"), "en_der_m*": derivatives}
    names = [name for name, values in there.items() if values is not None]
    if names:
        raise InputError(
            "the configuration has " + ", ".join(names) + " but no energy", expected="Energy, or no label at all"
        )


def _species(table: dict[str, FloatArray], elements: list[str], n: int) -> tuple[str, ...]:
    if "type" not in table and len(elements) == 1:  # MLIP takes them for type 0
        return (elements[0],) * n
    types = _take(table, ("type",), required=True)[:, 0]
    if not np.isin(types, np.arange(len(elements))).all():
        raise InputError(
            "an atom has a type without an element",
            seen=sorted({f"{t:g}" for t in types}),
            expected=f"0 to {len(elements) - 1} ({', '.join(elements)})",
            hint="name the element of every type, in order",
        )
    return tuple(elements[int(t)] for t in types)


def _positions(table: dict[str, FloatArray], cell: FloatArray) -> FloatArray:
    fractional: FloatArray | None = _take(table, ("direct_x", "direct_y", "direct_z"))
    if fractional is None:
        cartesian: FloatArray = _take(table, POSITION_COLUMNS, required=True)
        return cartesian
    if _take(table, POSITION_COLUMNS) is not None:
        raise InputError("positions are given twice", seen="cartes_* and direct_*", expected="one of them")
    return fractional @ cell


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


def _magnetic_forces(derivatives: FloatArray | None, sign: int | None) -> FloatArray | None:
    if derivatives is None:
        return None
    if sign not in (ENERGY_DERIVATIVE, MAGNETIC_FORCE):
        raise InputError(
            "the file has en_der_m* columns, and files disagree about their sign",
            seen=f"en_der_sign = {sign}",
            expected="+1 (dE/dm, MLIP-3) or -1 (-dE/dm, the published Fe-Al set)",
            hint="say it with --en-der-sign",
        )
    return -sign * derivatives
