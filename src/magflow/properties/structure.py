"""Pair distribution, displacements and diffusion at temperature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations_with_replacement
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import AfterValidator, Field

from magflow.core.frame import Frame
from magflow.core.statistics import Statistics
from magflow.core.types import FloatArray
from magflow.explore.starting import Conditions
from magflow.presentation.blocks import Plot, plot
from magflow.presentation.style import SERIES, draw
from magflow.properties.base import Work
from magflow.properties.crystal import displacements, lost, square_displacements
from magflow.properties.diffusion import diffusion, first_peak, mean_square_displacement, pair_distribution
from magflow.properties.findings import Findings
from magflow.properties.measurement import Group, Measurement, Value
from magflow.properties.runs import at_mean_energy, planned, run, supercell
from magflow.properties.sampling import (
    SampledProperty,
    cell_motion,
    positive,
    temperatures_field,
    told_outside,
    trust,
)
from magflow.properties.statistics import average
from magflow.properties.subject import Subject, UnmeasurableError
from magflow.properties.tracks import Track, look_frame

BIN = 0.05
"""Width of a bin of g(r), A."""
OFF = 0.05
"""Relative difference from the temperature asked for that is told."""
FEWEST = 40
"""Looks of a run."""
UNIT = 10.0
"""1e-9 m^2/s in one A^2/ps."""
R, TIME = "r (A)", "time (ps)"


class Structure(SampledProperty):
    """Runs at constant energy and at the mean volume of a crystal that was brought to temperature: no bath slows atoms.

    A diffusion coefficient is that of the cell: no correction for its size is made. Above its melting point the
    crystal melts on the way, if it is hot enough or the runs are long enough, which is told.
    """

    name: ClassVar[str] = "structure"
    title: ClassVar[str] = "Structure and diffusion at temperature"
    headline: ClassVar[tuple[str, ...]] = ("diffusion coefficient",)
    group: ClassVar[Group] = Group.DYNAMIC

    temperatures: Annotated[tuple[float, ...], AfterValidator(positive)] = temperatures_field(300.0)
    pressure: float = Field(default=0.0, description="GPa")
    runs: int = Field(default=3, ge=1, description="independent ones at each temperature")
    equilibration: float = Field(default=4.0, gt=0, description="ps at constant pressure")
    picoseconds: float = Field(default=20.0, gt=0, description="of each run at constant energy")
    look_every: int = Field(default=10, ge=1, description="steps from one look at the positions to the next")
    reach: float = Field(default=7.0, gt=0, description="of g(r), A")

    def obstacle(self, subject: Subject) -> str:
        """Too few looks for the scatter of the displacements."""
        looks = self.steps(self.picoseconds) // self.look_every
        if looks < FEWEST:
            return f"{looks} looks at the atoms are too few, {FEWEST} are needed; longer runs, or a smaller look_every"
        return super().obstacle(subject)

    def quick(self) -> Self:
        """One short run: g(r) and displacements to some per cent, a bound of the diffusion."""
        return self.model_copy(update={"runs": 1, "equilibration": 1.0, "picoseconds": 3.0})

    def measure(self, subject: Subject, work: Work) -> Measurement:
        """Bring to temperature, run, analyse."""
        self.check(subject)
        found = Findings()
        for kelvin in self.temperatures:
            try:
                self._at(kelvin, subject, Work(work.directory / f"{kelvin:g}K", work.progress), found)
            except UnmeasurableError as error:
                found.fail(error)
        return found.measurement(self, subject)

    def _at(self, kelvin: float, subject: Subject, work: Work, found: Findings) -> None:
        """Add what is found at one temperature."""
        crystal = supercell(subject, self.atoms)
        held = Conditions(Statistics.NPT, kelvin, self.pressure, cell_motion(subject), self.timestep)
        seeds = [self.seed + k for k in range(self.runs)]
        first = Work(work.directory / "pressure", work.progress)
        warm = self.sampled(subject, [held], seeds, self.equilibration, first, look_every=self.look_every)
        if not found.keep(warm):
            return
        plan = planned(
            subject, crystal, [], [], self.steps(self.picoseconds), look_every=self.look_every, positions=True
        )  # fmt: skip
        free = Conditions(Statistics.NVE, kelvin, timestep=self.timestep)
        second = work.directory / "energy"
        second.mkdir(parents=True, exist_ok=True)
        cell = np.mean([track.looks["cell"][len(track.looks) // 2 :].mean(axis=0) for track in warm], axis=0)
        motions = at_mean_energy(subject, warm, free, cell)
        tracks = run(subject.ensemble, replace(plan, motions=motions), Work(second, work.progress))
        if not found.keep(tracks):
            return
        found.remarks += told_outside(tracks, kelvin)
        mean = float(np.mean([t.temperature.mean() for t in tracks]))
        if abs(mean - kelvin) > OFF * kelvin:
            found.remarks.append(f"{kelvin:g} K: the runs at constant energy have {mean:.0f} K")
        found.values += trust(subject.ensemble, tracks, kelvin)
        self._pairs(tracks, kelvin, found)
        self._sites(tracks, crystal, kelvin, found)
        self._motion(tracks, crystal, kelvin, found)

    def _pairs(self, tracks: Sequence[Track], kelvin: float, found: Findings) -> None:
        """g(r) of all pairs of elements, and the first peak of each."""
        edges = np.arange(0.0, self.reach + BIN / 2.0, BIN)
        r = 0.5 * (edges[1:] + edges[:-1])
        elements = sorted(set(tracks[0].start.frame.species))
        curve: dict[str, FloatArray] = {R: r}
        for pair in combinations_with_replacement(elements, 2):
            parts = [
                pair_distribution([look_frame(t, row) for row in rows], edges, pair)
                for t in tracks
                for rows in np.array_split(t.looks[:: max(1, len(t.looks) // 40)], 2)
            ]
            curve[f"g({'-'.join(pair)})"] = np.mean(parts, axis=0)
            peaks = [first_peak(r, g) for g in parts]
            error = float(np.std(peaks, ddof=1) / np.sqrt(len(peaks)))
            at = "-".join(pair) if len(elements) > 1 else ""
            found.values.append(Value("first peak of g(r)", "A", float(np.mean(peaks)), error, None, kelvin, at))
        found.curves[f"g(r) at {kelvin:g} K"] = curve

    def _sites(self, tracks: Sequence[Track], crystal: Frame, kelvin: float, found: Findings) -> None:
        """Mean square displacement from the sites, where there are any left."""
        gone = next((why for t in tracks if (why := lost(t, crystal))), "")
        if gone:
            found.remarks.append(f"{kelvin:g} K: {gone}")
            return
        mean = average([square_displacements(t, crystal) for t in tracks])
        name = "mean square displacement from the sites"
        found.values.append(Value(name, "A^2", mean.value, mean.error, temperature=kelvin))

    def _motion(self, tracks: Sequence[Track], crystal: Frame, kelvin: float, found: Findings) -> None:
        """Displacements against time and the diffusion coefficient of each element."""
        interval = self.look_every * tracks[0].timestep_ps
        away = [displacements(t, crystal) for t in tracks]
        species = np.array(crystal.species)
        shown = slice(0, max(2, min(len(x) for x in away) // 2))
        curve: dict[str, FloatArray] = {TIME: np.arange(shown.stop, dtype=np.float64) * interval}
        elements = sorted(set(crystal.species))
        for element in elements:
            mine = [x[:, species == element] for x in away]
            curve[f"displacement {element} (A^2)"] = np.mean([mean_square_displacement(x)[shown] for x in mine], axis=0)
            d = diffusion(mine, interval)
            at = element if len(elements) > 1 else ""
            if d.seen:
                value, error = UNIT * d.value, UNIT * d.error
                found.values.append(Value("diffusion coefficient", "1e-9 m^2/s", value, error, None, kelvin, at))
            else:
                found.remarks.append(
                    f"{kelvin:g} K: no diffusion of {element} was seen, its coefficient is below "
                    f"{UNIT * d.bound:.2g} 1e-9 m^2/s"
                )
        found.curves[f"displacement at {kelvin:g} K"] = curve

    def plots(self, found: Sequence[tuple[str, Measurement]]) -> list[Plot]:
        """g(r) and displacements, a figure for each of them at each temperature."""
        names = dict.fromkeys(name for _, m in found for name in m.curves)
        return [_figure(name, [(label, m) for label, m in found if name in m.curves]) for name in names]


def _figure(name: str, shown: Sequence[tuple[str, Measurement]]) -> Plot:
    """One curve against its first column."""
    columns = {
        f"{label}: {head}": (m.curves[name], head)
        for label, m in shown
        for head in m.curves[name]
        if head not in (R, TIME)
    }
    pairs = name.startswith("g(r)")

    def paint(axes: Any) -> None:
        for k, (label, (curve, head)) in enumerate(columns.items()):
            axes.plot(curve[R if pairs else TIME], curve[head], color=SERIES[k % len(SERIES)], label=label)
        axes.set_xlabel("Distance (A)" if pairs else "Time (ps)")
        axes.set_ylabel("g(r)" if pairs else "Mean square displacement (A\N{SUPERSCRIPT TWO})")
        axes.set_ylim(bottom=0.0)
        axes.legend()

    structure, at = shown[0][1].structure, name.partition(" at ")[2]
    numbers = {f"{label}: {head}": column for label, m in shown for head, column in m.curves[name].items()}
    if pairs:
        caption = f"Pair distribution of {structure} at {at}."
    else:
        caption = (
            f"Mean square displacement of the atoms of {structure} in time at {at}: flat in a crystal, a straight line "
            "in diffusion."
        )
    stem = f"{'pairs' if pairs else 'displacement'}-{structure}-{at.replace(' ', '')}"
    return plot(draw(5.1, 3.2, paint), stem, caption, numbers)
