"""A crystal at temperature: lattice parameter, density, thermal expansion, heat capacity, moment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from ase.data import atomic_masses
from ase.units import J, mol
from pydantic import AfterValidator, Field

from magflow.core.statistics import Statistics
from magflow.core.types import FloatArray
from magflow.core.units import G_PER_CM3, KB
from magflow.explore.starting import Conditions
from magflow.explore.symmetry import FIRST_CUBIC, atoms_of_conventional_cell
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.presentation.blocks import Plot, plot
from magflow.presentation.style import MARKERS, SERIES, draw
from magflow.properties.base import Work
from magflow.properties.crystal import lost
from magflow.properties.measurement import Group, Measurement, Moments, Value
from magflow.properties.runs import repeats_for
from magflow.properties.sampling import (
    SampledProperty,
    cell_motion,
    facts,
    positive,
    temperatures_field,
    told_outside,
    trust,
)
from magflow.properties.statistics import Average, average, equilibration
from magflow.properties.subject import Subject, UnmeasurableError
from magflow.properties.tracks import Track, look_frame

J_PER_MOL = mol / J
"""One eV per atom."""
RECORD_EVERY, LOOK_EVERY = 5, 50
"""Steps."""
ASKED = 12
"""Looks that each member is asked about, spread over the runs of a temperature."""
FEW = 10
"""Independent samples of the volume below which it is told."""
CURVE = "crystal at temperature"
LATTICE_PARAMETER = "lattice parameter"
KELVIN, VOLUME, VOLUME_ERROR = "temperature (K)", "volume (A^3/atom)", "error of the volume (A^3/atom)"
ENTHALPY, ENTHALPY_ERROR = "enthalpy (eV/atom)", "error of the enthalpy (eV/atom)"


class Thermal(SampledProperty):
    """Runs at constant pressure at each temperature, their beginning left out up to equilibrium.

    Cubic crystals keep their shape, of others the three lengths of the cell move by themselves. Expansion and heat
    capacity are the slopes between neighbouring temperatures and hold half-way: the fluctuations of runs of this
    length tell them ten times less well. Nuclei are classical: the heat capacity is that above the Debye temperature.
    """

    name: ClassVar[str] = "thermal"
    title: ClassVar[str] = "Crystal at temperature"
    headline: ClassVar[tuple[str, ...]] = (LATTICE_PARAMETER, "linear thermal expansion")
    group: ClassVar[Group] = Group.STATIC

    temperatures: Annotated[tuple[float, ...], AfterValidator(positive)] = temperatures_field(300.0, 600.0)
    pressure: float = Field(default=0.0, description="GPa")
    runs: int = Field(default=3, ge=1, description="independent ones at each temperature")
    picoseconds: float = Field(default=10.0, gt=0, description="of each run")

    def quick(self) -> Self:
        """One short run at each temperature: lattice parameters to 0.05 %, a heat capacity to some per cent."""
        return self.model_copy(update={"runs": 1, "picoseconds": 4.0})

    def measure(self, subject: Subject, work: Work) -> Measurement:
        """Run, and take means."""
        self.check(subject)
        begin = time.process_time()
        held = [
            Conditions(Statistics.NPT, t, self.pressure, cell_motion(subject), self.timestep) for t in self.temperatures
        ]
        seeds = [self.seed + k for k in range(self.runs)]
        try:
            tracks = self.sampled(
                subject, held, seeds, self.picoseconds, work, record_every=RECORD_EVERY, look_every=LOOK_EVERY
            )
        except UnmeasurableError as error:
            return self.found(subject, failure=str(error), cpu_seconds=time.process_time() - begin)
        values: list[Value] = []
        states: list[_State] = []
        failures: list[str] = []
        remarks: list[str] = []
        for k, kelvin in enumerate(self.temperatures):
            here = tracks[k * self.runs : (k + 1) * self.runs]
            why = next((t.unstable for t in here if t.unstable), "") or _lost(here, kelvin)
            remarks += told_outside(here, kelvin)
            if why:
                failures.append(why)
                continue
            states.append(_state(here, kelvin, subject.ensemble))
            values += [*_values(states[-1], subject, self.atoms), *trust(subject.ensemble, here, kelvin)]
            if states[-1].volume.independent < FEW:
                remarks.append(f"{kelvin:g} K: the volume was seen to change no more than a few times: longer runs")
        return self.found(
            subject,
            values=tuple([*values, *_slopes(states)]),
            curves={CURVE: _curve(states)} if states else {},
            failure="; ".join(failures),
            remarks=tuple(remarks),
            cpu_seconds=time.process_time() - begin,
            **facts(tracks),
        )

    def plots(self, found: Sequence[tuple[str, Measurement]]) -> list[Plot]:
        """Volume and enthalpy against temperature."""
        shown = [(label, m.curves[CURVE]) for label, m in found if CURVE in m.curves]
        return [_figure(found[0][1].structure, shown)] if shown else []


@dataclass(frozen=True, eq=False)
class _State:
    """Means at one temperature (K): volume A^3/atom, enthalpy eV/atom, mean |m| muB, edges of the cell (3,) A.

    `spread`: standard deviation over the members of the logarithm of the volume; None: one member.
    """

    kelvin: float
    volume: Average
    enthalpy: Average
    moment: Average | None
    edges: tuple[Average, ...]
    spread: float | None


def _state(tracks: Sequence[Track], kelvin: float, ensemble: PotentialEnsemble) -> _State:
    """Means over the equilibrium of some runs."""
    cuts = [equilibration(t.volume, t.energy) for t in tracks]
    volumes = [t.volume[c:] / t.atoms for t, c in zip(tracks, cuts, strict=True)]
    # the kinetic part of the mean is known without noise
    heats = [(t.enthalpy - _kinetic(t))[c:] + 1.5 * KB * kelvin for t, c in zip(tracks, cuts, strict=True)]
    looks = [t.looks[t.looks["step"] >= t.records["step"][c]] for t, c in zip(tracks, cuts, strict=True)]
    edges = [np.linalg.norm(look["cell"], axis=2) for look in looks]
    moments = [look["moment"] for look in looks]
    return _State(
        kelvin,
        average(volumes),
        average(heats),
        average(moments) if np.isfinite(np.concatenate(moments)).all() else None,
        tuple(average([e[:, a] for e in edges]) for a in range(3)),
        _spread(tracks, looks, np.concatenate(volumes), kelvin, ensemble),
    )


def _lost(tracks: Sequence[Track], kelvin: float) -> str:
    """That the crystal is gone in one of the runs, which have begun at its sites."""
    return next((f"{kelvin:g} K: {why}" for t in tracks if (why := lost(t, t.start.frame))), "")


def _kinetic(track: Track) -> FloatArray:
    """(n,) eV/atom."""
    return np.asarray(0.5 * track.records["kinetic"][:, :3].sum(axis=1) / track.atoms)


def _spread(
    tracks: Sequence[Track],
    looks: Sequence[np.ndarray],
    volumes: FloatArray,
    kelvin: float,
    ensemble: PotentialEnsemble,
) -> float | None:
    """Standard deviation over the members of the logarithm of the mean volume, to first order.

    A member that has a pressure higher by p than the mean of the ensemble has at its configurations would expand by
    p / B; the bulk modulus B follows from the fluctuations of the volume, k T <V> / <dV^2>.
    """
    if len(ensemble.members) < 2:
        return None
    frames = [look_frame(t, row) for t, rows in zip(tracks, looks, strict=True) for row in rows]
    frames = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, ASKED).astype(int))]
    pressures = [-p.stress[:, :3].mean() for p in ensemble.member_predictions(frames)]
    bulk = KB * kelvin * volumes.mean() / (volumes.var() * tracks[0].atoms)
    return float(np.std(pressures, ddof=1) / bulk)


def _values(state: _State, subject: Subject, atoms: int) -> list[Value]:
    """Lattice parameters, volume, density and moment at one temperature."""
    t, volume, spread = state.kelvin, state.volume, state.spread
    values = []
    if subject.space_group >= FIRST_CUBIC:
        edge = np.cbrt(volume.value * atoms_of_conventional_cell(subject.frame))
        share = volume.error / volume.value / 3.0
        values.append(
            Value(LATTICE_PARAMETER, "A", float(edge), float(edge * share), _part(edge, spread, 1.0 / 3.0), t)
        )
    else:
        for name, edge, n in zip("abc", state.edges, repeats_for(subject.frame, atoms).tolist(), strict=True):
            values.append(Value(name, "A", edge.value / n, edge.error / n, _part(edge.value / n, spread, 1 / 3), t))
    density = atomic_masses[subject.frame.numbers].mean() / volume.value * G_PER_CM3
    error = density * volume.error / volume.value
    values += [
        Value("volume", "A^3/atom", volume.value, volume.error, _part(volume.value, spread, 1.0), t),
        Value("density", "g/cm^3", float(density), float(error), _part(density, spread, 1.0), t),
    ]
    if state.moment is not None and subject.moments is not Moments.NOT_READ:
        values.append(Value("moment", "muB/atom", state.moment.value, state.moment.error, temperature=t))
    return values


def _part(value: float, spread: float | None, power: float) -> float | None:
    """Spread of a value that goes with some power of the volume."""
    return None if spread is None else float(value * spread * power)


def _slopes(states: Sequence[_State]) -> list[Value]:
    """Linear expansion and heat capacity half-way between neighbouring temperatures."""
    values = []
    for low, high in pairwise(states):
        step, middle = high.kelvin - low.kelvin, 0.5 * (high.kelvin + low.kelvin)
        expansion = np.log(high.volume.value / low.volume.value) / (3.0 * step)
        error = np.hypot(low.volume.error / low.volume.value, high.volume.error / high.volume.value) / (3.0 * step)
        heat = (high.enthalpy.value - low.enthalpy.value) / step * J_PER_MOL
        heat_error = np.hypot(low.enthalpy.error, high.enthalpy.error) / step * J_PER_MOL
        values += [
            Value("linear thermal expansion", "1e-6/K", 1e6 * float(expansion), 1e6 * float(error), temperature=middle),
            Value("heat capacity", "J/(mol K)", float(heat), float(heat_error), temperature=middle),
        ]
    return values


def _curve(states: Sequence[_State]) -> dict[str, FloatArray]:
    return {
        KELVIN: np.array([s.kelvin for s in states]),
        VOLUME: np.array([s.volume.value for s in states]),
        VOLUME_ERROR: np.array([s.volume.error for s in states]),
        ENTHALPY: np.array([s.enthalpy.value for s in states]),
        ENTHALPY_ERROR: np.array([s.enthalpy.error for s in states]),
    }


def _figure(structure: str, shown: Sequence[tuple[str, Any]]) -> Plot:
    def paint(axes: Any) -> None:
        for k, (label, curve) in enumerate(shown):
            style = {"color": SERIES[k % len(SERIES)], "marker": MARKERS[k % len(MARKERS)], "capsize": 2.0}
            heat = 1e3 * (curve[ENTHALPY] - curve[ENTHALPY][0])
            axes[0].errorbar(curve[KELVIN], curve[VOLUME], curve[VOLUME_ERROR], label=label, **style)
            axes[1].errorbar(curve[KELVIN], heat, 1e3 * curve[ENTHALPY_ERROR], label=label, **style)
        axes[0].set_ylabel("Volume (A\N{SUPERSCRIPT THREE}/atom)")
        axes[1].set_ylabel("Enthalpy (meV/atom)")
        for panel in axes:
            panel.set_xlabel("Temperature (K)")
        axes[0].legend()

    numbers = {f"{label}: {head}": column for label, curve in shown for head, column in curve.items()}
    caption = (
        f"Volume of {structure} against temperature, and enthalpy from that at the lowest on, with standard errors. "
        "Nuclei are classical."
    )
    return plot(draw(7.4, 3.0, paint, ncols=2), f"thermal-{structure}", caption, numbers, wide=True)
