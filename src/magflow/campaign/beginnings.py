"""Campaign files made for elements or for a structure; they name where lattice constants and moments are from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import ceil
from pathlib import Path
from string import Template

import numpy as np

from magflow.campaign.lattices import ATOMS_IN_CUBE, Crystal, crystals
from magflow.core.moments import is_collinear
from magflow.errors import InputError
from magflow.explore.builders import BuilderSettings, from_builder
from magflow.explore.orderings import PrototypeOrdering
from magflow.explore.prototypes import PrototypeSettings, build_prototypes
from magflow.io.configuration import read_configuration

LARGEST_MOMENTS: Mapping[str, float] = {
    **{"Cr": 2.0, "Mn": 4.0, "Fe": 2.8, "Co": 2.2, "Ni": 1.2},
    **{"Ce": 1.2, "Pr": 2.3, "Nd": 3.4, "Pm": 4.4, "Sm": 5.5, "Eu": 7.4, "Gd": 7.8, "Tb": 6.6, "Dy": 5.5, "Ho": 4.4},
    **{"Er": 3.3, "Tm": 2.2, "Yb": 1.1, "U": 2.2, "Np": 3.3},
}
"""Spin moments up to which an element is sampled, muB. 3d: above the moment of the metal (Fe 2.2, Co 1.7, Ni 0.6) or of
its alloys (Cr, Mn); 4f and 5f: a tenth above the number of unpaired f electrons."""

INDUCED = 0.2
"""muB; what an element without a moment of its own may take from its neighbours."""

_ATOMS = 4  # in the largest cells, which come in all shapes
_SMEARING_HA = 0.01
_COLD_HA = 0.003
_COLD = frozenset({"Ni"})
"""Elements whose moment is gone at the usual smearing: ABINIT finds 0.11 muB in fcc Ni at 0.01 Ha, which is 3158 K."""
_CUBE = 10.5  # A; the smallest edge that k-points are taken from
_SPACING = "0.25                 # largest k-point spacing, 1/A (2 pi included): the mesh follows the cell"
_SKELETON = "beginning.txt"
_ABINIT = """\
  engine: abinit
  settings:
    kind: {kind:<24}# {meant}
    functional: PBE               # PAW datasets come from the package gpaw-data
    ecut_ha: 14                   # plane-wave cutoff, hartree; check convergence before you publish a potential
    pawecutdg_ha: 28              # cutoff of the PAW double grid, hartree
    ecutsm_ha: 0.5                # plane waves fade out below the cutoff: the energy is a smooth function of the cell
    kpoints: {kpoints}
    shift: [0.5, 0.5, 0.5]        # off Gamma: nearer to convergence
    tsmear_ha: {smearing:<6}             # Fermi-Dirac smearing, hartree; much more changes the magnetism
    tolvrs: 1.0e-8                # SCF criterion
    time_limit_s: 3600            # wall seconds one label may take"""
_OTHER = """\
  engine: {engine}
  settings:                       # `magflow schema` lists what the engine offers
    kind: {kind:<24}# {meant}"""


@dataclass(frozen=True)
class Beginning:
    """A campaign file to be written.

    Parameters
    ----------
    name
        Of the campaign.
    prototypes
        Each with the orderings that it can have.
    moments
        Element to the largest moment, muB.
    origins
        Name of a prototype to where its lattice constant comes from.
    kpoints
        What ABINIT's setting of that name says, and a comment.
    """

    name: str
    prototypes: tuple[PrototypeSettings, ...]
    moments: Mapping[str, float]
    origins: Mapping[str, str]
    kpoints: str

    def text(self, engine: str, labels: int) -> str:
        """The file, for `labels` labels of `engine`: the first iteration takes up to half of them, others a sixth."""
        magnetic = max(self.moments.values()) > INDUCED
        kind = ("constrained", "every moment is held at its target") if magnetic else ("non-magnetic", "no moments")
        form = _ABINIT if engine == "abinit" else _OTHER
        words = {
            "name": self.name,
            "elements": ", ".join(sorted(self.moments)),
            "moments": _moments_text(self.moments) if magnetic else " {}                     # none of them has one",
            "prototypes": "\n".join(self._prototype(p) for p in self.prototypes),
            "initial": f"{min(48, ceil(labels / 2)):<4}",
            "batch": f"{min(16, ceil(labels / 6)):<4}",
            "label": form.format(
                engine=engine,
                kind=kind[0],
                meant=kind[1],
                kpoints=self.kpoints,
                smearing=_COLD_HA if _COLD & set(self.moments) else _SMEARING_HA,
            ),
            "targets": "    magnetic_forces_mev_per_mub: 30\n" if magnetic else "",
            "labels": f"{labels:<5}",
        }
        return Template(files(f"{__package__}.templates").joinpath(_SKELETON).read_text("utf-8")).substitute(words)

    def _prototype(self, p: PrototypeSettings) -> str:
        origin = f"      file: {p.file}"
        if p.builder is not None:
            origin = f"      builder: {_builder_text(p.builder)}    # a: {self.origins[p.name]}"
        lines = [f"    - name: {p.name}", origin]
        lines += [f"      sizes: [{', '.join(map(str, p.sizes))}]"] if p.sizes else []
        lines += [f"      orderings: [{', '.join(p.orderings)}]"]
        lines += [f"      weight: {p.weight:g}"] if p.weight != 1.0 else []
        return "\n".join(lines)


def of_elements(elements: Sequence[str], structures: Sequence[str], a: float | None = None) -> Beginning:
    """For `elements` in `structures`; arguments as of :func:`magflow.campaign.lattices.crystals`.

    Raises
    ------
    InputError
        As there; or if one crystal carries moments and another does not.
    """
    moments = usual_moments(elements)
    found = list({c.name: c for c in crystals(elements, structures, a)}.values())
    without = [c.name for c in found if max(moments[e] for e in c.builder.species) <= INDUCED]
    if without and max(moments.values()) > INDUCED:
        raise InputError(
            "magnetic labels need moments, and a crystal has none",
            where="--elements",
            seen=", ".join(without),
            expected="a magnetic element in each crystal",
            hint="name a structure that holds both, as --structure b2",
        )
    prototypes, origins = [], {}
    for crystal in found:
        for prototype in _cells(crystal, moments):
            prototypes.append(prototype)
            origins[prototype.name] = crystal.origin
    return Beginning("-".join(c.name for c in found)[:80], tuple(prototypes), moments, origins, _kpoints(found))


def of_file(structure: Path, folder: Path) -> Beginning:
    """For the crystal in a file; the campaign file will stand in `folder`.

    Raises
    ------
    InputError
        If it cannot be read, holds several configurations, or moments that are not collinear.
    """
    frame = read_configuration(structure)
    moments = usual_moments(sorted(set(frame.species)))
    if frame.magmoms is not None and not is_collinear(frame.magmoms):
        raise InputError("the moments are not collinear along z", where=str(structure), hint="turn or remove them")
    given = frame.magmoms is not None and bool(np.abs(frame.magmoms).max() > INDUCED)
    name = frame.formula
    settings = PrototypeSettings(name=name, file=Path(os.path.relpath(structure, folder)))
    first = PrototypeOrdering.GIVEN if given else PrototypeOrdering.FM
    return Beginning(name, (_ordered(settings, first, moments, folder),), moments, {}, _SPACING)


def usual_moments(elements: Sequence[str]) -> dict[str, float]:
    """Element to the moment up to which it is sampled, muB.

    Raises
    ------
    InputError
        If one is no chemical symbol.
    """
    from ase.data import atomic_numbers

    if unknown := [e for e in elements if not atomic_numbers.get(e)]:
        raise InputError("no chemical symbols", where="--elements", seen=", ".join(unknown), expected="such as Fe,Ni")
    return {e: LARGEST_MOMENTS.get(e, INDUCED) for e in elements}


def _cells(crystal: Crystal, moments: Mapping[str, float]) -> list[PrototypeSettings]:
    """Cells of two atoms in every magnetic order, and of four in all shapes, whose displacements are waves."""
    atoms = len(from_builder(crystal.builder, crystal.name))
    of_it = {"builder": crystal.builder}
    present = {e: moments[e] for e in crystal.builder.species}
    small = PrototypeSettings(name=crystal.name, sizes=(2 // atoms,), **of_it)
    waves = PrototypeSettings(name=f"{crystal.name}-waves", sizes=(_ATOMS // atoms,), weight=2.0, **of_it)
    small = _ordered(small, PrototypeOrdering.FM, present, Path())
    return [small, waves.model_copy(update={"orderings": small.orderings[:1]})]


def _ordered(
    settings: PrototypeSettings, first: PrototypeOrdering, moments: Mapping[str, float], folder: Path
) -> PrototypeSettings:
    """In the order `first`, and antiparallel if the structure can be; non-magnetic without moments."""
    if max(moments.values()) <= INDUCED:
        return settings.model_copy(update={"orderings": (PrototypeOrdering.NM,)})
    ranges = {e: (0.0, largest) for e, largest in moments.items()}
    for more in (PrototypeOrdering.AFM, PrototypeOrdering.FIM):
        trial = settings.model_copy(update={"orderings": (first, more)})
        try:
            build_prototypes([trial], sorted(moments), folder, ranges)
        except InputError:
            continue
        return trial
    return settings.model_copy(update={"orderings": (first,)})


def _kpoints(found: Sequence[Crystal]) -> str:
    """One set of points for all cells of one cubic crystal; else a spacing.

    Of a lattice L, every sublattice of index n holds n L. So cells of `_ATOMS` atoms, whatever their shape, fit into
    the cube of n lattice constants, and into its multiples.
    """
    a = found[0].builder.a
    if a is None or any(c.builder.a != a or c.builder.structure not in ATOMS_IN_CUBE for c in found):
        return _SPACING
    step = max(_ATOMS // len(from_builder(c.builder, c.name)) for c in found)
    number = step * ceil(_CUBE / (step * a))
    value = f"{{cube: {round(number * a, 3):g}}}"
    return f"{value:<21}# A: {number} lattice constants; the same points in cells of all shapes"


def _builder_text(b: BuilderSettings) -> str:
    words = [f"structure: {b.structure}", f"species: [{', '.join(b.species)}]", f"a: {b.a:g}"]
    words += [] if b.c is None else [f"c: {b.c:g}"]
    return f"{{{', '.join([*words, 'cubic: false'])}}}"


def _moments_text(moments: Mapping[str, float]) -> str:
    lines = []
    for element, largest in sorted(moments.items()):
        why = "a usual range: narrow or widen it" if largest > INDUCED else "follows its neighbours, of either sign"
        value = f"{element}: [0.0, {largest}]"
        lines.append(f"\n    {value:<30}# {why}")
    return "".join(lines)
