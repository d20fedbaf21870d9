"""What the properties at a temperature share: settings, the runs, and what these say of the trust they deserve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from magflow.core.frame import Frame
from magflow.core.statistics import CellMotion
from magflow.explore.starting import Conditions
from magflow.explore.symmetry import FIRST_CUBIC
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.properties.base import PropertySettings, Work
from magflow.properties.measurement import Value
from magflow.properties.runs import planned, repeats_for, run, supercell
from magflow.properties.subject import Subject
from magflow.properties.tracks import Track, deviations, look_frame, outside

DOUBTFUL_SHARE = 0.05
"""Share of a run outside the training domain from which it is told."""
FORCE_DEVIATION, LARGEST_FORCE_DEVIATION = "force deviation", "largest force deviation"
"""Names of what runs say of the ensemble."""
LOOKED = 9
"""Looks of a run at which the deviation over all atoms is taken."""


class SampledProperty(PropertySettings):
    """A property of a crystal at some temperatures, from runs of a supercell."""

    atoms: int = Field(default=128, ge=1, description="at least so many")
    timestep: float = Field(default=2.0, gt=0, le=10.0, description="fs")
    seed: int = Field(default=0, ge=0, description="of velocities and noise")

    def obstacle(self, subject: Subject) -> str:
        """A supercell in which atoms feel themselves."""
        repeats = repeats_for(subject.frame, self.atoms)
        narrowest = float((widths(subject.frame) * repeats).min())
        if narrowest < subject.ensemble.cutoff:
            return (
                f"a supercell of {len(subject.frame) * repeats.prod()} atoms is {narrowest:.3g} A wide, less than the "
                f"cutoff of {subject.ensemble.cutoff:.3g} A; ask for more atoms"
            )
        return ""

    def steps(self, picoseconds: float) -> int:
        """That make up some picoseconds; at least one."""
        return max(1, round(1000.0 * picoseconds / self.timestep))

    def sampled(
        self, subject: Subject, conditions: Sequence[Conditions], seeds: Sequence[int], picoseconds: float, work: Work,
        **how: Any,
    ) -> list[Track]:  # fmt: skip
        """Runs of the supercell under each of `conditions` with each of `seeds`, side by side; `how` as of a Plan."""
        plan = planned(
            subject, supercell(subject, self.atoms), conditions, seeds, self.steps(picoseconds), positions=True, **how
        )
        work.directory.mkdir(parents=True, exist_ok=True)
        return run(subject.ensemble, plan, work)


def cell_motion(subject: Subject) -> CellMotion:
    """At constant pressure: cubic crystals keep their shape, of others the lengths move by themselves."""
    return CellMotion.VOLUME if subject.space_group >= FIRST_CUBIC else CellMotion.LENGTHS


def temperatures_field(*kelvin: float) -> Any:
    """The setting `temperatures` with its default."""
    return Field(default=kelvin, min_length=1, description="K")


def positive(temperatures: Sequence[float]) -> tuple[float, ...]:
    """The temperatures, rising.

    Raises
    ------
    ValueError
        If one is not positive or given twice.
    """
    if min(temperatures) <= 0.0 or len(set(temperatures)) < len(temperatures):
        raise ValueError("temperatures are positive and different")
    return tuple(sorted(temperatures))


def widths(frame: Frame) -> np.ndarray:
    """(3,) distances between opposite faces of the cell, A."""
    found: np.ndarray = 1.0 / np.linalg.norm(np.linalg.inv(frame.cell), axis=0)
    return found


def facts(tracks: Sequence[Track]) -> dict[str, Any]:
    """Fields of a measurement that say what was run; the last sound frames of runs that came to grief among them."""
    return {
        "atoms": max(t.atoms for t in tracks),
        "picoseconds": float(sum(t.picoseconds for t in tracks)),
        "outside": outside(tracks),
        "frames": tuple(t.end.frame for t in tracks if t.unstable),
    }


def trust(ensemble: PotentialEnsemble, tracks: Sequence[Track], kelvin: float, at: str = "") -> list[Value]:
    """The calibrated deviation of a force in some runs: over all atoms, and of the atom where it is largest.

    Nothing, where there is but one member.
    """
    worst, _ = deviations(tracks)
    if len(ensemble.members) < 2 or not np.isfinite(worst):
        return []
    over_all = force_deviation(ensemble, tracks)
    return [
        Value(FORCE_DEVIATION, "meV/A", 1e3 * over_all, temperature=kelvin, at=at),
        Value(LARGEST_FORCE_DEVIATION, "meV/A", 1e3 * worst, temperature=kelvin, at=at),
    ]


def force_deviation(ensemble: PotentialEnsemble, tracks: Sequence[Track]) -> float:
    """Root mean square over all components of the calibrated deviations of forces, in some looks of the runs, eV/A.

    Comparable with an error of forces, and independent of the number of atoms, as the largest one of a frame is not.
    """
    chosen = [
        look_frame(track, track.looks[k])
        for track in tracks
        for k in np.unique(np.linspace(0, len(track.looks) - 1, LOOKED).astype(int))
    ]
    deviation = ensemble.predict(chosen).deviation.forces
    return float(np.sqrt(np.mean(deviation**2)))


def told_outside(tracks: Sequence[Track], kelvin: float) -> list[str]:
    """A remark, if the runs at one temperature left the training domain."""
    share = outside(tracks)
    if share is None or share <= DOUBTFUL_SHARE:
        return []
    return [f"{kelvin:g} K: {share:.0%} of the configurations lie outside the training domain"]
