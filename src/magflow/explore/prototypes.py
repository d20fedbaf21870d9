"""Prototypes: the structures and magnetic orderings a campaign starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from magflow.core.frame import Frame
from magflow.core.moments import collinear, is_collinear
from magflow.core.types import FloatArray, IntArray
from magflow.errors import InputError
from magflow.explore.builders import BuilderSettings, from_builder
from magflow.explore.candidate import Candidate, DisplacementRange, MomentRanges, site_moments
from magflow.explore.geometry import nearest_distance, repeated
from magflow.explore.orderings import PrototypeOrdering, named, sign_patterns
from magflow.explore.shapes import cells_of
from magflow.explore.substitution import Substitution, substituted
from magflow.io.configuration import read_configuration

_SAME_PLACE = 0.3  # A

MomentRange = tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]]


class PrototypeSettings(BaseModel):
    """One structure, from a file or a builder, and the magnetic orderings it is taken in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, pattern=r"^[^:\s]+$", description="name without spaces and colons, e.g. bcc-Fe")
    file: Path | None = Field(default=None, description="POSCAR, CIF, extxyz or any format of ASE, one configuration")
    builder: BuilderSettings | None = None
    supercell: tuple[int, int, int] = Field(default=(1, 1, 1), description="repeats along each axis")
    sizes: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field(
        default=(),
        description="unit cells per cell: instead of one supercell every inequivalent cell of these sizes, of all "
        "shapes",
    )
    substitution: Substitution | None = Field(
        default=None, description="another element on a share of the sites, for solid solutions"
    )
    orderings: tuple[PrototypeOrdering, ...] = Field(
        default=(PrototypeOrdering.FM,),
        min_length=1,
        description="FM, AFM, FiM, NM, DLM (random), given (signs in the file), enumerate (FM, every AFM and FiM)",
    )
    moments: dict[str, MomentRange] = Field(
        default_factory=dict,
        description="range of |m| per element in this structure, muB, within that of the system; an element left out "
        "has the system's",
    )
    displacement: DisplacementRange | None = Field(
        default=None,
        description="displacement of each atom in this structure, A rms, as in explore.domain; 0: the strained crystal "
        "itself, for elastic constants; left out: that of the domain",
    )
    max_patterns: int = Field(default=8, ge=1, description="sign patterns kept per ordering, most symmetric first")
    weight: float = Field(default=1.0, gt=0, description="share of the samples, relative to the other prototypes")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.file is None) == (self.builder is None):
            raise ValueError("give either file or builder")
        if min(self.supercell) < 1 or np.prod(self.supercell) > 1000:
            raise ValueError("supercell needs three positive repeats, at most 1000 cells")
        if self.sizes and self.supercell != (1, 1, 1):
            raise ValueError("give either supercell or sizes")
        if PrototypeOrdering.GIVEN in self.orderings and self.file is None:
            raise ValueError("ordering 'given' needs a file that holds moments")
        return self


@dataclass(frozen=True, eq=False)
class Prototype:
    """One structure in one magnetic order.

    Parameters
    ----------
    name
        Name of the structure.
    ordering
        FM, AFM, FiM, NM or DLM.
    frame
        The ideal structure; magnetic sites carry the largest moment of their range, induced ones zero.
    pattern
        (N,) +1 or -1 on magnetic sites, 0 on others. In DLM the signs are drawn anew for each sample.
    index
        Counts the patterns of one ordering.
    weight
        Share of the samples.
    moments
        Range of |m| by element in this structure where it is another than the system's, muB.
    displacement
        Displacement of its atoms where it is another than the domain's, A rms: one, or lowest and highest.
    """

    name: str
    ordering: PrototypeOrdering
    frame: Frame
    pattern: tuple[int, ...]
    index: int = 0
    weight: float = 1.0
    moments: MomentRanges = field(default_factory=dict)
    displacement: DisplacementRange | None = None

    @property
    def label(self) -> str:
        """``bcc-Fe:AFM``; ``bcc-Fe:AFM2`` for the second pattern of the same order."""
        return f"{self.name}:{self.ordering}{self.index + 1 if self.index else ''}"

    def as_dict(self) -> dict[str, Any]:
        """JSON form, readable by monty."""
        frame = self.frame
        narrowed: dict[str, Any] = {}
        if self.moments:
            narrowed["moments"] = {element: list(limits) for element, limits in self.moments.items()}
        if self.displacement is not None:
            narrowed["displacement"] = self.displacement
        return {
            "@module": type(self).__module__,
            "@class": type(self).__name__,
            "name": self.name,
            "ordering": str(self.ordering),
            "species": list(frame.species),
            "cell": frame.cell.tolist(),
            "positions": frame.positions.tolist(),
            "magmoms": None if frame.magmoms is None else frame.magmoms.tolist(),
            "pattern": list(self.pattern),
            "index": self.index,
            "weight": self.weight,
            **narrowed,
        }

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Prototype:
        """Inverse of :meth:`as_dict`."""
        frame = Frame(tuple(d["species"]), d["cell"], d["positions"], d["magmoms"])
        pattern = tuple(int(p) for p in d["pattern"])
        moments = {element: (low, high) for element, (low, high) in d.get("moments", {}).items()}
        displacement = d.get("displacement")
        return cls(
            d["name"],
            PrototypeOrdering(d["ordering"]),
            frame,
            pattern,
            d["index"],
            d["weight"],
            moments,
            tuple(displacement) if isinstance(displacement, list) else displacement,
        )


def build_prototypes(
    settings: Sequence[PrototypeSettings], elements: Sequence[str], base_dir: Path, moments: MomentRanges
) -> list[Prototype]:
    """All structures in all orderings asked for.

    Parameters
    ----------
    settings
        The prototypes of a campaign file.
    elements
        Elements of the campaign; no structure may hold another.
    base_dir
        Files are looked up relative to it.
    moments
        Range of |m| by element, muB; says which sites are magnetic.

    Raises
    ------
    InputError
        Two prototypes of one name, a missing or malformed file, an element outside the campaign, an ordering the
        structure cannot have.
    """
    built = [_build(s, elements, base_dir, moments) for s in settings]
    names = [name for group in built for name in {p.name for p in group}]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise InputError("two prototypes have the same name", where="prototypes", seen=", ".join(twice))
    return [p for group in built for p in group]


def seeds(prototypes: Sequence[Prototype]) -> list[Candidate]:
    """The ideal structures themselves."""
    return [Candidate(p.frame, f"prototype:{p.label}") for p in prototypes]


def _build(s: PrototypeSettings, elements: Sequence[str], base_dir: Path, moments: MomentRanges) -> list[Prototype]:
    where = f"prototype {s.name}"
    unit = from_builder(s.builder, where) if s.builder else _from_file(base_dir / (s.file or ""), where)
    frames = _frames(s, unit, where)
    _check_moments(s, moments, where)
    foreign = sorted({species for frame in frames.values() for species in frame.species} - set(elements))
    if foreign:
        raise InputError(
            "an element that is not in the campaign",
            where=where,
            seen=", ".join(foreign),
            expected="only " + ", ".join(elements),
        )
    share = s.weight / len(frames)
    return [p for name, frame in frames.items() for p in _ordered(s, name, frame, share, moments, unit.cell)]


def _frames(s: PrototypeSettings, unit: Frame, where: str) -> dict[str, Frame]:
    """The cells by name: ``bcc-Fe``; of all shapes of 4 unit cells ``bcc-Fe-4a``, ``bcc-Fe-4b``; solid solutions
    ``bcc-FeCr-1``, ``bcc-FeCr-2``.
    """
    cells = {s.name: repeated(unit, s.supercell)}
    if s.sizes:
        cells = {f"{s.name}-{n}{_letters(k)}": cell for n in s.sizes for k, cell in enumerate(cells_of(unit, n))}
    if s.substitution is None:
        return cells
    one = s.substitution.configurations == 1
    return {
        name if one else f"{name}-{k + 1}": frame
        for name, cell in cells.items()
        for k, frame in enumerate(substituted(cell, s.substitution, where))
    }


def _check_moments(s: PrototypeSettings, moments: MomentRanges, where: str) -> None:
    for element, (low, high) in s.moments.items():
        least, most = moments.get(element, (0.0, 0.0))
        if not least <= low <= high <= most:
            raise InputError(
                f"the moments of {element} are not within the system's",
                where=where,
                seen=f"[{low:g}, {high:g}]",
                expected=f"smallest and largest |m| within [{least:g}, {most:g}] muB",
            )


def _letters(k: int) -> str:
    """Number 0 is a, 25 z, 26 aa."""
    return ("" if k < 26 else _letters(k // 26 - 1)) + chr(ord("a") + k % 26)


def _ordered(
    s: PrototypeSettings, name: str, whole: Frame, weight: float, moments: MomentRanges, unit_cell: FloatArray
) -> list[Prototype]:
    """One structure in all orderings asked for."""
    where = f"prototype {name}"
    frame, given = whole.non_magnetic(), _given(whole, where) if PrototypeOrdering.GIVEN in s.orderings else None
    sites = site_moments(frame.species, {**moments, **s.moments})
    signed = sign_patterns(frame, sites.magnetic, np.rint(frame.cell @ np.linalg.inv(unit_cell)).astype(np.int64))
    prototypes = []
    for ordering in dict.fromkeys(s.orderings):
        patterns = _patterns(ordering, frame.species, signed, given, where)
        for kind in dict.fromkeys(k for k, _ in patterns):
            for index, pattern in enumerate([p for k, p in patterns if k == kind][: s.max_patterns]):
                magmoms = None if kind == PrototypeOrdering.NM else pattern * sites.high
                built = Frame(frame.species, frame.cell, frame.positions, magmoms)
                signs = tuple(pattern.tolist())
                prototypes.append(Prototype(name, kind, built, signs, index, weight, s.moments, s.displacement))
    unique: dict[tuple[PrototypeOrdering, tuple[int, ...]], Prototype] = {}
    for p in prototypes:
        unique.setdefault((p.ordering, p.pattern), p)
    return list(unique.values())


def _given(frame: Frame, where: str) -> FloatArray | None:
    """(N,) moments of the file along z, muB."""
    if frame.magmoms is None:
        return None
    if not is_collinear(frame.magmoms):
        raise InputError("the moments of the file are not collinear", where=where, expected="moments along z only")
    return collinear(frame.magmoms)


def _patterns(
    ordering: PrototypeOrdering,
    species: Sequence[str],
    signed: list[IntArray],
    given: FloatArray | None,
    where: str,
) -> list[tuple[PrototypeOrdering, IntArray]]:
    """Patterns of one requested ordering with the name of each; `signed` are all patterns the magnetic sites allow."""
    if ordering is PrototypeOrdering.NM:
        return [(PrototypeOrdering.NM, np.zeros(len(species), dtype=np.int64))]
    if not signed:
        raise InputError(
            f"no site is magnetic, so {ordering} is not possible",
            where=where,
            expected="ordering NM, or a moment range for one of its elements",
        )
    magnetic = signed[0] != 0
    if ordering is PrototypeOrdering.GIVEN:
        if given is None or not (given * magnetic).any():
            raise InputError("the file holds no moments on magnetic sites", where=where, hint="name an ordering")
        pattern = np.where(magnetic, np.where(given < 0, -1, 1), 0)
        return [(named(pattern, species), pattern)]
    if ordering is PrototypeOrdering.DLM:
        found = [(PrototypeOrdering.DLM, magnetic.astype(np.int64))]
    else:
        found = [(named(p, species), p) for p in signed]
        if ordering is not PrototypeOrdering.ENUMERATE:
            found = [(kind, p) for kind, p in found if kind == ordering]
    if not found or (ordering is PrototypeOrdering.DLM and magnetic.sum() < 2):
        raise InputError(
            f"{ordering} does not fit into the cell",
            where=where,
            seen=f"{int(magnetic.sum())} magnetic sites",
            hint="use a supercell or another ordering",
        )
    return found


def _from_file(path: Path, where: str) -> Frame:
    where = f"{where}, {path}"
    frame = read_configuration(path, where=where)
    nearest = nearest_distance(frame)
    if nearest < _SAME_PLACE:
        raise InputError(
            "two atoms at the same place",
            where=where,
            seen=f"{nearest:.3f} A apart",
            hint="partial occupancies have to be resolved into one species per site",
        )
    return frame
