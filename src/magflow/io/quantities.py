"""What other programs call the quantities of a label: one table of names, units and signs for all readers.

A name counts whatever its case and with or without a prefix that says "reference" (``REF_energy``, ``dft_forces``).
A name with a prefix that says "prediction" (``mace_energy``) is never read. What is read under a name that is not the
house's is told; what resembles a quantity and is not read is told too: see :func:`resembles`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from magflow.core.units import BOHR, EV_PER_A3_IN_GPA, HARTREE
from magflow.errors import InputError


class Quantity(StrEnum):
    """What a reader looks for, by the house's name (``docs/conventions.md``)."""

    ENERGY = "energy"
    FREE_ENERGY = "free_energy"
    FORCES = "forces"
    STRESS = "stress"
    VIRIAL = "virial"
    MAGMOMS = "magmoms"
    TARGET_MAGMOMS = "target_magmoms"
    INITIAL_MAGMOMS = "initial_magmoms"
    MAGNETIC_FORCES = "magnetic_forces"

    @property
    def per_atom(self) -> bool:
        """Whether it is a column with a row per atom."""
        return self not in (Quantity.ENERGY, Quantity.FREE_ENERGY, Quantity.STRESS, Quantity.VIRIAL)


MOMENTS = (Quantity.MAGMOMS, Quantity.TARGET_MAGMOMS, Quantity.INITIAL_MAGMOMS)


@dataclass(frozen=True)
class Spelling:
    """One name of a quantity; the house's value is `factor` times the file's."""

    quantity: Quantity
    factor: float = 1.0


_SPELLINGS: dict[Quantity, dict[float, str]] = {
    Quantity.ENERGY: {1.0: "energy potential_energy total_energy etot e_tot toten uncorrected_total_energy"},
    Quantity.FREE_ENERGY: {1.0: "free_energy"},
    Quantity.FORCES: {1.0: "forces force", -1.0: "gradient gradients grad"},
    Quantity.STRESS: {1.0: "stress"},
    Quantity.VIRIAL: {1.0: "virial virials"},
    Quantity.MAGMOMS: {
        1.0: "magmoms magmom magnetic_moments magnetic_moment mag_moments moments spin spins final_magmom final_magmoms"
    },
    Quantity.TARGET_MAGMOMS: {1.0: "target_magmoms target_magmom target_spin target_spins"},
    Quantity.INITIAL_MAGMOMS: {1.0: "initial_magmoms initial_magmom init_magmoms init_magmom initial_spin"},
    Quantity.MAGNETIC_FORCES: {
        1.0: "magnetic_forces magnetic_force mforce mforces force_mag force_mags forces_mag mag_force mag_forces "
        "magforce magforces spin_force spin_forces",
        -1.0: "mgrad mag_grad magnetic_gradient magnetic_gradients",
    },
}
"""Names by what they have to be multiplied with: ``mgrad`` is +dE/dm, a gradient +dE/dr."""

_REFERENCE = re.compile(r"^(ref|reference|dft|qm|vasp|abinit|true|pbe|pbesol|r2scan|scan|lda)_(?=.)")
_PREDICTION = re.compile(r"^(mace|nep|gap|dp|ace|nequip|mtp|mmtp|ml|mlip|pred|predicted|model|calc)_")
_RESEMBLES = (
    (
        Quantity.MAGNETIC_FORCES,
        re.compile(r"m(ag)?_?(force|grad)|(force|grad)s?_?mag|magnetic_(force|grad|field)|en_der|d[eh]_?dm"),
    ),
    (Quantity.MAGMOMS, re.compile(r"(?<![a-z])mag|magmom|spin|moment(?!um|a)")),
    (Quantity.STRESS, re.compile(r"stress|pressure")),
    (Quantity.VIRIAL, re.compile(r"virial")),
    (Quantity.FORCES, re.compile(r"force|gradient")),
    (Quantity.ENERGY, re.compile(r"energ|^e0?$|^etot|toten|enthalpy")),
)
_ABOUT = re.compile(
    r"(deviation|weights?|std|errors?|uncertainty|sigma|mask|id|name|type|units?|cutoff|cutoff_energy)$"
)
"""Ends of names that say something about a quantity, not the quantity itself."""
_NAMES = {
    name: Spelling(quantity, factor)
    for quantity, by_factor in _SPELLINGS.items()
    for factor, names in by_factor.items()
    for name in names.split()
}

_ENERGIES = {"eV": 1.0, "meV": 1e-3, "Ha": HARTREE, "Ry": HARTREE / 2, "kcal/mol": 0.0433641153, "kJ/mol": 0.0103642697}
_PRESSURES = {"eV/A3": 1.0, "GPa": 1 / EV_PER_A3_IN_GPA, "kB": 0.1 / EV_PER_A3_IN_GPA, "bar": 1e-4 / EV_PER_A3_IN_GPA}
_GRADIENTS = {"eV/A": 1.0, "meV/A": 1e-3, "Ha/bohr": HARTREE / BOHR, "Ry/bohr": HARTREE / BOHR / 2}
_FIELDS = {"eV/muB": 1.0, "meV/muB": 1e-3, "Ha/muB": HARTREE, "Ry/muB": HARTREE / 2}
UNITS: dict[Quantity, dict[str, float]] = {
    Quantity.ENERGY: _ENERGIES,
    Quantity.FREE_ENERGY: _ENERGIES,
    Quantity.FORCES: _GRADIENTS,
    Quantity.STRESS: _PRESSURES,
    Quantity.VIRIAL: _ENERGIES,
    Quantity.MAGMOMS: {"muB": 1.0},
    Quantity.TARGET_MAGMOMS: {"muB": 1.0},
    Quantity.INITIAL_MAGMOMS: {"muB": 1.0},
    Quantity.MAGNETIC_FORCES: _FIELDS,
}
"""Units a user may name for a quantity, by what they have to be multiplied with; the house's comes first."""


def spellings(quantity: Quantity, factor: float) -> list[str]:
    """The names of `quantity` whose values are to be multiplied by `factor`."""
    return _SPELLINGS[quantity].get(factor, "").split()


@lru_cache(maxsize=4096)
def spelled(name: str) -> Spelling | None:
    """The quantity a name stands for; None if it is none of those in the table."""
    lower = name.lower()
    if lower in _NAMES:
        return _NAMES[lower]
    return _NAMES.get(_REFERENCE.sub("", lower)) if _REFERENCE.match(lower) else None


@lru_cache(maxsize=4096)
def resembles(name: str) -> Quantity | None:
    """The quantity an unknown name may stand for: worth telling, not worth reading."""
    lower = name.lower()
    if _ABOUT.search(lower):
        return None
    return next((quantity for quantity, pattern in _RESEMBLES if pattern.search(lower)), None)


def is_prediction(name: str) -> bool:
    """Whether a name says that a model, not a reference calculation, gave the value."""
    return bool(_PREDICTION.match(name.lower()))


@dataclass(frozen=True)
class Chosen:
    """The one name a user takes for a quantity (None: none at all); the house's value is `factor` times the file's."""

    name: str | None
    factor: float = 1.0


Keys = Mapping[Quantity, Chosen]
"""What a user says about names; quantities left out go by the table."""


def parse_keys(words: Iterable[str]) -> dict[Quantity, Chosen]:
    """Keys from ``QUANTITY=NAME``, ``QUANTITY=NAME@UNIT`` (``@-UNIT``: of the opposite sign) and ``QUANTITY=none``.

    Raises
    ------
    InputError
        If a quantity or a unit is unknown, or a quantity is given twice.
    """
    keys: dict[Quantity, Chosen] = {}
    for word in (w for given in words for w in given.split(",") if w):
        what, sign, name = word.partition("=")
        name, _, unit = name.partition("@")
        if what not in set(Quantity) or not sign or not name:
            raise InputError(
                "not a key of a quantity",
                where="--keys",
                seen=word,
                expected="QUANTITY=NAME with QUANTITY one of " + ", ".join(Quantity),
                hint="such as energy=REF_energy,stress=stress_kB@-kB,virial=none",
            )
        quantity = Quantity(what)
        if quantity in keys:
            raise InputError("a quantity is given twice", where="--keys", seen=what)
        keys[quantity] = Chosen(None if name == "none" else name, _factor(quantity, unit, word))
    return keys


def _factor(quantity: Quantity, unit: str, word: str) -> float:
    known = UNITS[quantity]
    sign, plain = (-1.0, unit[1:]) if unit.startswith("-") else (1.0, unit)
    if plain and plain not in known:
        raise InputError("not a unit of this quantity", where="--keys", seen=word, expected=", ".join(known))
    return sign * known.get(plain, 1.0)
