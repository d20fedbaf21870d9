"""Structures built from a name: lattices of one or two elements, and the carbides of iron and chromium."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from magflow.core.frame import Frame
from magflow.errors import InputError


class CrystalStructure(StrEnum):
    """Structures that can be built; b2 is another name for cesiumchloride."""

    SC = "sc"
    FCC = "fcc"
    BCC = "bcc"
    HCP = "hcp"
    DIAMOND = "diamond"
    B2 = "b2"
    CESIUMCHLORIDE = "cesiumchloride"
    ROCKSALT = "rocksalt"
    ZINCBLENDE = "zincblende"
    WURTZITE = "wurtzite"
    CEMENTITE = "cementite"
    M7C3 = "m7c3"
    M23C6 = "m23c6"


@dataclass(frozen=True)
class PublishedCell:
    """A structure with inner coordinates.

    Parameters
    ----------
    group
        Number of the space group, standard setting.
    lengths
        Edges of the conventional cell, A.
    sites
        Whether the site holds carbon, and its coordinates in the conventional cell.
    """

    group: int
    lengths: tuple[float, float, float]
    sites: tuple[tuple[bool, tuple[float, float, float]], ...]


CARBIDES = {
    CrystalStructure.CEMENTITE: PublishedCell(
        62,
        (5.090, 6.748, 4.523),
        ((False, (0.186, 0.063, 0.328)), (False, (0.036, 0.25, 0.852)), (True, (0.890, 0.25, 0.450))),
    ),
    CrystalStructure.M7C3: PublishedCell(
        62,
        (4.526, 7.010, 12.142),
        (
            (False, (0.0565, 0.0642, 0.8119)),
            (False, (0.2509, 0.0657, 0.0218)),
            (False, (0.0579, 0.25, 0.6261)),
            (False, (0.2501, 0.25, 0.2063)),
            (False, (0.2619, 0.25, 0.4165)),
            (True, (0.4594, 0.25, 0.5629)),
            (True, (0.0288, 0.0291, 0.3428)),
        ),
    ),
    CrystalStructure.M23C6: PublishedCell(
        225,
        (10.650, 10.650, 10.650),
        (
            (False, (0.0, 0.0, 0.0)),
            (False, (0.25, 0.25, 0.25)),
            (False, (0.3809, 0.3809, 0.3809)),
            (False, (0.0, 0.1699, 0.1699)),
            (True, (0.2765, 0.0, 0.0)),
        ),
    ),
}
"""Cementite Fe3C, Pnma, 16 atoms: F. H. Herbstein and J. Smuts, Acta Cryst. 17, 1331 (1964). Cr7C3, Pnma, 40 atoms:
M. A. Rouault, P. Herpin and M. R. Fruchart, Ann. Chim. 5, 461 (1970). Cr23C6, Fm-3m, 116 atoms: A. L. Bowman,
G. P. Arnold, E. K. Storms and N. G. Nereson, Acta Cryst. B 28, 3102 (1972). All as collected by M. J. Mehl et al.,
Comput. Mater. Sci. 136, S1 (2017)."""

_ONE_ELEMENT = {
    CrystalStructure.SC,
    CrystalStructure.FCC,
    CrystalStructure.BCC,
    CrystalStructure.HCP,
    CrystalStructure.DIAMOND,
}
_HEXAGONAL = {CrystalStructure.HCP, CrystalStructure.WURTZITE}


class BuilderSettings(BaseModel):
    """A structure built from its name and lattice constant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    structure: CrystalStructure
    species: tuple[str, ...] = Field(
        min_length=1, max_length=2, description="one or two elements; in a carbide the metal, then carbon"
    )
    a: float | None = Field(
        default=None, gt=0, description="lattice constant, A; a carbide has its published one if it is left out"
    )
    c: float | None = Field(default=None, gt=0, description="second lattice constant of hcp and wurtzite, A")
    cubic: bool = Field(default=True, description="the conventional cubic cell instead of the primitive one")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        needed = 1 if self.structure in _ONE_ELEMENT else 2
        if len(self.species) != needed:
            raise ValueError(f"structure {self.structure} needs {needed} species, not {len(self.species)}")
        if self.a is None and self.structure not in CARBIDES:
            raise ValueError(f"structure {self.structure} needs its lattice constant a")
        if self.c is not None and self.structure not in _HEXAGONAL:
            raise ValueError(f"structure {self.structure} has no lattice constant c")
        return self


def from_builder(builder: BuilderSettings, where: str) -> Frame:
    """The structure, without moments.

    Raises
    ------
    InputError
        If it cannot be built.
    """
    cell = CARBIDES.get(builder.structure)
    return _lattice(builder, where) if cell is None else _carbide(builder, cell)


def _lattice(builder: BuilderSettings, where: str) -> Frame:
    from ase.build import bulk

    structure = "cesiumchloride" if builder.structure is CrystalStructure.B2 else str(builder.structure)
    cubic = builder.cubic and builder.structure not in _HEXAGONAL
    try:
        atoms = bulk("".join(builder.species), structure, a=builder.a, c=builder.c, cubic=cubic)
    except (RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"the structure cannot be built: {error}", where=where) from error
    # bulk() presets moments of the elements; only the geometry is wanted
    return Frame(tuple(atoms.symbols), np.array(atoms.cell), atoms.positions)


def _carbide(builder: BuilderSettings, published: PublishedCell) -> Frame:
    """The published cell, all edges scaled to the `a` of `builder`."""
    from ase.spacegroup import crystal

    scale = 1.0 if builder.a is None else builder.a / published.lengths[0]
    atoms = crystal(
        [builder.species[int(carbon)] for carbon, _ in published.sites],
        [place for _, place in published.sites],
        spacegroup=published.group,
        cellpar=[*(scale * length for length in published.lengths), 90.0, 90.0, 90.0],
        primitive_cell=not builder.cubic,
    )
    return Frame(tuple(atoms.symbols), np.array(atoms.cell), atoms.positions)
