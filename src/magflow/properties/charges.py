"""What Born charges and the dielectric constant do to long waves: phonopy's non-analytical term correction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magflow.properties.harmonic import phonopy_of

if TYPE_CHECKING:
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    from magflow.core.frame import Frame

NOTE = "Born charges and dielectric constant as they were given"
"""Remark of a result that they are in."""


def charges_of(primitive: PhonopyAtoms, born: str) -> Any:
    """What phonopy and phono3py take as `nac_params`: None without charges.

    Parameters
    ----------
    born
        Text of a BORN file of phonopy: a line with its factor, the dielectric constant, and the charges of each
        independent atom of the primitive cell. Empty: no charges.

    Raises
    ------
    BORNFileParseError, ValueError
        If it is not of this format.
    """
    from phonopy.file_IO import parse_BORN_from_strings

    return parse_BORN_from_strings(born, primitive) if born else None


def charged(phonons: Phonopy, born: str) -> Phonopy:
    """The same phonons with the charges of a BORN file, or with none.

    Waves near Gamma are those of Gonze and Lee, Phys. Rev. B 55, 10355 (1997), as phonopy has them.
    """
    phonons.nac_params = charges_of(phonons.primitive, born)
    return phonons


def why_not_charged(frame: Frame, born: str) -> str:
    """Why the charges of a BORN file cannot be those of a crystal; empty if they can."""
    from phonopy.exception import BORNFileParseError
    from pymatgen.core import Element

    elements = sorted(set(frame.species))
    if all(Element(e).is_metal for e in elements):
        return f"Born charges are for insulators; its elements are metals ({', '.join(elements)}), which screen them"
    phonons = phonopy_of(frame)
    try:
        charges_of(phonons.primitive, born)
    except (BORNFileParseError, ValueError) as error:
        atoms = len(phonons.primitive_symmetry.get_independent_atoms())
        return (
            f"its Born charges are not in phonopy's format ({error}); expected: a line with the factor, nine numbers "
            f"of the dielectric constant, nine of each of the {atoms} independent atoms of the primitive cell"
        )
    return ""
