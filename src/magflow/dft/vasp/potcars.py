"""POTCAR files: found by pymatgen, known to magflow by title and checksum. Their text enters no document."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from magflow.dft.datasets import MissingDatasetError, MixedFunctionalsError
from magflow.dft.vasp.settings import VaspSettings
from magflow.errors import InputError

POTCAR_HINT = "tell pymatgen where the POTCARs are: `pmg config --add PMG_VASP_PSP_DIR FOLDER`"
_EXCHANGE = {"CA": "LDA", "PE": "PBE"}


@dataclass(frozen=True)
class PotcarInfo:
    """What a calculation needs to know of a POTCAR.

    `title` is its TITEL, `md5` that of its text, `functional` ``"PBE"`` or ``"LDA"``, `rwigs_a` its own RWIGS (A).
    """

    element: str
    symbol: str
    title: str
    md5: str
    functional: str
    rwigs_a: float | None


def find_potcars(settings: VaspSettings, elements: Iterable[str]) -> dict[str, PotcarInfo]:
    """The POTCAR of each of `elements`, alphabetical.

    Raises
    ------
    MissingDatasetError
        If there is none for an element.
    MixedFunctionalsError
        If one is for another element or another functional.
    """
    from pymatgen.core import SETTINGS

    found = {}
    for element in sorted(set(elements)):
        symbol = settings.potcar_symbol(element)
        info = _read(symbol, settings.potcar_functional, element, str(SETTINGS.get("PMG_VASP_PSP_DIR")))
        if info.element != element:
            raise MixedFunctionalsError("POTCAR of another element", where=symbol, seen=info.element, expected=element)
        expected = "LDA" if settings.functional == "LDA" else "PBE"
        if info.functional != expected:
            raise MixedFunctionalsError(
                "POTCAR of another functional", where=symbol, seen=info.title, expected=expected
            )
        found[element] = info
    return found


@lru_cache(maxsize=256)
def _read(symbol: str, release: str, element: str, folder: str) -> PotcarInfo:
    """`folder` is what the cache depends on beside the names."""
    from pymatgen.io.vasp.inputs import PmgVaspPspDirError, PotcarSingle

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pymatgen's table of known POTCARs is not complete
            potcar = PotcarSingle.from_symbol_and_functional(symbol, release)
    except (PmgVaspPspDirError, OSError) as error:
        raise MissingDatasetError(
            f"no POTCAR {symbol} of {release}", where=element, seen=str(error).splitlines()[0], hint=POTCAR_HINT
        ) from error
    except (ValueError, KeyError, IndexError) as error:  # what pymatgen raises on a file cut short
        raise MixedFunctionalsError("a POTCAR cannot be read", where=symbol, seen=error) from error
    words = potcar.keywords
    if "LEXCH" not in words:
        raise MixedFunctionalsError("a POTCAR cannot be read", where=symbol, seen="no LEXCH in it")
    return PotcarInfo(
        str(words.get("VRHFIN", "")).partition(":")[0].strip() or potcar.symbol.partition("_")[0],
        symbol,
        words["TITEL"],
        hashlib.md5(potcar.data.encode(), usedforsecurity=False).hexdigest(),
        _EXCHANGE.get(words["LEXCH"].upper(), words["LEXCH"]),
        words.get("RWIGS"),
    )


def sphere_radii(settings: VaspSettings, elements: Iterable[str]) -> dict[str, float]:
    """Element to the radius of its constraint sphere, A.

    Raises
    ------
    MissingDatasetError
        If a radius is to come from a POTCAR that is not there.
    InputError
        If that states none.
    """
    radii = {}
    for element in sorted(set(elements)):
        radius = settings.rwigs_a.get(element)
        if radius is None:
            radius = find_potcars(settings, [element])[element].rwigs_a
        if radius is None:
            raise InputError(
                f"no sphere radius for {element}", where="rwigs_a", hint=f"set rwigs_a: {{{element}: 1.3}}"
            )
        radii[element] = radius
    return radii
