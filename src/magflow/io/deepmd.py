"""DeePMD-kit's data format with spins: npy, mixed and raw, at any depth of folders.

One folder per system: ``type.raw``, ``type_map.raw`` and ``set.*/`` with ``coord``, ``box``, ``energy``, ``force``,
``virial``, ``spin`` and ``force_mag`` as ``.npy``
(https://docs.deepmodeling.com/projects/deepmd/en/stable/data/data-conv.html). In the mixed form each frame has types of
its own (``set.*/real_atom_types.npy``; -1 marks an atom that is not there); in the raw form the arrays stand as text
in ``coord.raw`` and so on. Differences from the house, converted here: ``virial`` is minus stress times volume, eV;
frames of one system share their species, so a data set becomes one folder per list of species. Files hold float64, so
nothing is lost in numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from magflow.core.arrays import DAMAGE
from magflow.core.frame import Frame
from magflow.core.label import LevelOfTheory
from magflow.core.types import FloatArray, IntArray
from magflow.core.units import voigt
from magflow.errors import InputError
from magflow.io.findings import Fate, Findings
from magflow.io.levels import level_from_text
from magflow.io.quantities import Quantity, resembles, spelled
from magflow.io.records import NotPeriodicError, Record, build_label, located
from magflow.io.text import read_text

LEVEL_FILE = "magflow_level.json"
"""File of a system that carries the level of theory of labels magflow wrote."""
_REAL_TYPES = "real_atom_types"
_PER_ATOM = {"coord", "force", "spin", "force_mag"}
_WIDTHS = {"box": 9, "energy": 1, "virial": 9}
_HOUSE = {
    Quantity.ENERGY: "energy",
    Quantity.FORCES: "force",
    Quantity.VIRIAL: "virial",
    Quantity.MAGMOMS: "spin",
    Quantity.MAGNETIC_FORCES: "force_mag",
}
"""Files by what they hold; other spellings of these quantities are read too."""


@dataclass(frozen=True)
class _Reading:
    elements: tuple[str, ...] | None
    level_of_theory: LevelOfTheory | None
    findings: Findings


def read_deepmd(path: str | Path, **options: Any) -> list[Record]:
    """All frames of all systems; options and errors are those of :func:`iter_deepmd`."""
    return list(iter_deepmd(path, **options))


def iter_deepmd(
    path: str | Path,
    *,
    elements: Sequence[str] | None = None,
    level_of_theory: LevelOfTheory | None = None,
    findings: Findings | None = None,
) -> Iterator[Record]:
    """The frames of `path`, if it is a system (a folder with ``type.raw``), and of all systems below it.

    Parameters
    ----------
    elements
        Element of type 0, 1, ... of systems without ``type_map.raw``.
    level_of_theory
        Level of labels whose system does not carry its own. None: the level ``unspecified``.
    findings
        Filled while the files are read.

    Raises
    ------
    InputError
        Names the folder or file and what is missing or wrong.
    """
    root = Path(path)
    reading = _Reading(None if elements is None else tuple(elements), level_of_theory, findings or Findings())
    systems = sorted(p.parent for p in root.rglob("type.raw"))
    orphans = sorted({p.parent for p in root.rglob("set.*") if p.is_dir()} - set(systems))
    if orphans:
        raise InputError("a folder with set.* has no type.raw", where=str(orphans[0]), hint="is the copy complete?")
    if not systems:
        raise InputError("no DeePMD system here", where=str(root), expected="a folder with type.raw and set.*/")
    for packed in sorted([*root.rglob("*.hdf5"), *root.rglob("*.h5")]):
        reading.findings.note(Fate.LEFT_OUT, f"the HDF5 file {packed.name}: unpack it with dpdata", str(packed))
    excuse: InputError | None = None
    used = 0
    for system in systems:
        try:
            for record in _system(system, reading):
                used += 1
                yield record
        except NotPeriodicError as error:
            excuse = excuse or error
            n = _frame_count(system)
            reading.findings.note(Fate.LEFT_OUT, "not periodic in all three directions", str(system), n)
    if excuse is not None and not used:
        raise excuse


def _frame_count(system: Path) -> int:
    """Frames of a system that is not read."""
    try:
        coordinates = [np.load(p, mmap_mode="r") for p in sorted(system.glob("set.*/coord.npy"))]
        return sum(len(c) for c in coordinates) or 1
    except DAMAGE as error:
        raise InputError(f"the file cannot be used: {error}", where=str(system), expected="coord.npy") from error


def _system(system: Path, reading: _Reading) -> Iterator[Record]:
    if (system / "nopbc").exists():
        raise NotPeriodicError("the system is not periodic", where=str(system), seen="a file nopbc")
    names = _type_map(system, reading.elements)
    if reading.elements not in (None, names):
        reading.findings.note(Fate.KEPT, f"--elements: the system names its own, {', '.join(names)}", str(system))
    types = _types(system, names)
    level = _level(system) or reading.level_of_theory
    sets = sorted(p for p in system.glob("set.*") if p.is_dir())
    if not sets and not (system / "coord.raw").is_file():
        raise InputError("the system has no frames", where=str(system), expected="folders set.000, ... or coord.raw")
    for folder in sets or [system]:
        arrays = _load(folder, len(types), reading.findings, raw=not sets)
        real = arrays.pop(_REAL_TYPES, None)
        for i in range(len(arrays["coord"])):
            row = {name: values[i] for name, values in arrays.items()}
            with located(f"{folder}: frame {i + 1}"):
                species = _species(types if real is None else real[i].astype(int), names)
                record = _record(species, row, level)
            reading.findings.count_record(record)
            yield record


def _type_map(system: Path, elements: tuple[str, ...] | None) -> tuple[str, ...]:
    path = system / "type_map.raw"
    if not path.is_file():
        if elements is None:
            raise InputError(
                "the system numbers its elements and has no type_map.raw",
                where=str(system),
                hint="name the element of every type, in order: --elements Fe,Al",
            )
        return elements
    names = tuple(read_text(path, "one element per line").split())
    unknown = [name for name in names if atomic_numbers.get(name, 0) == 0]
    if unknown:
        raise InputError("unknown element", where=str(path), seen=", ".join(unknown))
    return names


def _types(system: Path, names: tuple[str, ...]) -> IntArray:
    where = system / "type.raw"
    words = read_text(where, "one type per atom").split()
    if not words or not all(t.isdigit() and int(t) < len(names) for t in words):
        raise InputError("types are malformed", where=str(where), expected=f"integers 0 to {len(names) - 1}")
    return np.array(words, dtype=int)


def _level(system: Path) -> LevelOfTheory | None:
    path = system / LEVEL_FILE
    return level_from_text(read_text(path, "a level of theory").strip()) if path.is_file() else None


def _species(types: IntArray, names: tuple[str, ...]) -> tuple[str, ...]:
    """Elements of the atoms that are there."""
    if types.max(initial=-1) >= len(names):
        raise InputError("types are malformed", seen=types.tolist(), expected=f"integers 0 to {len(names) - 1}")
    return tuple("" if t < 0 else names[t] for t in types.tolist())


def _load(folder: Path, n: int, findings: Findings, *, raw: bool) -> dict[str, FloatArray]:
    """Arrays of one set, (frames, width), by the names of the files."""
    arrays: dict[str, FloatArray] = {}
    for file in sorted(folder.glob("*.raw" if raw else "*.npy")):
        if file.stem in ("type", "type_map"):
            continue
        name, factor = _meaning(file.stem)
        if name is None:
            like = resembles(file.stem)
            fate = Fate.EXTRA if like is None else Fate.KEPT
            findings.note(fate, f"the file {file.name}" + ("" if like is None else f": resembles {like}"), str(folder))
            continue
        if name in arrays:
            raise InputError(f"two files stand for {name}", where=str(folder), seen=file.name)
        width = 3 * n if name in _PER_ATOM else _WIDTHS.get(name, n)
        arrays[name] = factor * _array(file, width)
        if name != file.stem:
            findings.note(Fate.READ, f"{name} from the file {file.name}", str(folder), len(arrays[name]))
    for name in ("coord", "box"):
        if name not in arrays:
            raise InputError(f"{name}{'.raw' if raw else '.npy'} is missing", where=str(folder))
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise InputError("files of one set differ in their number of frames", where=str(folder), seen=lengths)
    return arrays


def _meaning(stem: str) -> tuple[str | None, float]:
    """The house's file name of `stem`, and what its numbers are to be multiplied with."""
    if stem in _PER_ATOM or stem in _WIDTHS or stem == _REAL_TYPES:
        return stem, 1.0
    spelling = spelled(stem)
    return (None, 1.0) if spelling is None else (_HOUSE.get(spelling.quantity), spelling.factor)


def _array(file: Path, width: int) -> FloatArray:
    try:
        values = np.loadtxt(file, ndmin=2) if file.suffix == ".raw" else np.load(file, allow_pickle=False)
        return values.reshape(len(values), width).astype(float)
    except DAMAGE as error:
        raise InputError(f"the file cannot be used: {error}", where=str(file), expected=f"(frames, {width})") from error


def _record(species: tuple[str, ...], row: dict[str, FloatArray], level_of_theory: LevelOfTheory | None) -> Record:
    there = np.array([bool(s) for s in species])
    atoms = {name: row[name].reshape(-1, 3)[there] for name in _PER_ATOM if name in row}
    spin = atoms.get("spin")
    frame = Frame(tuple(s for s in species if s), row["box"].reshape(3, 3), atoms["coord"], spin)
    if "energy" not in row:
        of_label = [name for name in ("force", "virial", "force_mag") if name in row]
        if of_label:
            raise InputError(
                "the set has " + ", ".join(of_label) + " but no energy", expected="energy.npy, or no label at all"
            )
        return Record(frame, vector_moments=True)
    label = build_label(
        frame,
        energy=float(row["energy"][0]),
        level_of_theory=level_of_theory,
        forces=atoms.get("force"),
        stress=-voigt(row["virial"].reshape(3, 3)) / frame.volume if "virial" in row else None,
        magmoms=frame.magmoms,
        magnetic_forces=atoms.get("force_mag"),
    )
    return Record(frame, label, vector_moments=True)
