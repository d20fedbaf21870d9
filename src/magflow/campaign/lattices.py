"""Lattice constants to begin with, from the crystals that ASE lists as the reference states of the elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from magflow.errors import InputError
from magflow.explore.builders import BuilderSettings, CrystalStructure

ATOMS_IN_CUBE = {
    **{"sc": 1, "bcc": 2, "fcc": 4, "diamond": 8},
    **{"b2": 2, "cesiumchloride": 2, "rocksalt": 8, "zincblende": 8},
}
"""Of the structures that are cubic: atoms in the cube whose edge is the lattice constant."""

_OF_ONE = ("sc", "bcc", "fcc", "diamond", "hcp")
_ALIKE = ("bcc", "fcc", "hcp", "b2", "cesiumchloride")
"""Metals take about the same volume in each of these."""
_IDEAL = (8 / 3) ** 0.5
_MOST = 2.0
"""c/a beyond which a lattice called hcp is a longer stacking of layers."""


@dataclass(frozen=True)
class Crystal:
    """A structure to begin with.

    Parameters
    ----------
    name
        ``fcc-Ni``.
    builder
        Its primitive cell.
    origin
        Where the lattice constant comes from.
    """

    name: str
    builder: BuilderSettings
    origin: str


@dataclass(frozen=True)
class Reference:
    """Reference state of an element: structure, lattice constant (A), c/a."""

    structure: str
    a: float
    ratio: float

    @property
    def volume(self) -> float:
        """A^3 per atom."""
        return _volume_factor(self.structure, self.ratio) * self.a**3


def crystals(elements: Sequence[str], structures: Sequence[str], a: float | None = None) -> list[Crystal]:
    """The elements in each of `structures`; without any, each in its reference state.

    Parameters
    ----------
    a
        Lattice constant, A; None: that of the reference state, or of the same volume.

    Raises
    ------
    InputError
        If a structure is not known, takes two elements and there are not two, or no lattice constant is known for it.
    """
    if structures:
        return [_crystal(s, species, a) for s in structures for species in _species(s, elements)]
    return [_crystal(_reference_of(e).structure, (e,), a) for e in elements]


def _species(structure: str, elements: Sequence[str]) -> list[tuple[str, ...]]:
    """What stands on the sites: each element by itself, or the two of a compound."""
    known = (*_OF_ONE, *(s for s in ATOMS_IN_CUBE if s not in _OF_ONE))
    if structure not in known:
        raise InputError("an unknown structure", where="--structure", seen=structure, expected=", ".join(known))
    if structure in _OF_ONE:
        return [(e,) for e in elements]
    if len(elements) != 2:
        seen = ", ".join(elements)
        raise InputError(f"{structure} is a structure of two elements", where="--elements", seen=seen, expected="two")
    return [tuple(elements)]


def _crystal(structure: str, species: tuple[str, ...], a: float | None) -> Crystal:
    ratio, origin = _IDEAL, "as asked for"
    if a is None:
        references = [_reference(e) for e in species]
        first = references[0]
        if len(species) == 1 and first is not None and first.structure == structure:
            a, ratio, origin = first.a, first.ratio, "of ASE's reference state"
        elif structure in _ALIKE and None not in references:
            volume = sum(r.volume for r in references if r is not None) / len(species)
            a = (volume / _volume_factor(structure, _IDEAL)) ** (1 / 3)
            origin = "a guess from the volumes of ASE's reference states: set your own"
        else:
            raise _unknown(structure, species)
    settings = {"structure": CrystalStructure(structure), "species": species, "a": round(a, 3), "cubic": False}
    if structure == "hcp":
        settings["c"] = round(a * ratio, 3)
    return Crystal(f"{structure}-{''.join(species)}", BuilderSettings(**settings), origin)


def _unknown(structure: str, species: tuple[str, ...]) -> InputError:
    return InputError(
        f"no lattice constant is known for {structure} {''.join(species)}",
        where="--structure",
        hint="say it in A, as --lattice-constant 4.2, or begin with a file: --from POSCAR",
    )


def _reference_of(element: str) -> Reference:
    found = _reference(element)
    if found is None:
        hint = "name one and its size, as --structure bcc --lattice-constant 3.2, or begin with a file: --from POSCAR"
        raise InputError(f"ASE lists no simple crystal of {element}", where="--elements", seen=element, hint=hint)
    return found


def _reference(element: str) -> Reference | None:
    from ase.data import atomic_numbers, reference_states

    state: dict[str, Any] = reference_states[atomic_numbers[element]] or {}
    ratio = float(state.get("c/a", _IDEAL))
    if state.get("symmetry") not in _OF_ONE or "a" not in state or ratio > _MOST:
        return None
    return Reference(str(state["symmetry"]), float(state["a"]), ratio)


def _volume_factor(structure: str, ratio: float) -> float:
    """Volume of an atom over a^3."""
    return 3**0.5 / 4 * ratio if structure == "hcp" else 1 / ATOMS_IN_CUBE[structure]
