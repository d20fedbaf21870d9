"""What an alloy A(1-x)B(x) does as x grows: formation energy, lattice parameter, total moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import AfterValidator, Field

from magflow.core.frame import Frame
from magflow.core.prediction import Prediction
from magflow.core.protocols import WorkProgress, silent
from magflow.core.types import BoolArray, FloatArray
from magflow.core.units import EV_PER_A3_IN_GPA
from magflow.explore.geometry import repeated
from magflow.explore.substitution import Substitution, substituted
from magflow.explore.symmetry import FIRST_CUBIC, atoms_of_conventional_cell, space_group
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.presentation.blocks import Plot
from magflow.properties.alloys import all_of_first, blown_up, crystal_of, no_crystal, of_both, share
from magflow.properties.base import PointProperty
from magflow.properties.composition_plots import (
    CELLS,
    EACH,
    ENERGY,
    HULL,
    LATTICE,
    LOWEST,
    MEAN,
    MOMENT,
    VOLUME,
    X,
    figure,
)  # fmt: skip
from magflow.properties.measurement import Curve, Measurement, Moments, Reading, Value
from magflow.properties.runs import repeats_for
from magflow.properties.subject import Subject, UnmeasurableError

BEST, AVERAGE = "formation energy, lowest", "formation energy, mean"
STRAINED = 1.0
"""GPa; a crystal under more is not at rest."""


def _shares(fractions: Sequence[float]) -> tuple[float, ...]:
    if list(fractions) != sorted(set(fractions)) or not 0.0 <= fractions[0] <= fractions[-1] <= 1.0:
        raise ValueError("they rise, from 0 at least to 1 at most")
    return tuple(fractions)


class Composition(PointProperty):
    """Solid solutions on the lattice of the structure; cells, atoms and moments at rest.

    A is the first element of the structure, B the other one. Each composition is taken in several decorations of one
    supercell, those nearest to a random alloy (:func:`magflow.explore.substitution.substituted`); an alloy that is
    given as the structure is one of those of its composition. Formation energies are above A on the lattice and B in
    the crystal it has by itself, as ASE lists them. Each member relaxes the cells by itself for its spread.
    """

    name: ClassVar[str] = "composition"
    title: ClassVar[str] = "Alloys of rising composition"
    headline: ClassVar[tuple[str, ...]] = (BEST,)

    by: str | None = Field(default=None, description="B; left out: the other element the potential knows")
    fractions: Annotated[tuple[float, ...], AfterValidator(_shares)] = Field(
        default=(0.0, 0.125, 0.25, 0.375, 0.5),
        min_length=1,
        description="x, from 0 to 1, rounded to whole atoms of the supercell",
    )
    atoms: int = Field(default=16, ge=2, le=256, description="of the supercell, at least")
    decorations: int = Field(default=5, ge=1, le=64, description="of each composition, at most")
    seed: int = Field(default=0, ge=0, description="another seed, other decorations")

    def quick(self) -> Self:
        """Two decorations of three compositions, in cells of eight atoms."""
        return self.model_copy(update={"fractions": (0.0, 0.25, 0.5), "atoms": 8, "decorations": 2})

    def obstacle(self, subject: Subject) -> str:
        """No second element, or several; moments that nobody gave to it."""
        own, known = list(dict.fromkeys(subject.frame.species)), subject.ensemble.species
        others = [s for s in known if s != own[0]]
        if self.by is not None and self.by not in others:
            what = "is that of the structure itself" if self.by == own[0] else "is none the potential knows"
            return f"the element {self.by} {what}; it knows {', '.join(known)}"
        if len(own) > 2 or (len(own) == 2 and self.by not in (None, own[1])):
            return f"the structure holds {', '.join(own)}: one of A, or of A and B, is asked for"
        if not others:
            return f"the potential knows {own[0]} alone"
        if len(own) == 1 and self.by is None and len(others) > 1:
            return f"the potential knows several other elements: {', '.join(others)}; name one (by)"
        if subject.moments is Moments.FIXED:
            return "nobody says what moments the other element has; let them relax"
        total = len(subject.frame) * int(np.prod(self._repeats(subject.frame)))
        lost = [x for x in self.fractions if 0.0 < x < 1.0 and round(x * total) in (0, total)]
        if lost:
            return f"a share of {lost[0]:g} rounds to none or all of {total} atoms; ask for more atoms"
        return no_crystal(self._other(subject))

    def _other(self, subject: Subject) -> str:
        """B."""
        first = subject.frame.species[0]
        found = [
            *(s for s in subject.frame.species if s != first),
            *(s for s in subject.ensemble.species if s != first),
        ]
        return self.by or found[0]

    def frames(self, subject: Subject, progress: WorkProgress = silent) -> list[Frame]:
        """A on the lattice, B by itself, then the alloys, x rising; all at rest.

        A potential that knows no crystal of B may bring none to rest: it is then taken as ASE lists it. Alloys that do
        not come to rest are left out.
        """
        other = self._other(subject)
        mixed = of_both(subject, other)
        host = mixed.at_rest(frame=all_of_first(subject.frame))
        pure = _rest_or_start(mixed, crystal_of(other, mixed))
        alloys = [blown_up(cell, host, pure) for cell in self._decorated(host, other)]
        if other in subject.frame.species:
            alloys.append(subject.frame)
        return [host, pure, *mixed.those_at_rest(sorted(alloys, key=lambda f: share(f, other)))]

    def _repeats(self, lattice: Frame) -> tuple[int, int, int]:
        a, b, c = (int(n) for n in repeats_for(lattice, self.atoms))
        return a, b, c

    def _decorated(self, host: Frame, other: str) -> list[Frame]:
        """The alloys as they are before they relax."""
        cell = repeated(host, self._repeats(host))
        made = []
        for n in dict.fromkeys(round(x * len(cell)) for x in self.fractions):
            if n == len(cell):
                made.append(Frame((other,) * n, cell.cell, cell.positions, cell.magmoms))
            elif n:
                part = Substitution(
                    replace=host.species[0], by=other, fraction=n / len(cell), configurations=self.decorations,
                    seed=self.seed,
                )  # fmt: skip
                made += substituted(cell, part, self.name)
        return made

    def for_labels(self, subject: Subject) -> list[Frame]:
        """A and B, and of each composition the decoration that is lowest on the potential."""
        frames = self.frames(subject)
        energies = subject.ensemble.predict(frames).mean.energy_per_atom
        rows = [min(some, key=lambda k: energies[k]) for some in self._by_share(subject, frames).values()]
        return [frames[k] for k in dict.fromkeys([0, 1, *rows])]

    def _by_share(self, subject: Subject, frames: Sequence[Frame]) -> dict[float, list[int]]:
        """x, rising, to the rows of its decorations; A itself where 0 is asked for."""
        found: dict[float, list[int]] = {0.0: [0]} if 0.0 in self.fractions else {}
        for k, frame in enumerate(frames[2:], start=2):
            found.setdefault(share(frame, self._other(subject)), []).append(k)
        return found

    def read(self, subject: Subject, frames: Sequence[Frame], points: Prediction) -> Reading:
        """Formation energies: lowest, hull, and mean of the decorations where there are several."""
        other, rows = self._other(subject), self._by_share(subject, frames)
        if len(frames) < 3 and max(self.fractions) > 0.0:
            raise UnmeasurableError("no alloy comes to rest", where=subject.name)
        shares = np.array([share(f, other) for f in frames])
        above = points.energy_per_atom - (1.0 - shares) * points.energy_per_atom[0] - shares * points.energy_per_atom[1]
        x = np.array(list(rows))
        lowest = np.array([above[some].min() for some in rows.values()])
        hull = lowest - _above_hull((subject.frame.species[0], other), x, lowest)
        curves: dict[str, Curve] = {LOWEST: {X: x, ENERGY: lowest, HULL: hull}}
        values = [
            Value(BEST, "meV/atom", 1e3 * e, at=_at(s)) for s, e in zip(x, lowest.tolist(), strict=True) if s > 0.0
        ]
        if len(frames) - 2 > len(rows) - (0.0 in rows):
            means = np.array([above[some].mean() for some in rows.values()])
            each = [k for some in rows.values() for k in some]
            curves |= {MEAN: {X: x, ENERGY: means}, EACH: {X: shares[each], ENERGY: above[each]}}
            values += [
                Value(AVERAGE, "meV/atom", 1e3 * e, at=_at(s)) for s, e in zip(x, means.tolist(), strict=True) if s
            ]
        left = float(np.abs(points.stress[1]).max()) * EV_PER_A3_IN_GPA
        strained = f"formation energies: untrusted, {other} by itself is under {left:.2g} GPa"
        return Reading(tuple(values), curves, (strained,) if left > STRAINED else ())

    def describe(self, subject: Subject, frames: Sequence[Frame]) -> Reading:
        """Volume, lattice parameter of a cubic lattice, total moment: means over the decorations; what is missing."""
        rows = self._by_share(subject, frames)
        columns: dict[str, FloatArray] = {X: np.array(list(rows))}

        def column(head: str, of: Callable[[Frame], float]) -> None:
            columns[head] = np.array([np.mean([of(frames[k]) for k in some]) for some in rows.values()])

        column(VOLUME, lambda f: f.volume / len(f))
        lattice = all_of_first(subject.frame)
        if space_group(lattice) >= FIRST_CUBIC:
            n = atoms_of_conventional_cell(lattice)
            column(LATTICE, lambda f: float(np.cbrt(n * f.volume / len(f))))
        if subject.moments is not Moments.NOT_READ and all(f.magmoms is not None for f in frames):
            column(MOMENT, lambda f: float(np.linalg.norm(np.asarray(f.magmoms).sum(axis=0))) / len(f))
        values = [
            Value(head.partition(" (")[0], head.partition("(")[2].rstrip(")"), float(v), at=_at(x))
            for head, found in columns.items()
            if head != X
            for x, v in zip(rows, found, strict=True)
        ]
        other = self._other(subject)
        wanted = len(self._decorated(frames[0], other)) + (other in subject.frame.species)
        lost = wanted - len(frames[2:])
        remarks = (f"untrusted: {lost} of {wanted} alloys do not come to rest and are left out",) if lost else ()
        return Reading(tuple(values), {CELLS: columns}, remarks)

    def by_member(self, subject: Subject, frames: Sequence[Frame]) -> list[Reading]:
        """What each member says of the cells that it brings to rest by itself."""
        readings = []
        for member in subject.ensemble.members:
            one = PotentialEnsemble((member,), subject.ensemble.family_name)
            alone = of_both(replace(subject, ensemble=one), self._other(subject))
            try:
                host, pure, *alloys = frames
                rest = [alone.at_rest(frame=host), _rest_or_start(alone, pure), *alone.those_at_rest(alloys)]
                readings.append(self.read(subject, rest, one.predict(rest).mean) + self.describe(subject, rest))
            except UnmeasurableError:
                continue
        return readings

    def doubts(self, frames: Sequence[Frame], outside: BoolArray | None, values: Sequence[Value]) -> tuple[str, ...]:
        """Compositions outside the training domain, and elements by themselves."""
        if outside is None:
            return ()
        other = frames[1].species[0]
        told = [
            f"formation energies: untrusted, {element} by itself lies outside the training domain"
            for element, k in ((frames[0].species[0], 0), (other, 1))
            if outside[k]
        ]
        shares = np.array([share(f, other) for f in frames[2:]])
        for x in np.unique(shares[outside[2:]]):
            here = outside[2:][shares == x]
            told.append(f"{_at(x)}: untrusted, {here.sum()} of {len(here)} cells lie outside the training domain")
        return tuple(told)

    def plots(self, found: Sequence[tuple[str, Measurement]]) -> list[Plot]:
        """Formation energy, lattice parameter and total moment against x."""
        shown = [(label, m.curves) for label, m in found if m.curves]
        return [figure(found[0][1].structure, shown)] if shown else []


def _rest_or_start(subject: Subject, frame: Frame) -> Frame:
    """`frame` at rest; as it is, if it does not come to rest."""
    return next(iter(subject.those_at_rest([frame])), frame)


def _at(x: float) -> str:
    return f"x = {round(float(x), 4):g}"


def _above_hull(elements: tuple[str, str], x: FloatArray, above: FloatArray) -> FloatArray:
    """(n,) eV/atom of energies `above` the elements at shares `x` of the second, above their convex hull."""
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition as Formula

    def entry(share: float, energy: float) -> PDEntry:
        return PDEntry(Formula({elements[0]: 1.0 - share, elements[1]: share}), energy)

    alloys = [entry(s, e) for s, e in zip(x, above, strict=True)]
    hull = PhaseDiagram([entry(0.0, 0.0), entry(1.0, 0.0), *alloys])
    return np.array([hull.get_e_above_hull(alloy) for alloy in alloys])
