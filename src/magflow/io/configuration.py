"""Configurations in structure files: the name of a file says which reader takes it, or what ASE finds in it.

Extended XYZ is read by our own reader, magnetic CIF by pymatgen, all else by ASE. A file with several configurations
can be named with the one that is meant: ``FILE@0``, counted from 0, or from the end if it is negative.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from magflow.core.frame import Frame
from magflow.errors import InputError
from magflow.io.ase_files import iter_ase
from magflow.io.extxyz import iter_extxyz
from magflow.io.findings import Fate, Findings
from magflow.io.records import Record, located
from magflow.io.structure import from_structure

CRYSTALS = {
    "*.mcif": "mcif",
    "*.cif": "cif",
    "*.vasp": "vasp",
    "*.poscar": "vasp",
    "*POSCAR*": "vasp",
    "*CONTCAR*": "vasp",
}
"""Names of files that hold a crystal and no label, and their formats; the first that fits counts."""
EXPECTED = "*.extxyz, *.xyz, POSCAR*, CONTCAR*, *.vasp, *.cif, *.mcif, or another name that ASE knows"

_EXTXYZ = ("*.extxyz", "*.xyz", "*.extxyz.gz", "*.xyz.gz")


def crystal_format(path: Path) -> str | None:
    """The format of a file whose name says that it holds a crystal; None of any other."""
    name = path.name.removesuffix(".gz")
    return next((form for pattern, form in CRYSTALS.items() if fnmatchcase(name, pattern)), None)


def indexed(place: str | Path) -> tuple[Path, int | None]:
    """A file and the number of the configuration that is meant, from ``FILE`` or ``FILE@NUMBER``."""
    file, mark, number = str(place).rpartition("@")
    if mark and number.removeprefix("-").isdigit() and not Path(place).exists():
        return Path(file), int(number)
    return Path(place), None


def read_configurations(place: str | Path, findings: Findings) -> list[Record]:
    """The configurations of ``FILE``, or the one of ``FILE@NUMBER``, with the moments a potential is to be asked at.

    Label values are kept under names that begin with ``reference_``.

    Raises
    ------
    InputError
        If there is no such file, it cannot be read, or it holds no configuration of this number.
    """
    path, index = indexed(place)
    records = list(iter_configurations(path, findings, labels=False))
    return records if index is None else [numbered(records, index, str(path), findings)]


def read_configuration(path: Path, where: str | None = None, index: int | None = None) -> Frame:
    """The one configuration of a file, or one of several, with the moments it carries, if any.

    Parameters
    ----------
    where
        How errors name the file. None: its path.
    index
        Which one, counted from 0, or from the end if it is negative. None: there has to be one alone.

    Raises
    ------
    InputError
        If there is no such file, it cannot be read, it holds more or less than one configuration, or none of this
        number.
    """
    where = where or str(path)
    findings = Findings()
    records = list(iter_configurations(path, findings, labels=False, where=where))
    if index is not None:
        return numbered(records, index, where, findings).configuration
    count = len(records) + findings.count(Fate.LEFT_OUT)
    if count != 1:
        hint = f"name the one that is meant, as {path.name}@0 for the first"
        raise InputError("not one configuration", where=where, seen=f"{count} configurations", hint=hint)
    return records[0].configuration


def iter_configurations(path: Path, findings: Findings, *, labels: bool, where: str | None = None) -> Iterator[Record]:
    """The configurations of a file, one after the other.

    Parameters
    ----------
    labels
        Whether label values make labels.
    where
        How errors about the file as a whole name it. None: its path.

    Raises
    ------
    InputError
        If there is no such file, nothing is known of its name and content, or it cannot be read.
    """
    where = where or str(path)
    if not path.is_file():
        raise InputError("no such structure file", where=where)
    form = "extxyz" if any(fnmatchcase(path.name, p) for p in _EXTXYZ) else crystal_format(path) or _known_to_ase(path)
    if form is None:
        hint = "rename it, or `ase convert` it"
        raise InputError("a structure file of unknown kind", where=where, expected=EXPECTED, hint=hint)
    if form == "extxyz":
        yield from iter_extxyz(path, labels=labels, findings=findings)
    elif form == "mcif":
        yield Record(_from_mcif(path, where))
    else:
        yield from iter_ase(path, labels=labels, findings=findings, form=form)


def numbered(records: Sequence[Record], index: int, where: str, findings: Findings) -> Record:
    """The record of this number, from the end if it is negative, of a file whose reading filled `findings`.

    Raises
    ------
    InputError
        If there is none, or frames were left out, so that nobody knows which one is meant.
    """
    left_out = findings.count(Fate.LEFT_OUT)
    if not -len(records) <= index < len(records) or left_out:
        known = f"{len(records)} that can be read of {len(records) + left_out}"
        raise InputError("no configuration of this number", where=where, seen=index, expected=known)
    return records[index]


def with_moments(frame: Frame, moments: Mapping[str, float], where: str) -> Frame:
    """`frame` with the moment, muB along z, that `moments` has for the element of each atom.

    Raises
    ------
    InputError
        If an element of the frame has none; `where` is how it names the frame.
    """
    without = sorted(set(frame.species) - set(moments))
    if without:
        raise InputError(
            "a moment is to be given for each element of the structure, 0 for one without",
            where=where,
            seen=", ".join(moments) or "none",
            expected=", ".join(sorted(set(frame.species))),
        )
    return frame.replace(magmoms=[moments[s] for s in frame.species])


def _known_to_ase(path: Path) -> str | None:
    """ASE's name for the format of a file."""
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    try:
        form = filetype(str(path))
    except UnknownFileTypeError:
        return None
    return form if form in ioformats else None


def _from_mcif(path: Path, where: str) -> Frame:
    """A magnetic CIF, by pymatgen: ASE reads the atoms of one and leaves the moments out."""
    from pymatgen.core import Structure

    try:
        structure = Structure.from_file(path)
    # pymatgen's parser raises whatever it trips over; the file is the user's, so it is an input error
    except Exception as error:
        raise InputError(f"the structure file cannot be read: {type(error).__name__}: {error}", where=where) from error
    with located(where):
        return from_structure(structure)
