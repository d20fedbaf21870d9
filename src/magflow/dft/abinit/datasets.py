"""PAW datasets: where they are, what they hold, and an unpacked copy ABINIT can read.

ABINIT runs datasets of several functionals together with exit status 0 and a warning, so the functional is
read from every file here. The md5 of the unpacked XML is what ABINIT prints in its final summary and what
the level of theory records.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from magflow.core.files import replace_file
from magflow.dft.abinit.settings import AbinitSettings
from magflow.dft.datasets import MissingDatasetError, MixedFunctionalsError
from magflow.errors import InputError, MissingToolError, StoreError
from magflow.settings import MagflowSettings

INSTALL_HINT = "install them with `sudo apt-get install abinit gpaw-data` (Debian, Ubuntu)"

_SAME_FUNCTIONAL = {
    "GGA_X_PBE+GGA_C_PBE": "PBE",
    "LDA_X+LDA_C_PW": "LDA",
    "PW": "LDA",
}
"""Names of one functional in the XML of different generators (PAW-XML specification, libxc)."""

_MAX_BYTES = 64 * 2**20

USUAL_RADIUS_BOHR = 2.2
"""Of spheres that nobody states: that of the datasets of iron."""


@dataclass(frozen=True)
class PawDataset:
    """One PAW dataset.

    Parameters
    ----------
    element
        Chemical symbol.
    source
        The file as found, ``.gz`` or plain.
    md5
        Hex md5 of the unpacked XML.
    functional
        ``"PBE"``, ...
    valence
        Valence electrons.
    radius_bohr
        Augmentation radius (the largest one), bohr.
    levels_ha
        The lowest and the highest eigenvalue of the occupied states of the atom, hartree; None if not stated.
    """

    element: str
    source: Path
    md5: str
    functional: str
    valence: float
    radius_bohr: float
    levels_ha: tuple[float, float] | None = None


def datasets_of(
    settings: AbinitSettings, elements: Iterable[str], installation: MagflowSettings
) -> dict[str, PawDataset]:
    """The PAW dataset of each element, alphabetical; raises as :func:`find_datasets`."""
    folders = installation.expanded_dataset_dirs()
    return find_datasets(sorted(set(elements)), settings.functional, folders, settings.datasets)


def sphere_radii(settings: AbinitSettings, datasets: Mapping[str, PawDataset]) -> dict[str, float]:
    """Element to the radius of the sphere its moment is integrated in, bohr; empty if there are no moments.

    Raises
    ------
    InputError
        If one is smaller than the augmentation sphere, which ABINIT refuses: said before the first label.
    """
    if not settings.polarised:
        return {}
    radii = {}
    for element, dataset in datasets.items():
        stated = settings.stated_radius(element)
        radii[element] = max(USUAL_RADIUS_BOHR, dataset.radius_bohr) if stated is None else stated
        if radii[element] < dataset.radius_bohr - 1e-9:
            raise InputError(
                f"the moment sphere of {element} is smaller than its PAW sphere",
                where="ratsph_bohr",
                seen=stated,
                expected=f"at least {dataset.radius_bohr:g} bohr",
                hint=f"set ratsph_bohr: {{{element}: {dataset.radius_bohr:g}, ...}}, or leave it out",
            )
    return radii


def find_datasets(
    elements: Iterable[str], functional: str, folders: Sequence[Path], explicit: Mapping[str, Path]
) -> dict[str, PawDataset]:
    """The dataset of each of `elements`: the one in `explicit`, or the first ``El.FUNCTIONAL[.gz|.xml]`` in `folders`.

    Raises
    ------
    MissingDatasetError
        If there is none for an element.
    MixedFunctionalsError
        If one was made for another functional.
    InputError
        If a file is not a PAW dataset of its element.
    """
    found = {}
    for element in elements:
        path = explicit.get(element)
        path = _search(element, functional, folders) if path is None else path.expanduser()
        if not path.is_file():
            raise MissingDatasetError("no PAW dataset", where=element, seen=str(path), hint=INSTALL_HINT)
        found[element] = read_dataset(path, element)
    wrong = [f"{d.element}: {d.functional} ({d.source})" for d in found.values() if d.functional != functional]
    if wrong:
        raise MixedFunctionalsError(
            "PAW datasets of another functional",
            seen="; ".join(wrong),
            expected=functional,
            hint="ABINIT would mix them without an error; name datasets of one functional",
        )
    return found


def lighter(dataset: PawDataset) -> PawDataset | None:
    """The one with the fewest valence electrons beside `dataset`, for the same functional, named ``El.N.FUNCTIONAL``.

    Semicore states that are not needed double the cost of a label; None if `dataset` has the fewest.
    """
    beside = []
    for path in sorted(dataset.source.parent.glob(f"{dataset.element}.*.{dataset.functional}*")):
        try:
            beside.append(read_dataset(path, dataset.element))
        except InputError:  # something else of that name
            continue
    fewer = [d for d in beside if d.functional == dataset.functional and d.valence < dataset.valence]
    return min(fewer, key=lambda d: d.valence, default=None)


def _search(element: str, functional: str, folders: Sequence[Path]) -> Path:
    for folder in folders:
        for suffix in (".gz", ".xml", ""):
            path = folder / f"{element}.{functional}{suffix}"
            if path.is_file():
                return path
    raise MissingDatasetError(
        f"no PAW dataset {element}.{functional}",
        where=element,
        seen=", ".join(map(str, folders)) or "no folder to search",
        hint=f"{INSTALL_HINT}, or set dataset_dirs in ~/.magflow.yaml, or name a file under `datasets`",
    )


def read_dataset(path: Path, element: str) -> PawDataset:
    """Read one dataset; cached as long as the file does not change."""
    stat = path.stat()
    return _read(path, element, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _read(path: Path, element: str, _mtime: int, _size: int) -> PawDataset:
    data = _content(path)
    head = data[:65536].decode("latin-1")
    atom = _attributes("atom", head)
    functional = _attributes("xc_functional", head).get("name", "")
    if "<paw_" not in head or not functional or "valence" not in atom:
        raise InputError("not a PAW dataset in XML", where=str(path), hint="only PAW XML states its functional")
    if atom.get("symbol", "").strip() != element:
        raise InputError("PAW dataset of another element", where=str(path), seen=atom.get("symbol"), expected=element)
    radius = _attributes("paw_radius", head).get("rc")
    radii = [radius] if radius else re.findall(r'<state\b[^>]*\brc\s*=\s*"([^"]+)"', head)
    return PawDataset(
        element,
        path,
        hashlib.md5(data, usedforsecurity=False).hexdigest(),
        _SAME_FUNCTIONAL.get(functional.upper(), functional),
        float(atom["valence"]),
        max(map(float, radii), default=0.0),
        _levels(head),
    )


def _levels(head: str) -> tuple[float, float] | None:
    states = [dict(re.findall(r'(\w+)\s*=\s*"([^"]*)"', text)) for text in re.findall(r"<state\b([^>]*)>", head)]
    occupied = [float(s["e"]) for s in states if "e" in s and float(s.get("f", 0.0)) > 0.0]
    return (min(occupied), max(occupied)) if occupied else None


def _content(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        if not raw.startswith(b"\x1f\x8b"):
            return raw
        unpacker = zlib.decompressobj(wbits=31)
        data = unpacker.decompress(raw, _MAX_BYTES)
        if not unpacker.eof:
            raise InputError("a packed PAW dataset is truncated or too large", where=str(path))
        return data
    except (OSError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError("a PAW dataset cannot be read", where=str(path), seen=error) from error


def _attributes(tag: str, text: str) -> dict[str, str]:
    found = re.search(rf"<{tag}\b([^>]*)>", text)
    return dict(re.findall(r'(\w+)\s*=\s*"([^"]*)"', found.group(1))) if found else {}


def unpacked(dataset: PawDataset, cache: Path) -> Path:
    """Path of the plain XML of `dataset` in `cache`; written once, safe with many workers at a time.

    Raises
    ------
    InputError
        If the file has changed since it was read.
    MissingToolError
        If the cache cannot be written.
    """
    target = cache / "datasets" / dataset.md5 / f"{dataset.element}.xml"
    if target.is_file():
        return target
    data = _content(dataset.source)
    if hashlib.md5(data, usedforsecurity=False).hexdigest() != dataset.md5:
        raise InputError("a PAW dataset has changed", where=str(dataset.source), expected=f"md5 {dataset.md5}")
    try:
        replace_file(target, data)
    except StoreError as error:
        raise MissingToolError(
            "the dataset cache cannot be written",
            where=str(target),
            seen=error.message,
            hint="set cache_dir in ~/.magflow.yaml",
        ) from error
    return target
