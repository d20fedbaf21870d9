"""Energy against the size of the moments at fixed volumes; the moment at rest and the Landau curvature there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field, field_validator

from magflow.core.frame import Frame
from magflow.core.moments import ZERO_MOMENT
from magflow.core.prediction import Prediction
from magflow.core.protocols import WorkProgress, silent
from magflow.core.types import FloatArray
from magflow.explore.relaxation.held import Held
from magflow.potentials.limits import moment_bounds
from magflow.presentation.blocks import Plot, plot
from magflow.presentation.style import MARKERS, SERIES, draw
from magflow.properties.base import PointProperty
from magflow.properties.measurement import SPREAD, Curve, Measurement, Reading, Value
from magflow.properties.subject import Subject, UnmeasurableError

MOMENT, ENERGY, SLOPE = "moment (muB)", "energy above m = 0 (eV/atom)", "dE/dm (eV/muB/atom)"
VOLUME, REST, DEPTH, CURVATURE = (
    "volume (A^3/atom)", "moment at rest (muB)", "energy at rest above m = 0 (eV/atom)", "d2E/dm2 (eV/muB^2/atom)",
)  # fmt: skip
AT_REST = "at rest"
"""The curve of what is found at each volume; the others are the scans, one per volume."""


@dataclass(frozen=True)
class _Rest:
    """A minimum of E(m): moment, muB; energy above that of m = 0, eV/atom; curvature, eV/muB^2/atom."""

    moment: float
    energy: float
    curvature: float


class MagneticEnergy(PointProperty):
    """E(m) at fixed volumes: the moments at rest are scaled together, m is the largest of them.

    Atoms and shape of the cell stay those at rest. The points are what a constrained calculation computes: an energy
    and, as dE/dm, its constraining fields.
    """

    name: ClassVar[str] = "magnetic-energy"
    title: ClassVar[str] = "Magnetic energy"
    headline: ClassVar[tuple[str, ...]] = ("energy of magnetism",)

    volumes: tuple[float, ...] = Field(
        default=(0.94, 0.97, 1.0, 1.03, 1.06), min_length=1, description="volumes, in units of the one at rest"
    )
    points: int = Field(default=15, ge=5, le=101, description="moments from zero to the largest one, at each volume")
    max_moment: float | None = Field(
        default=None, gt=0, description="largest moment, muB; left out: the largest one the potential knows"
    )

    @field_validator("volumes")
    @classmethod
    def _rising(cls, volumes: tuple[float, ...]) -> tuple[float, ...]:
        if list(volumes) != sorted(set(volumes)) or not 0.5 <= volumes[0] <= volumes[-1] <= 2.0:
            raise ValueError("they rise, from 0.5 to 2 at most")
        return volumes

    def quick(self) -> Self:
        """Three volumes."""
        return self.model_copy(update={"volumes": (0.94, 1.0, 1.06), "points": 11})

    def obstacle(self, subject: Subject) -> str:
        """It needs moments."""
        if not subject.ensemble.magnetic:
            return "the potential reads no moments"
        if subject.frame.magmoms is None or np.abs(subject.frame.magmoms).max() < ZERO_MOMENT:
            return "the structure carries no moments, which say what is to be scanned"
        return ""

    def frames(self, subject: Subject, progress: WorkProgress = silent) -> list[Frame]:
        """Volume by volume, the moments rising from zero."""
        rest = subject.at_rest(Held.SHAPE, Held.ATOMS)
        pattern = _pattern(rest) if _largest(rest) >= ZERO_MOMENT else _pattern(subject.frame)
        most = self._most(subject, rest, pattern)
        scales = np.cbrt(self.volumes)
        return [
            rest.replace(cell=s * rest.cell, positions=s * rest.positions, magmoms=m * pattern)
            for s in scales
            for m in np.linspace(0.0, most, self.points)
        ]

    def _most(self, subject: Subject, frame: Frame, pattern: FloatArray) -> float:
        """Largest m at which every atom is within what the potential knows of its element, muB."""
        if self.max_moment is not None:
            return self.max_moment
        bounds = moment_bounds(subject.ensemble, frame, subject.max_moment)
        # an atom that follows its neighbours with a small moment does not end the scan
        led = [
            (s, float(size))
            for s, size in zip(frame.species, np.linalg.norm(pattern, axis=1), strict=True)
            if size > 0.5
        ]
        return min(bounds[s][1] / size for s, size in led)

    def read(self, subject: Subject, frames: Sequence[Frame], points: Prediction) -> Reading:
        """The lowest minimum at each volume; a volume at which the energy falls to the end of the scan has none."""
        scans = [
            _scan(frames[k : k + self.points], [points.frame(i) for i in range(k, k + self.points)])
            for k in range(0, len(frames), self.points)
        ]
        rests = [_rest(scan) for scan in scans]
        curves: dict[str, Curve] = {_scale(v): scan for v, scan in zip(self.volumes, scans, strict=True)}
        found = [
            (v, f, r) for v, f, r in zip(self.volumes, frames[:: self.points], rests, strict=True) if r is not None
        ]
        if not found:
            raise UnmeasurableError(
                "the energy falls up to the largest moment", where=subject.name, seen=f"{scans[0][MOMENT][-1]:.3g} muB"
            )
        curves[AT_REST] = {
            VOLUME: np.array([f.volume / len(f) for _, f, _ in found]),
            REST: np.array([r.moment for _, _, r in found]),
            DEPTH: np.array([r.energy for _, _, r in found]),
            CURVATURE: np.array([r.curvature for _, _, r in found]),
        }
        return Reading(tuple(value for v, _, r in found for value in _values(v, r)), curves)

    def plots(self, found: Sequence[tuple[str, Measurement]]) -> list[Plot]:
        """E(m) at the volume closest to that at rest, and the moment at rest against the volume."""
        shown = [(label, m.curves) for label, m in found if AT_REST in m.curves]
        if not shown:
            return []

        def paint(axes: Any) -> None:
            for k, (label, curves) in enumerate(shown):
                style = {"color": SERIES[k % len(SERIES)], "marker": MARKERS[k % len(MARKERS)], "markersize": 3.0}
                for scale in _scales(curves):
                    main = scale == _nearest(curves)
                    _line(axes[0], curves[scale], style, label if main else None)
                rest = curves[AT_REST]
                axes[1].plot(rest[VOLUME], rest[REST], label=label, **style)
            axes[0].set_xlabel("Moment (\N{GREEK SMALL LETTER MU}B)")
            axes[0].set_ylabel("E(m) - E(0) (meV/atom)")
            axes[0].legend()
            axes[1].set_xlabel("Volume (A\N{SUPERSCRIPT THREE}/atom)")
            axes[1].set_ylabel("Moment at rest (\N{GREEK SMALL LETTER MU}B)")

        structure = found[0][1].structure
        volumes = ", ".join(dict.fromkeys(s for _, curves in shown for s in _scales(curves)))
        caption = (
            f"Energy of {structure} against the largest moment, all moments scaled together, at {volumes} "
            "(the volume at rest drawn strong, bands: spread of the ensemble), and the moment at rest."
        )
        numbers = {
            f"{label}, {scale}: {head}": column
            for label, curves in shown
            for scale in _scales(curves)
            for head, column in curves[scale].items()
        }
        figure = draw(10.4, 3.2, paint, ncols=2)
        return [plot(figure, f"magnetic-energy-{structure}", caption, numbers, wide=True)]


def _largest(frame: Frame) -> float:
    return 0.0 if frame.magmoms is None else float(np.linalg.norm(frame.magmoms, axis=1).max())


def _pattern(frame: Frame) -> FloatArray:
    """(N, 3) the moments of `frame`, the largest made 1."""
    pattern: FloatArray = np.asarray(frame.magmoms) / _largest(frame)
    return pattern


def _scan(frames: Sequence[Frame], points: Sequence[Prediction]) -> Curve:
    """Moment, energy above that at zero, and its slope along the scan, of one volume."""
    moments = np.array([_largest(f) for f in frames])
    along = _pattern(frames[-1])
    energies = np.array([p.energy_per_atom[0] for p in points])
    fields = np.array([_slope(p, along) for p in points])
    return {MOMENT: moments, ENERGY: energies - energies[0], SLOPE: _completed(moments, energies, fields)}


def _slope(point: Prediction, along: FloatArray) -> float:
    """dE/dm per atom; NaN where a moment along the scan has no magnetic force."""
    if point.magnetic_forces is None:
        return float("nan")
    led = np.any(along != 0.0, axis=1)
    return float(-np.sum(point.magnetic_forces[led] * along[led]) / len(along))


def _completed(moments: FloatArray, energies: FloatArray, slopes: FloatArray) -> FloatArray:
    """`slopes`; those of the energies where some are not known. E(m) is even: its slope at zero is zero."""
    if np.isfinite(slopes[1:]).all():
        return np.concatenate([[0.0 if np.isnan(slopes[0]) else slopes[0]], slopes[1:]])
    from scipy.interpolate import CubicSpline

    derived: FloatArray = CubicSpline(moments, energies, bc_type=((1, 0.0), "not-a-knot"))(moments, 1)
    return derived


def _rest(scan: Curve) -> _Rest | None:
    """The lowest minimum between zero and the largest moment; None if the energy falls up to it."""
    from scipy.interpolate import CubicHermiteSpline, CubicSpline

    slope = CubicSpline(scan[MOMENT], scan[SLOPE])
    energy = CubicHermiteSpline(scan[MOMENT], scan[ENERGY], scan[SLOPE])
    inside = [float(m) for m in slope.roots(extrapolate=False) if slope(m, 1) > 0.0 and m > ZERO_MOMENT]
    minima = [_Rest(m, float(energy(m)), float(slope(m, 1))) for m in inside]
    if slope(0.0, 1) > 0.0:
        minima.append(_Rest(0.0, 0.0, float(slope(0.0, 1))))
    best = min(minima, key=lambda r: r.energy, default=None)
    return None if best is None or best.energy > scan[ENERGY][-1] else best


def _scale(volume: float) -> str:
    return f"{volume:g} V0"


def _scales(curves: Mapping[str, Curve]) -> list[str]:
    return [name for name in curves if name != AT_REST]


def _nearest(curves: Mapping[str, Curve]) -> str:
    """The scan nearest to the volume at rest."""
    return min(_scales(curves), key=lambda name: abs(float(name.split()[0]) - 1.0))


def _values(volume: float, rest: _Rest) -> list[Value]:
    at = "" if volume == 1.0 else _scale(volume)
    return [
        Value("equilibrium moment", "muB", rest.moment, at=at),
        Value("energy of magnetism", "meV/atom", 1e3 * rest.energy, at=at),
        Value("Landau curvature", "eV/muB^2/atom", rest.curvature, at=at),
    ]


def _line(axes: Any, scan: Curve, style: Mapping[str, Any], label: str | None) -> None:
    """One scan; those of other volumes than that at rest are faint and have no label."""
    x, y = np.asarray(scan[MOMENT]), 1e3 * np.asarray(scan[ENERGY])
    axes.plot(x, y, label=label, **{**style, **({} if label else {"marker": None, "alpha": 0.45, "linewidth": 0.9})})
    if label and SPREAD + ENERGY in scan:
        band = 1e3 * np.asarray(scan[SPREAD + ENERGY])
        axes.fill_between(x, y - band, y + band, color=style["color"], alpha=0.18, linewidth=0)
