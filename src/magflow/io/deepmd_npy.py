"""DeePMD-kit's npy format with spins, in and out.

One folder per system (a fixed list of atoms): ``type.raw``, ``type_map.raw`` and ``set.*/`` with ``coord``, ``box``,
``energy``, ``force``, ``virial``, ``spin`` and ``force_mag`` as ``.npy``
(https://docs.deepmodeling.com/projects/deepmd/en/stable/data/data-conv.html). Differences from the house, converted
here: ``virial`` is minus stress times volume, eV; frames of one system share their species, so a data set becomes
one folder per list of species. Files hold float64, so nothing is lost in numbers; costs, constraints and levels of
theory have no place in the format.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers

from magflow.core.frame import Frame
from magflow.core.label import LevelOfTheory
from magflow.core.types import FloatArray
from magflow.core.units import tensor, voigt
from magflow.errors import InputError
from magflow.io.records import Record, Writable, as_record, build_label, located, read_text, write_text

_LABELS = ("energy", "force", "virial", "force_mag")


def read_deepmd(path: str | Path, *, level_of_theory: LevelOfTheory | None = None) -> list[Record]:
    """All frames of one system (a folder with ``type.raw``) or of all systems directly below `path`.

    Raises
    ------
    InputError
        Names the folder or file and what is missing or wrong.
    """
    root = Path(path)
    systems = [root] if (root / "type.raw").is_file() else sorted(p.parent for p in root.glob("*/type.raw"))
    if not systems:
        raise InputError("no DeePMD system here", where=str(root), expected="a folder with type.raw and set.*/")
    return [record for system in systems for record in _read_system(system, level_of_theory)]


def _read_system(system: Path, level_of_theory: LevelOfTheory | None) -> list[Record]:
    species = _species(system)
    if (system / "nopbc").exists():
        raise InputError("the system is not periodic", where=str(system), seen="a file nopbc")
    sets = sorted(system.glob("set.*"))
    if not sets:
        raise InputError("the system has no frames", where=str(system), expected="folders set.000, set.001, ...")
    records = []
    for folder in sets:
        arrays = _load_set(folder, len(species))
        for i in range(len(arrays["coord"])):
            with located(f"{folder}: frame {i + 1}"):
                records.append(_record(species, {k: v[i] for k, v in arrays.items()}, level_of_theory))
    return records


def _species(system: Path) -> tuple[str, ...]:
    names = read_text(system / "type_map.raw", "one element per line").split()
    types = read_text(system / "type.raw", "one type per atom").split()
    where = str(system / "type.raw")
    if not types or not all(t.isdigit() and int(t) < len(names) for t in types):
        raise InputError("types are malformed", where=where, expected=f"integers 0 to {len(names) - 1}")
    unknown = [name for name in names if atomic_numbers.get(name, 0) == 0]
    if unknown:
        raise InputError("unknown element", where=str(system / "type_map.raw"), seen=", ".join(unknown))
    return tuple(names[int(t)] for t in types)


def _load_set(folder: Path, n: int) -> dict[str, FloatArray]:
    widths = {"coord": 3 * n, "box": 9, "energy": 1, "force": 3 * n, "virial": 9, "spin": 3 * n, "force_mag": 3 * n}
    arrays: dict[str, FloatArray] = {}
    for name, width in widths.items():
        file = folder / f"{name}.npy"
        if not file.is_file():
            if name in ("coord", "box"):
                raise InputError(f"{name}.npy is missing", where=str(folder))
            continue
        try:
            values = np.load(file, allow_pickle=False)
            arrays[name] = values.reshape(len(values), width).astype(float)
        except (ValueError, TypeError, OSError, EOFError) as error:
            raise InputError(
                f"the file cannot be used: {error}", where=str(file), expected=f"(frames, {width})"
            ) from error
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise InputError("files of one set differ in their number of frames", where=str(folder), seen=lengths)
    return arrays


def _record(species: tuple[str, ...], row: dict[str, FloatArray], level_of_theory: LevelOfTheory | None) -> Record:
    spin = row["spin"].reshape(-1, 3) if "spin" in row else None
    frame = Frame(species, row["box"].reshape(3, 3), row["coord"].reshape(-1, 3), spin)
    if "energy" not in row:
        return Record(frame, vector_moments=True)
    label = build_label(
        frame,
        energy=float(row["energy"][0]),
        level_of_theory=level_of_theory,
        forces=row["force"].reshape(-1, 3) if "force" in row else None,
        stress=-voigt(row["virial"].reshape(3, 3)) / frame.volume if "virial" in row else None,
        magmoms=frame.magmoms,
        magnetic_forces=row["force_mag"].reshape(-1, 3) if "force_mag" in row else None,
    )
    return Record(frame, label, vector_moments=True)


def write_deepmd(path: str | Path, items: Iterable[Writable], elements: Sequence[str]) -> list[Path]:
    """Write one system per list of species below `path`; returns their folders.

    Labelled frames are written with their achieved moments. A label quantity is written for a system if every one
    of its frames has it; atoms that were not constrained get a magnetic force of zero, which is what a relaxed
    moment has.

    Raises
    ------
    InputError
        If `path` exists and is not an empty folder, an element is not in `elements`, or some frames of a system
        have moments, or energies, and others have not.
    """
    root = Path(path)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError("the output is not an empty folder", where=str(root), hint="choose another name")
    systems: dict[tuple[str, ...], list[Record]] = {}
    for item in items:
        record = as_record(item)
        systems.setdefault(record.frame.species, []).append(record)
    folders: list[Path] = []
    for species, records in systems.items():
        unknown = sorted(set(species) - set(elements))
        if unknown:
            raise InputError("an element has no type", seen=", ".join(unknown), expected="only " + ", ".join(elements))
        folder = root / f"{len(folders):03d}_{records[0].frame.formula}"
        with located(str(folder)):
            arrays = _arrays(records)
        _write_system(folder, species, list(elements), arrays)
        folders.append(folder)
    return folders


def _arrays(records: list[Record]) -> dict[str, FloatArray]:
    frames = [record.configuration for record in records]
    columns: dict[str, list[FloatArray | None]] = {
        "box": [f.cell for f in frames],
        "coord": [f.positions for f in frames],
        "spin": [f.magmoms for f in frames],
    }
    for name in _LABELS:
        columns[name] = [_label_value(record, name) for record in records]
    for name in ("spin", "energy"):
        have = sum(v is not None for v in columns[name])
        if have not in (0, len(records)):
            raise InputError(f"only some frames have {name}", seen=f"{have} of {len(records)}", expected="all or none")
    complete = {k: [v for v in values if v is not None] for k, values in columns.items()}
    return {k: np.array(v).reshape(len(v), -1) for k, v in complete.items() if len(v) == len(records)}


def _label_value(record: Record, name: str) -> FloatArray | None:
    label = record.label
    if label is None:
        return None
    if name == "energy":
        return np.array([label.energy])
    if name == "virial":
        return None if label.stress is None else -tensor(label.stress) * record.frame.volume
    if name == "force":
        return label.forces
    return None if label.magnetic_forces is None else np.nan_to_num(label.magnetic_forces, nan=0.0)


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
