"""Labelled frames from a file or folder of any format, read by the one reader of the format.

Formats are recognised by content; a crystal without a label by its name, since a POSCAR may begin with anything.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from magflow.core import plugins
from magflow.core.label import LevelOfTheory
from magflow.errors import InputError
from magflow.io.ase_files import iter_ase
from magflow.io.configuration import crystal_format, iter_configurations
from magflow.io.deepmd import iter_deepmd
from magflow.io.extxyz import iter_extxyz
from magflow.io.findings import Findings
from magflow.io.mlip_cfg import iter_cfg
from magflow.io.pymatgen_json import iter_pymatgen
from magflow.io.quantities import Chosen, Quantity
from magflow.io.records import Record

_HEAD = 4096
"""Bytes that are looked at to recognise a format."""


@dataclass(frozen=True)
class Wish:
    """What a user says about the files: None and empty where nothing was said.

    Parameters
    ----------
    keys
        The names taken for quantities (:func:`magflow.io.quantities.parse_keys`).
    virial_sign
        -1 if ``virial`` is -stress x volume, +1 if it is +stress x volume.
    elements
        Element of type 0, 1, ... in formats that number them.
    en_der_sign
        Meaning of ``en_der_m*`` in a .cfg: +1 dE/dm, -1 -dE/dm.
    level_of_theory
        Level of labels that do not carry their own.
    level
        A name for the level of theory of labels whose files name none; what is named alike is mixed.
    """

    keys: Mapping[Quantity, Chosen] = field(default_factory=dict)
    virial_sign: int | None = None
    elements: tuple[str, ...] | None = None
    en_der_sign: int | None = None
    level_of_theory: LevelOfTheory | None = None
    level: str | None = None

    def __post_init__(self) -> None:
        for name, sign in (("--virial-sign", self.virial_sign), ("--en-der-sign", self.en_der_sign)):
            if sign not in (None, 1, -1):
                raise InputError("not a sign", where=name, seen=sign, expected="1 or -1")

    @property
    def given(self) -> dict[str, str]:
        """Field to option of what was said."""
        return {name: option for name, option in _OPTIONS.items() if getattr(self, name) not in (None, {})}


_OPTIONS = {
    "keys": "--keys",
    "virial_sign": "--virial-sign",
    "elements": "--elements",
    "en_der_sign": "--en-der-sign",
}


@dataclass(frozen=True)
class Source:
    """A format that is read.

    Parameters
    ----------
    title
        What a message calls it.
    recognises
        Whether a path with these first bytes (none of a folder) is one.
    read
        The frames of a path.
    heeds
        Fields of :class:`Wish` that mean something to it.
    """

    title: str
    recognises: Callable[[Path, bytes], bool]
    read: Callable[[Path, Wish, Findings], Iterator[Record]]
    heeds: frozenset[str] = frozenset()


def iter_labels(path: Path, wish: Wish, findings: Findings) -> Iterator[Record]:
    """The frames of a file or folder, one after the other.

    Raises
    ------
    InputError
        If the format is not known, the content is wrong, or something has to be told.
    """
    yield from source_of(path).read(path, wish, findings)


def source_of(path: Path) -> Source:
    """The format of a file or folder, by its content.

    Raises
    ------
    InputError
        If it is absent or of no known format.
    """
    if not path.exists():
        raise InputError("no such file or folder", where=str(path))
    head = b"" if path.is_dir() else _head(path)
    found = next((source for source in _sources() if source.recognises(path, head)), None)
    if found is None:
        raise InputError(
            f"a {'folder' if path.is_dir() else 'file'} of unknown format",
            where=str(path),
            seen=None if path.is_dir() else repr(head[:40]),
            expected=", ".join(source.title for source in _sources()),
        )
    return found


def _sources() -> Iterator[Source]:
    """Own formats first; a plug-in is imported only when none of those will do."""
    yield from SOURCES.values()
    for name in plugins.names(plugins.LABEL_SOURCES):
        yield plugins.load(plugins.LABEL_SOURCES, name)


def check_heeded(wish: Wish, sources: Iterable[Source], also: Iterable[str] = ()) -> None:
    """Refuse what a user said that means nothing to any of the `sources`; `also` names fields something else heeds.

    Raises
    ------
    InputError
        Names the option.
    """
    sources = tuple(sources)
    heeded = set(also).union(*(source.heeds for source in sources))
    for name, option in wish.given.items():
        if name not in heeded:
            titles = ", ".join(dict.fromkeys(source.title for source in sources))
            raise InputError("the option means nothing here", where=option, seen=titles, hint=f"leave {option} out")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        if head.startswith(b"\x1f\x8b"):
            with gzip.open(path) as file:
                head = file.read(_HEAD)
    except (OSError, EOFError) as error:
        raise InputError(f"the file cannot be read: {error}", where=str(path)) from error
    return head.removeprefix(b"\xef\xbb\xbf")


def _first_word(head: bytes) -> bytes:
    return (head.split(None, 1) or [b""])[0]


def _named(reader: Callable[..., Iterator[Record]]) -> Callable[[Path, Wish, Findings], Iterator[Record]]:
    """The readers whose quantities have names take the same of a wish."""

    def read(path: Path, wish: Wish, findings: Findings) -> Iterator[Record]:
        return reader(
            path,
            keys=wish.keys,
            level_of_theory=wish.level_of_theory,
            virial_sign=wish.virial_sign,
            findings=findings,
        )

    return read


def _cfg(path: Path, wish: Wish, findings: Findings) -> Iterator[Record]:
    if wish.elements is None:
        raise InputError(
            "the file numbers its elements",
            where=str(path),
            hint="name them in the order of the types: `magflow convert FILE.cfg --elements Fe,Al -o LABELS.extxyz`",
        )
    return iter_cfg(
        path,
        wish.elements,
        en_der_sign=wish.en_der_sign,
        level_of_theory=wish.level_of_theory,
        findings=findings,
    )


def _deepmd(path: Path, wish: Wish, findings: Findings) -> Iterator[Record]:
    return iter_deepmd(path, elements=wish.elements, level_of_theory=wish.level_of_theory, findings=findings)


def _is_deepmd(path: Path, head: bytes) -> bool:
    return path.is_dir() and any(next(path.rglob(name), None) for name in ("type.raw", "set.*"))


def _is_ase(path: Path, head: bytes) -> bool:
    of_json = head.startswith(b"{") and any(key in head for key in (b'"unique_id"', b'"ctime"', b'"nextid"'))
    return head.startswith((b"SQLite format 3", b"- of Ulm")) or of_json


def _is_pymatgen(path: Path, head: bytes) -> bool:
    return head.lstrip()[:1] in (b"{", b"[") and any(key in head for key in (b'"structure"', b"pymatgen", b'"lattice"'))


_NAMES = frozenset({"keys", "virial_sign"})
SOURCES = {
    "crystal": Source(
        "a structure (POSCAR, CIF)",
        lambda path, _: not path.is_dir() and crystal_format(path) is not None,
        lambda path, _, findings: iter_configurations(path, findings, labels=True),
    ),
    "deepmd": Source("a folder of DeePMD systems", _is_deepmd, _deepmd, frozenset({"elements"})),
    "mlip-cfg": Source(
        "an MLIP .cfg file",
        lambda _, head: _first_word(head) == b"BEGIN_CFG",
        _cfg,
        frozenset({"elements", "en_der_sign"}),
    ),
    "ase": Source("an ASE database or trajectory", _is_ase, _named(iter_ase), _NAMES),
    "pymatgen": Source("JSON of pymatgen", _is_pymatgen, _named(iter_pymatgen), _NAMES),
    "extxyz": Source("an extended XYZ file", lambda _, head: _first_word(head).isdigit(), _named(iter_extxyz), _NAMES),
}
"""The formats of this room, in the order they are tried; those of DFT codes come after them, by entry point."""
