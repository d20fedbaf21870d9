"""Shear viscosity of the liquid, by Green-Kubo over several runs at constant energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from ase.data import atomic_masses
from pydantic import Field

from magflow.core.frame import Frame
from magflow.core.statistics import Statistics
from magflow.core.types import FloatArray
from magflow.core.units import G_PER_CM3
from magflow.presentation.blocks import Plot, padded, plot
from magflow.presentation.style import INK, SERIES, draw
from magflow.properties.base import PropertySettings, Work
from magflow.properties.findings import LiquidFindings
from magflow.properties.green_kubo import GreenKubo, green_kubo
from magflow.properties.liquid import Melt, held, melted, ready, scaled_to, side_by_side, steps_of
from magflow.properties.measurement import Group, Measurement, Value
from magflow.properties.runs import at_mean_energy, supercell
from magflow.properties.statistics import average, equilibration
from magflow.properties.subject import Subject, UnmeasurableError
from magflow.properties.tracks import Track

FROZEN = 0.3
"""Share of crystal from which a liquid is one no longer."""
BOILED = 0.6
"""Share of the density just after melting below which a liquid is none any more."""
LAG, CORRELATION = "time (ps)", "stress autocorrelation (GPa^2)"
INTEGRAL, ERROR, FIT = "running integral (mPa s)", "error (mPa s)", "fit (mPa s)"


class Viscosity(PropertySettings):
    """The crystal is heated until it melts; the liquid is brought to each temperature and to the pressure or density
    asked for, several times; the stresses of runs at constant energy from there on are correlated.
    """

    name: ClassVar[str] = "viscosity"
    title: ClassVar[str] = "Viscosity of the liquid"
    headline: ClassVar[tuple[str, ...]] = ("viscosity", "density")
    group: ClassVar[Group] = Group.DYNAMIC

    temperatures: tuple[float, ...] = Field(
        default=(), description="K; none: the one at which the heated crystal melts, above its melting point"
    )
    pressure: float = Field(default=0.0, description="GPa, at which the liquid has its density")
    density: float | None = Field(default=None, gt=0, description="g/cm^3; none: that at the pressure")
    atoms: int = Field(default=250, ge=32, description="at least so many")
    runs: int = Field(default=8, ge=2, description="independent ones at each temperature")
    picoseconds: float = Field(default=60.0, gt=0, description="of each run")
    equilibration: float = Field(default=10.0, gt=0, description="ps at the pressure, and again at the volume")
    timestep: float = Field(default=2.0, gt=0, le=10.0, description="fs")
    stress_every: int = Field(default=2, ge=1, description="steps from one stress to the next")
    seed: int = Field(default=0, ge=0, description="of velocities and noise")

    def quick(self) -> Self:
        """Few short runs of a small cell: an error of a quarter or so."""
        return self.model_copy(update={"atoms": 100, "runs": 4, "picoseconds": 15.0, "equilibration": 3.0})

    def measure(self, subject: Subject, work: Work) -> Measurement:
        """Melt, equilibrate, run, correlate."""
        self.check(subject)
        found = LiquidFindings()
        try:
            frame = supercell(subject, self.atoms)
            melt = melted(subject, frame, work, timestep=self.timestep, pressure=self.pressure)
            found.tracks += melt.tracks
            for t in self.temperatures or (round(melt.temperature),):
                try:
                    self._at(t, subject, melt, Work(work.directory / f"{t:g}K", work.progress), found)
                except UnmeasurableError as error:
                    found.fail(error, t)
        except UnmeasurableError as error:
            found.fail(error)
        return found.measurement(self, subject)

    def _at(self, kelvin: float, subject: Subject, melt: Melt, work: Work, found: LiquidFindings) -> None:
        """Add what is found at one temperature.

        Raises
        ------
        UnmeasurableError
            If there is no answer.
        """
        frames, density, first = [melt.liquid] * self.runs, Value("density", "g/cm^3", self.density or 0.0), []
        if self.density is None:
            first = self._at_pressure(kelvin, subject, melt, work)
            frames, density = [track.end.frame for track in first], _mean_density(first)
            if density.value < BOILED * density_of(melt.liquid, melt.liquid.volume):
                raise UnmeasurableError("the liquid boils", seen=f"{density.value:.3g} g/cm^3")
        found.values.append(replace(density, temperature=kelvin))
        second = self._at_density(kelvin, subject, frames, density.value, work)
        sampled = side_by_side(
            subject,
            at_mean_energy(subject, second, held(Statistics.NVE, kelvin, self.timestep)),
            steps_of(self.picoseconds, self.timestep),
            Work(work.directory / "energy", work.progress),
            record_every=self.stress_every,
        )
        found.tracks += [*first, *second, *sampled]
        if max(melt.test.crystalline(track.end.frame) for track in sampled) > FROZEN:
            raise UnmeasurableError("the liquid froze")
        result = green_kubo(
            [track.stress for track in sampled],
            self.stress_every * sampled[0].timestep_ps,
            sampled[0].start.frame.volume,
            float(np.mean([track.temperature.mean() for track in sampled])),
        )
        found.values.append(Value("viscosity", "mPa s", result.viscosity, result.error, temperature=kelvin))
        found.curves[f"{kelvin:g} K"] = _curve(result)

    def _seeds(self, stage: int) -> list[int]:
        return [self.seed + 3 * k + stage for k in range(self.runs)]

    def _at_pressure(self, kelvin: float, subject: Subject, melt: Melt, work: Work) -> list[Track]:
        how = held(Statistics.NPT, kelvin, self.timestep, self.pressure)
        motions = ready(subject, [(melt.liquid, how, seed) for seed in self._seeds(0)])
        stage = Work(work.directory / "pressure", work.progress)
        return side_by_side(subject, motions, steps_of(self.equilibration, self.timestep), stage)

    def _at_density(
        self, kelvin: float, subject: Subject, frames: Sequence[Frame], density: float, work: Work
    ) -> list[Track]:
        how = held(Statistics.NVT, kelvin, self.timestep)
        scaled = [scaled_to(f, f.volume * density_of(f, f.volume) / density) for f in frames]
        motions = ready(subject, [(f, how, seed) for f, seed in zip(scaled, self._seeds(1), strict=True)])
        stage = Work(work.directory / "density", work.progress)
        return side_by_side(subject, motions, steps_of(self.equilibration, self.timestep), stage)

    def plots(self, found: Sequence[tuple[str, Measurement]]) -> list[Plot]:
        """Autocorrelation of the stress and its integral with the plateau, a figure for each temperature."""
        temperatures = list(dict.fromkeys(name for _, m in found for name in m.curves))
        return [_figure(name, [(label, m) for label, m in found if name in m.curves]) for name in temperatures]


def _mean_density(tracks: Sequence[Track]) -> Value:
    """Of runs at constant pressure, g/cm^3."""
    cut = equilibration(*(track.volume for track in tracks))
    volume = average([track.volume[cut:] for track in tracks])
    density = density_of(tracks[0].end.frame, volume.value)
    return Value("density", "g/cm^3", density, density * volume.error / volume.value)


def density_of(frame: Frame, volume: float) -> float:
    """Of the atoms of `frame` in `volume` A^3, g/cm^3."""
    return float(atomic_masses[frame.numbers].sum()) / volume * G_PER_CM3


def _curve(found: GreenKubo) -> dict[str, FloatArray]:
    """Every so many lags, up to twice the end of the fit: what lies beyond is noise."""
    shown = slice(0, int(np.searchsorted(found.times, 2.0 * found.cutoff)))
    columns = {
        LAG: found.times,
        CORRELATION: found.correlation,
        INTEGRAL: found.integral,
        ERROR: found.integral_error,
        FIT: found.fit,
    }
    return {head: column[shown] for head, column in columns.items()}


def _figure(name: str, shown: Sequence[tuple[str, Measurement]]) -> Plot:
    """Autocorrelation above, its integral with the fit below."""

    def paint(axes: Any) -> None:
        upper, lower = axes
        for k, (label, m) in enumerate(shown):
            curve, colour = m.curves[name], SERIES[k % len(SERIES)]
            t, integral = curve[LAG], curve[INTEGRAL]
            upper.plot(t, curve[CORRELATION] / curve[CORRELATION][0], color=colour, label=label)
            lower.fill_between(t, integral - curve[ERROR], integral + curve[ERROR], color=colour, alpha=0.2, lw=0)
            lower.plot(t, integral, color=colour, label=label)
            lower.plot(t, curve[FIT], color=INK, ls="--", lw=1.0)
        upper.set_ylabel("Stress autocorrelation")
        upper.legend()
        lower.set_ylabel("Running integral (mPa s)")
        lower.set_xlabel("Time (ps)")
        lower.set_ylim(bottom=0.0)

    numbers = {f"{label}: {head}": column for label, m in shown for head, column in m.curves[name].items()}
    structure = shown[0][1].structure
    caption = (
        f"Autocorrelation of the stress of liquid {structure} at {name}, by its start, and its integral with "
        "standard error; dashed the fit and, where it looks no further, the plateau."
    )
    figure = draw(5.1, 4.6, paint, nrows=2, sharex=True)
    return plot(figure, f"viscosity-{structure}-{name.replace(' ', '')}", caption, padded(numbers))
