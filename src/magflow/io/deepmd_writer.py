"""Writing DeePMD-kit's npy format; :mod:`magflow.io.deepmd` says what the files mean."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path

import numpy as np

from magflow.core.label import LevelOfTheory
from magflow.core.types import FloatArray
from magflow.core.units import tensor
from magflow.errors import InputError
from magflow.io.deepmd import LEVEL_FILE
from magflow.io.levels import level_text
from magflow.io.records import Record, Writable, as_record, located, losses_of_targets
from magflow.io.text import write_text


def write_deepmd(path: str | Path, items: Iterable[Writable], elements: Sequence[str]) -> list[Path]:
    """Write systems below `path`; returns their folders.

    Frames of one system share their list of species, their level of theory, and which quantities they have: a system
    has a quantity for all of its frames or for none. Labelled frames are written with their achieved moments. Atoms
    that were not constrained get a magnetic force of zero, which is what a relaxed moment has.

    Raises
    ------
    InputError
        If `path` exists and is not an empty folder, or an element is not in `elements`.
    """
    root = Path(path)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError("the output is not an empty folder", where=str(root), hint="choose another name")
    systems: dict[Hashable, list[Record]] = {}
    for item in items:
        record = as_record(item)
        systems.setdefault((record.frame.species, _level(record), tuple(_row(record))), []).append(record)
    folders: list[Path] = []
    for records in systems.values():
        species = records[0].frame.species
        unknown = sorted(set(species) - set(elements))
        if unknown:
            raise InputError("an element has no type", seen=", ".join(unknown), expected="only " + ", ".join(elements))
        folder = root / f"{len(folders):03d}_{records[0].frame.formula}"
        with located(str(folder)):
            rows = [_row(record) for record in records]
        arrays = {name: np.array([row[name].ravel() for row in rows]) for name in rows[0]}
        _write_system(folder, species, list(elements), arrays)
        if level := _level(records[0]):
            write_text(folder / LEVEL_FILE, level + "\n")
        folders.append(folder)
    return folders


def losses_deepmd(record: Record) -> list[str]:
    """What of a record has no place here."""
    lost = losses_of_targets(record)
    lost += [f"the key {key}" for key in record.info]
    return lost + [f"the column {name}" for name in record.columns]


def _level(record: Record) -> str:
    level: LevelOfTheory | None = None if record.label is None else record.label.level_of_theory
    return "" if level is None else level_text(level)


def _row(record: Record) -> dict[str, FloatArray]:
    """What a frame has, by the name of its file."""
    frame = record.configuration
    values = {"box": frame.cell, "coord": frame.positions, "spin": frame.magmoms, **_label_values(record)}
    return {name: array for name, array in values.items() if array is not None}


def _label_values(record: Record) -> dict[str, FloatArray | None]:
    """What a label has, in the signs of DeePMD."""
    label = record.label
    if label is None:
        return {}
    return {
        "energy": np.array([label.energy], dtype=float),
        "force": label.forces,
        "virial": None if label.stress is None else -tensor(label.stress) * record.frame.volume,
        "force_mag": None if label.magnetic_forces is None else np.nan_to_num(label.magnetic_forces, nan=0.0),
    }


def _write_system(folder: Path, species: tuple[str, ...], elements: list[str], arrays: dict[str, FloatArray]) -> None:
    target = folder / "set.000"
    try:
        target.mkdir(parents=True)
        for name, values in arrays.items():
            np.save(target / f"{name}.npy", values, allow_pickle=False)
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror}", where=str(target), expected="a writable place") from error
    write_text(folder / "type.raw", "".join(f"{elements.index(s)}\n" for s in species))
    write_text(folder / "type_map.raw", "".join(f"{e}\n" for e in elements))
