"""What it costs to cut a crystal open, and the moments at its surfaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import AfterValidator, Field

from magflow.core.frame import Frame
from magflow.core.prediction import Prediction
from magflow.core.protocols import WorkProgress, silent
from magflow.core.types import BoolArray
from magflow.core.units import EV_PER_A2_IN_J_PER_M2
from magflow.explore.relaxation.held import Held
from magflow.presentation.blocks import Plot, padded, plot
from magflow.presentation.style import MARKERS, SERIES, draw
from magflow.properties.at_rest import line
from magflow.properties.base import PointProperty
from magflow.properties.measurement import Curve, Measurement, Moments, Reading, Value
from magflow.properties.slabs import Plane, area, cuts, depths, heights, in_own_vectors
from magflow.properties.subject import Subject

THICKNESS, ATOMS, ENERGY = "thickness (A)", "atoms", "surface energy (J/m^2)"
DEPTH, MOMENT = "depth (A)", "|m| (muB)"
PROFILE = "moments "
"""Before the plane, the name of the curve of the moments in the thickest slab."""
SURFACE = "surface energy"
UNSURE = 0.1
"""Spread of a surface energy, as a share of it, from which it is not trusted."""
LAYER = 0.5
"""A; atoms no deeper than this below the outermost one are of the surface layer."""


def _planes(planes: Sequence[Plane]) -> tuple[Plane, ...]:
    if any(not any(p) for p in planes) or len(set(planes)) < len(planes):
        raise ValueError("planes are different triples of integers, not all zero")
    return tuple(planes)


def _rising(sizes: Sequence[float]) -> tuple[float, ...]:
    if list(sizes) != sorted(set(sizes)) or sizes[0] <= 0.0:
        raise ValueError("they rise from above zero")
    return tuple(sizes)


class Surfaces(PointProperty):
    """Surface energies (E(slab) - N E(crystal)) / 2 A of slabs of several thicknesses, the thickest of which counts.

    Slabs hold whole cells of the crystal. Where the two faces of a cut differ, as in (100) of B2, the energy is their
    mean. Of several ways to cut a crystal along one plane the one is taken that costs least before the atoms move. In
    the plane the cell keeps the lengths of the crystal at rest; atoms and moments are at rest.
    """

    name: ClassVar[str] = "surfaces"
    title: ClassVar[str] = "Surfaces"
    headline: ClassVar[tuple[str, ...]] = (SURFACE,)

    planes: Annotated[tuple[Plane, ...], AfterValidator(_planes)] = Field(
        default=((1, 0, 0), (1, 1, 0)), min_length=1, description="Miller indices in the conventional cell"
    )
    thicknesses: Annotated[tuple[float, ...], AfterValidator(_rising)] = Field(
        default=(10.0, 15.0, 20.0),
        min_length=2,
        description="of the slabs, A, at least; their energies show convergence",
    )
    vacuum: float = Field(default=12.0, gt=0, description="between the slabs, A, at least")

    def quick(self) -> Self:
        """Two thin slabs per plane: within some 0.01 J/m^2 of thick ones."""
        return self.model_copy(update={"thicknesses": (8.0, 12.0), "vacuum": 10.0})

    def obstacle(self, subject: Subject) -> str:
        """Faces that feel each other, through the slab or through the vacuum."""
        reach = subject.ensemble.cutoff
        for what, size in (("slab", self.thicknesses[0]), ("vacuum", self.vacuum)):
            if size < reach:
                return f"a {what} of {size:g} A is thinner than the cutoff of {reach:.3g} A: its faces feel each other"
        return ""

    def frames(self, subject: Subject, progress: WorkProgress = silent) -> list[Frame]:
        """The crystal at rest, then the slabs plane by plane, from thin to thick."""
        rest = subject.at_rest()
        slabs = []
        for plane in self.planes:
            index = in_own_vectors(subject.frame, plane)
            slabs += [_cheapest(subject, cuts(rest, index, d, self.vacuum)) for d in self.thicknesses]
        held = {Held.CELL} | (set() if subject.moments is Moments.RELAXED else {Held.MOMENTS})
        return [rest, *subject.all_at_rest(slabs, *held)]

    def _each(self, frames: Sequence[Frame]) -> Iterator[tuple[str, list[int]]]:
        """``(110)`` and the rows of its slabs, from thin to thick."""
        n = len(self.thicknesses)
        for k, plane in enumerate(self.planes):
            yield f"({''.join(map(str, plane))})", list(range(1 + k * n, 1 + (k + 1) * n))

    def read(self, subject: Subject, frames: Sequence[Frame], points: Prediction) -> Reading:
        """The energies, and how they change with the thickness."""
        crystal = points.energy_per_atom[0]
        values, curves, remarks = [], dict[str, Curve](), []
        for at, rows in self._each(frames):
            slabs = [frames[k] for k in rows]
            found = np.array(
                [
                    (points.energy[k] - len(slab) * crystal) / (2.0 * area(slab)) * EV_PER_A2_IN_J_PER_M2
                    for k, slab in zip(rows, slabs, strict=True)
                ]
            )
            thick = np.array([float(np.ptp(heights(slab))) for slab in slabs])
            curves[at] = {THICKNESS: thick, ATOMS: np.array([float(len(s)) for s in slabs]), ENERGY: found}
            values.append(Value(SURFACE, "J/m^2", float(found[-1]), at=at))
            remarks.append(
                f"{at}: from a slab of {thick[-2]:.3g} A to one of {thick[-1]:.3g} A with {len(slabs[-1])} atoms the "
                f"surface energy changes by {found[-1] - found[-2]:+.2g} J/m^2"
            )
        return Reading(tuple(values), curves, tuple(remarks))

    def describe(self, subject: Subject, frames: Sequence[Frame]) -> Reading:
        """The moments of the surface layers, and how they change with the depth."""
        values, curves = [], dict[str, Curve]()
        for at, rows in self._each(frames):
            slab = frames[rows[-1]]
            if slab.magmoms is None:
                continue
            depth, moments = depths(slab), np.linalg.norm(slab.magmoms, axis=1)
            order = np.argsort(depth, kind="stable")
            curves[PROFILE + at] = {DEPTH: depth[order], MOMENT: moments[order]}
            elements = np.array(slab.species)
            for element in sorted(set(elements[depth < LAYER].tolist())):
                of_layer = moments[(depth < LAYER) & (elements == element)]
                which = f"{at} {element}" if len(set(slab.species)) > 1 else at
                values.append(Value("moment of the surface layer", "muB/atom", float(of_layer.mean()), at=which))
        return Reading(tuple(values), curves)

    def doubts(self, frames: Sequence[Frame], outside: BoolArray | None, values: Sequence[Value]) -> tuple[str, ...]:
        """Planes of slabs outside the training domain, or over which the members differ: a potential of crystals."""
        told = []
        for at, rows in self._each(frames):
            (energy,) = (v for v in values if v.name == SURFACE and v.at == at)
            if outside is not None and outside[rows].any():
                number = int(outside[rows].sum())
                told.append(f"{at}: untrusted, {number} of {len(rows)} slabs lie outside the training domain")
            elif energy.spread is not None and energy.spread > UNSURE * abs(energy.value):
                told.append(f"{at}: untrusted, the members differ by {energy.spread:.2g} J/m^2")
        return tuple(told)

    def plots(self, found: Sequence[tuple[str, Measurement]]) -> list[Plot]:
        """The surface energies against the thickness; the moments against the depth, where there are any."""
        shown = [(label, m.curves) for label, m in found if m.curves]
        if not shown:
            return []
        names = [(label, curves, at) for label, curves in shown for at in curves if not at.startswith(PROFILE)]
        columns = 2 if any(PROFILE + at in curves for _, curves, at in names) else 1

        def paint(axes: Any) -> None:
            first, *second = np.atleast_1d(axes)
            for k, (label, curves, at) in enumerate(names):
                style = {
                    "color": SERIES[k % len(SERIES)],
                    "marker": MARKERS[k % len(MARKERS)],
                    "label": f"{label} {at}",
                }
                line(first, curves[at], (THICKNESS, ENERGY), 1.0, style)
                if PROFILE + at in curves:
                    line(second[0], curves[PROFILE + at], (DEPTH, MOMENT), 1.0, {**style, "linewidth": 0.8})
            first.set_xlabel("Thickness of the slab (A)")
            first.set_ylabel("Surface energy (J/m\N{SUPERSCRIPT TWO})")
            first.legend()
            for panel in second:
                panel.set_xlabel("Depth below the surface (A)")
                panel.set_ylabel("|m| (\N{GREEK SMALL LETTER MU}B)")

        structure = found[0][1].structure
        caption = (
            f"Surface energies of {structure} against the thickness of the slab; bands: spread of the ensemble."
            + (" Right: the moments of the thickest slabs from the surface inwards." if columns > 1 else "")
        )
        figure = draw(5.2 * columns, 3.2, paint, ncols=columns)
        return [plot(figure, f"surfaces-{structure}", caption, _numbers(names), wide=columns > 1)]


def _cheapest(subject: Subject, slabs: Sequence[Frame]) -> Frame:
    """The slab of the lowest energy per atom as it is."""
    if len(slabs) == 1:
        return slabs[0]
    return slabs[int(np.argmin(subject.ensemble.predict(slabs).mean.energy_per_atom))]


def _numbers(names: Sequence[tuple[str, Mapping[str, Curve], str]]) -> dict[str, Any]:
    return padded(
        {
            f"{label} {at}: {head}": column
            for label, curves, name in names
            for at in (name, PROFILE + name)
            for head, column in curves.get(at, {}).items()
        }
    )
