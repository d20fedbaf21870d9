"""Structures with results in pymatgen's JSON: computed entries, MPtrj, MatPES and their like.

Such files share no layout: a record is any mapping that holds a ``structure``, wherever it stands, and its results
stand beside the structure or under ``outputs``. Energies are eV and forces eV/A in all of them. Stresses are not of one
unit and sign, so theirs has to be told.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.label import LevelOfTheory
from magflow.errors import InputError
from magflow.io.findings import Fate, Findings
from magflow.io.quantities import Keys, Quantity, resembles, spelled
from magflow.io.reading import Geometry, Origin, Reading, assemble, periodic, reading_of
from magflow.io.records import Record, check_periodic

_RESULTS = ("outputs", "data", "calc")
"""Mappings beside a structure whose entries are results of it."""


def iter_pymatgen(
    path: str | Path,
    *,
    keys: Keys | None = None,
    level_of_theory: LevelOfTheory | None = None,
    virial_sign: int | None = None,
    findings: Findings | None = None,
) -> Iterator[Record]:
    """The frames of a file, one after the other; parameters as in :func:`magflow.io.extxyz.iter_extxyz`.

    Raises
    ------
    InputError
        Names the file, the structure (counted from 1), and what is missing or wrong.
    """
    reading = reading_of(keys, level_of_theory, virial_sign, findings)
    yield from periodic(_frames(Path(path), reading), reading.findings)
    reading.check_keys(str(path))


def _frames(path: Path, reading: Reading) -> Iterator[tuple[str, Callable[[], Record]]]:
    """Place of each structure, and what makes its record."""
    where = ""
    for count, found in enumerate(_structures(_load(path)), start=1):
        where = f"{path}: structure {count}"
        yield where, partial(_record, found, reading, where)
    if not where:
        raise InputError("the file holds no structure", where=str(path))


def _load(path: Path) -> Any:
    try:
        data = path.read_bytes()
        return json.loads(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data)
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"the file cannot be read: {error}", where=str(path), expected="JSON") from error


def _structures(content: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping that holds a structure, or is one, in the order of the file."""
    if isinstance(content, list):
        for item in content:
            yield from _structures(item)
    elif isinstance(content, dict):
        if _is_structure(content):
            yield {"structure": content}
        elif _is_structure(content.get("structure")):
            yield content
        else:
            for item in content.values():
                yield from _structures(item)


def _is_structure(content: Any) -> bool:
    return isinstance(content, dict) and "lattice" in content and "sites" in content


def _record(found: Mapping[str, Any], reading: Reading, where: str) -> Record:
    from pymatgen.core import Structure

    try:
        structure = Structure.from_dict(found["structure"])
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"the structure is malformed: {type(error).__name__}: {error}") from error
    if not structure.is_ordered:
        raise InputError("the structure has sites with mixed occupation", seen=structure.formula)
    check_periodic(np.array(structure.lattice.pbc))
    info, columns = _values(found, structure, reading, where)
    species = tuple(site.specie.symbol for site in structure)
    geometry = Geometry(species, structure.lattice.matrix, structure.cart_coords, None)
    return assemble(geometry, info, columns, reading, Origin(), where)


def _values(
    found: Mapping[str, Any], structure: Any, reading: Reading, where: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Results beside the structure, and properties of its sites: per frame, and per atom."""
    flat = {name: value for name, value in found.items() if name != "structure" and not name.startswith("@")}
    for name in _RESULTS:
        if isinstance(flat.get(name), dict):
            flat |= flat.pop(name)
    info: dict[str, Any] = {}
    columns: dict[str, np.ndarray] = {}
    for name, value in flat.items():
        _sort(name, value, len(structure), info, columns)
    for name, values in structure.site_properties.items():
        if any(v is None for v in values) or name in columns:
            continue
        plain = [getattr(v, "global_moment", v) for v in values]
        _sort(name, plain, len(structure), info, columns)
        if name in columns and _is(name, Quantity.MAGMOMS):
            reading.findings.note(Fate.GUESSED, f"{name} of the structure is what was obtained, no start", where)
    told = {chosen.name for _, chosen in reading.keys}
    for name in [n for n in info if _is(n, Quantity.STRESS) and n not in told]:
        info.pop(name)
        reading.findings.note(
            Fate.LEFT_OUT, f"{name}: its unit and sign have to be told, --keys stress={name}@-kB", where
        )
    return info, columns


def _is(name: str, quantity: Quantity) -> bool:
    spelling = spelled(name)
    return spelling is not None and spelling.quantity is quantity


def _sort(name: str, value: Any, n: int, info: dict[str, Any], columns: dict[str, np.ndarray]) -> None:
    """Put a value where its shape says it belongs; what is not there is nothing."""
    if value is None:
        return
    try:
        array = np.array(value)
    except ValueError:  # a ragged list
        array = np.array(None)
    if array.dtype.kind in "iufb" and array.ndim in (1, 2) and len(array) == n and not _per_frame(name):
        columns[name] = array
    elif array.dtype.kind in "iufb" and array.ndim:
        info[name] = array.ravel()
    else:
        info[name] = value


def _per_frame(name: str) -> bool:
    spelling = spelled(name)
    quantity = resembles(name) if spelling is None else spelling.quantity
    return quantity is not None and not quantity.per_atom
